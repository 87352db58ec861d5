package docs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// serveHTTP is the server of docs/http.md.
func serveHTTP(ctx context.Context, transports net.Listener, handler http.Handler) error {
	l := &session.Listener{Listener: transports} // a net.Listener of the streams of all clients
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return errors.Join(err, server.Close(), l.CloseNow())
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	server.SetKeepAlivesEnabled(false) // each answer closes its stream
	err := l.Shutdown(drain)           // clients open no more streams; those that are open get their answers
	err = errors.Join(err, server.Shutdown(drain))
	_ = l.CloseNow() // what was not done in time
	<-served
	return err
}

// clientHTTP is the client of docs/http.md.
func clientHTTP(dial func(ctx context.Context) (io.ReadWriteCloser, error)) (*session.Dialer, *http.Client) {
	d := &session.Dialer{
		Dial: dial,
		OnSession: func(ctx context.Context, s *session.Session) error {
			_, err := s.Ping(ctx) // the server's session runs
			return err
		},
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       d.DialContext,
		DisableKeepAlives: true, // a stream for each request
	}}
	return d, client
}

// dialTCP returns a Dialer's Dial for a TCP address.
func dialTCP(addr string) func(ctx context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

// The server of docs/http.md answers the client's requests, each on a stream of its own, all over one connection. It stops
// without an error, and answers the request that is in flight.
func TestGuideHTTP(t *testing.T) {
	testutil.LeakCheck(t)
	tcp := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	arrived, release := make(chan struct{}), make(chan struct{})
	stopped := testutil.BackgroundErr(func() error {
		return serveHTTP(ctx, tcp, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(arrived)
				<-release
			}
			_, _ = io.WriteString(w, "hello")
		}))
	})
	d, client := clientHTTP(dialTCP(tcp.Addr().String()))
	defer d.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wantGreeting(t, client) })
	}
	all.Wait()
	if x := d.Stats(); x.Dials != 1 || x.Total.StreamsOpened != 20 {
		t.Errorf("%d dials, %d streams for 20 requests", x.Dials, x.Total.StreamsOpened)
	}
	slow := testutil.Background(func() (string, error) { return get(client, "http://server/slow") })
	<-arrived
	stop()
	close(release)
	if r := <-slow; r.Value != "hello" || r.Err != nil {
		t.Errorf("the request in flight: %q, %v", r.Value, r.Err)
	}
	if err := (<-stopped).Err; err != nil && !errors.Is(err, session.ErrNotFlushed) { // the Dialer may have closed, too
		t.Errorf("serveHTTP: %v", err)
	}
}

var greet = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })

// wantGreeting makes a request, and wants the answer of greet.
func wantGreeting(t *testing.T, client *http.Client) {
	t.Helper()
	if got, err := get(client, "http://server/"); got != "hello" || err != nil {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

func get(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// h2c are the protocols of a client or server that speaks HTTP/2 without TLS.
func h2c() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}

// With HTTP/2, requests share a stream. http.Transport may dial another when many begin at once.
func TestHTTP2RequestsShareAStream(t *testing.T) {
	testutil.LeakCheck(t)
	tcp := listen(t)
	l := &session.Listener{Listener: tcp}
	server := &http.Server{Handler: greet, Protocols: h2c()}
	served := testutil.BackgroundErr(func() error { return server.Serve(l) })
	d := &session.Dialer{Dial: dialTCP(tcp.Addr().String())}
	transport := &http.Transport{DialContext: d.DialContext, Protocols: h2c()}
	client := &http.Client{Transport: transport}
	wantGreeting(t, client)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wantGreeting(t, client) })
	}
	all.Wait()
	if n := d.Stats().Total.StreamsOpened; n == 0 || n > 5 {
		t.Errorf("21 requests took %d streams", n)
	}
	transport.CloseIdleConnections()
	testutil.WantErr(t, "Close of the Dialer", d.Close(), nil)
	testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
	testutil.WantErr(t, "Serve", (<-served).Err, net.ErrClosed)
	_ = server.Close()
}

// The time-outs of http.Server are deadlines of streams. ReadHeaderTimeout ends a stream that sends no request, and no
// other.
func TestHTTPServerTimeoutEndsOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		a, b := net.Pipe()
		c, err := session.Client(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := session.Server(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		server := &http.Server{Handler: greet, ReadHeaderTimeout: 10 * time.Second}
		defer server.Close()
		go func() { _ = server.Serve(s.Listener()) }()
		silent, err := c.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(silent, "GET / HT"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if got, err := io.ReadAll(silent); err != nil {
			t.Errorf("the silent stream: %q, %v", got, err)
		}
		if d := time.Since(begin); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("it ended after %v", d)
		}
		_ = silent.Close()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.OpenStream(ctx) }}
		wantGreeting(t, &http.Client{Transport: transport})
		transport.CloseIdleConnections()
	})
}

// proxyHTTP is the reverse proxy of docs/http.md.
func proxyHTTP(d *session.Dialer) *httputil.ReverseProxy {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "inner.example"})
			r.SetXForwarded()
		},
		Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true},
	}
	return proxy
}

// The reverse proxy of docs/http.md makes requests over the session.
func TestGuideHTTPProxy(t *testing.T) {
	testutil.LeakCheck(t)
	tcp, public := listen(t), listen(t)
	l := &session.Listener{Listener: tcp}
	behind := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X-Forwarded-For") != "")
	})}
	served := testutil.BackgroundErr(func() error { return behind.Serve(l) })
	d := &session.Dialer{Dial: dialTCP(tcp.Addr().String())}
	front := &http.Server{Handler: proxyHTTP(d)}
	fronted := testutil.BackgroundErr(func() error { return front.Serve(public) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if got, err := get(client, "http://"+public.Addr().String()); strings.TrimSpace(got) != "inner.example true" || err != nil {
		t.Errorf("the answer is %q, %v", got, err)
	}
	testutil.WantErr(t, "Shutdown of the proxy", front.Shutdown(t.Context()), nil)
	testutil.WantErr(t, "Serve of the proxy", (<-fronted).Err, http.ErrServerClosed)
	testutil.WantErr(t, "Close of the Dialer", d.Close(), nil)
	testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
	testutil.WantErr(t, "Serve", (<-served).Err, net.ErrClosed)
	_ = behind.Close()
}
