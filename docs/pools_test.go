package docs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// The client and the server of docs/pools.md answer a request, and the server stops without an error.
func TestGuidePools(t *testing.T) {
	testutil.LeakCheck(t)
	tcp := listen(t)
	server := &http.Server{Handler: hello}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	served := make(chan error, 1)
	l := &session.Listener{Listener: tcp}     // a net.Listener of transports
	go func() { served <- server.Serve(l) }() // gets the streams of all of them

	d, client := pooledClient(tcp.Addr().String())
	defer d.Close()
	wantHello(t, client)

	gracefulStop(ctx, server, l)
	wantServed(t, <-served)
}

// wantServed checks what Serve of an http.Server has returned after gracefulStop.
func wantServed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve returns %v", err)
	}
}

func pooledClient(addr string) (*session.Dialer, *http.Client) {
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	return d, client
}

func gracefulStop(ctx context.Context, server *http.Server, l *session.Listener) {
	server.SetKeepAlivesEnabled(false) // http only: answers in flight close their connections
	l.Shutdown(ctx)                    // peers open no more streams; those that are open are served to the end
	server.Shutdown(ctx)               // what Shutdown of the Listener had no time for
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "hello")
})

// wantHello makes a request to hello.
func wantHello(t *testing.T, client *http.Client) {
	t.Helper()
	resp, err := client.Get("http://server/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if string(body) != "hello" || err != nil {
		t.Errorf("the answer is %q, %v", body, err)
	}
}

// listen listens on a port of this machine until the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
