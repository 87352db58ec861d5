package session_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// net/http through a Dialer and a Listener.

// In 100 rolling restarts under load, no request is lost: HTTP requests that net/http does not retry, from a Dialer to
// servers that are shut down one after the other. The Dialer pings each new session, because a connection may wait in the
// system's queue when its listener is closed.
func TestDialerLosesNoRequestInRollingRestarts(t *testing.T) {
	testutil.LeakCheck(t)
	restarts := 100
	if testing.Short() {
		restarts = 20
	}
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			var address atomic.Pointer[string]
			d := &session.Dialer{
				Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", *address.Load())
				},
				Config:    &session.Config{Version: version},
				OnSession: func(ctx context.Context, s *session.Session) error { return second(s.Ping(ctx)) },
			}
			defer d.Close()
			var ending sync.WaitGroup
			var used chan struct{} // closed when the last server has got a request
			// begin starts a server, which the Dialer reaches from now on. The function that it returns shuts it down. begin
			// first waits until the one before has been dialed: its requests may still go to a server that is about to end.
			begin := func() (shutdown func()) {
				if used != nil {
					<-used
				}
				first := make(chan struct{})
				used = first
				var once sync.Once
				tcp, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				l := &session.Listener{Listener: tcp}
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					once.Do(func() { close(first) })
					_, _ = io.Copy(w, r.Body)
				})}
				served := make(chan error, 1)
				go func() { served <- server.Serve(l) }()
				addr := tcp.Addr().String()
				address.Store(&addr)
				return func() {
					ending.Go(func() {
						if err := l.Shutdown(context.Background()); err != nil {
							// If the Dialer was held up for CloseTimeout, it has closed its session, too.
							testutil.WantErr(t, "Shutdown", err, session.ErrNotFlushed)
						}
						testutil.WantErr(t, "Serve", <-served, net.ErrClosed)
						testutil.WantErr(t, "http.Server.Shutdown", server.Shutdown(context.Background()), nil)
					})
				}
			}
			requests, lost := rollingRestarts(t, restarts, d.DialContext, begin)
			ending.Wait()
			x := d.Stats()
			if x.Dials < uint64(restarts) || x.DialErrors > 0 && x.LastError == nil && x.Dials == x.DialErrors {
				t.Errorf("Stats: %+v", x)
			}
			t.Logf("%d restarts, %d requests, %d lost, %d dials", restarts, requests, lost, x.Dials)
		})
	}
}

// While the place is down for a while, as one server is when it restarts, no request is lost: they wait.
func TestDialerRequestsWaitForAServerThatRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sim := newSimListener(simnet.Link{})
		d := closing(t, &session.Dialer{Dial: sim.dial})
		client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
		for range 10 {
			l := &session.Listener{Listener: sim}
			server := &http.Server{Handler: http.HandlerFunc(slowly)}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			var requests sync.WaitGroup
			for range 5 {
				requests.Go(func() {
					resp, err := client.Post("http://place/x", "", nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if got, err := io.ReadAll(resp.Body); string(got) != slowAnswer("/x") || err != nil {
						t.Errorf("the answer is %q, %v", got, err)
					}
				})
			}
			time.Sleep(time.Second)
			testutil.WantErr(t, "Shutdown", l.Shutdown(context.Background()), nil)
			requests.Wait()
			testutil.WantErr(t, "Serve", <-served, net.ErrClosed)
			testutil.WantErr(t, "Close", server.Close(), nil)
			late := testutil.BackgroundErr(func() error {
				resp, err := client.Post("http://place/x", "", nil)
				if err == nil {
					_ = resp.Body.Close()
				}
				return err
			})
			time.Sleep(5 * time.Second) // nobody listens
			wantPending(t, "the request", late)
			sim.up()
			next := &session.Listener{Listener: sim}
			quick := &http.Server{Handler: http.NotFoundHandler()}
			go func() { served <- quick.Serve(next) }()
			testutil.WantErr(t, "the late request", (<-late).Err, nil)
			testutil.WantErr(t, "Shutdown", next.Shutdown(context.Background()), nil)
			<-served
			_ = quick.Close()
			sim.up()
		}
	})
}

// http.Server.Shutdown alone closes the Listener, waits for the answers in flight on all sessions, and cuts none.
func TestListenerInHTTPShutdownCutsNoAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		server := &http.Server{Handler: http.HandlerFunc(slowly)}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		var answers []<-chan testutil.Result[string]
		for n := range 20 {
			s := connect(t, sim)
			w := webTest{client: &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.OpenStream(ctx) },
			}}}
			answers = append(answers, testutil.Background(func() (string, error) { return w.get(fmt.Sprint("/", n)) }))
		}
		time.Sleep(5500 * time.Millisecond)
		down := testutil.BackgroundErr(func() error { return server.Shutdown(context.Background()) })
		testutil.WantErr(t, "Serve", <-served, http.ErrServerClosed)
		for n, answer := range answers {
			if r := <-answer; r.Err != nil || r.Value != slowAnswer(fmt.Sprint("/", n)) {
				t.Errorf("answer %d: %q, %v", n, r.Value, r.Err)
			}
		}
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
		testutil.WantErr(t, "Shutdown of the sessions", l.Shutdown(context.Background()), nil)
		synctest.Wait()
	})
}

// A TLS transport is authenticated in OnSession by its certificate, and ConnContext gives each request its session. A
// transport that does not speak TLS stops nobody.
func TestListenerAuthenticatesTLSPeers(t *testing.T) {
	testutil.LeakCheck(t)
	test := httptest.NewTLSServer(nil) // for its certificate
	test.Close()
	serverTLS := &tls.Config{Certificates: test.TLS.Certificates, ClientAuth: tls.RequestClientCert}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 10)
	l := &session.Listener{
		Listener: tls.NewListener(tcp, serverTLS),
		OnSession: func(ctx context.Context, s *session.Session) error {
			if len(s.Transport().(*tls.Conn).ConnectionState().PeerCertificates) == 0 {
				return errBroken
			}
			return nil
		},
		OnError: func(err error) { failed <- err },
	}
	type key struct{}
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			s, _ := session.From(c)
			return context.WithValue(ctx, key{}, s)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := r.Context().Value(key{}).(*session.Session)
			peer := s.Transport().(*tls.Conn).ConnectionState().PeerCertificates[0]
			fmt.Fprint(w, "hello to the owner of ", peer.SerialNumber)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	hanging, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()

	request := func(certificates []tls.Certificate) (string, error) {
		d := &session.Dialer{
			FailFast: true,
			Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
				dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}
				return dialer.DialContext(ctx, "tcp", tcp.Addr().String())
			},
		}
		defer d.Close()
		transport := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
		w := webTest{client: &http.Client{Transport: transport}}
		return w.get("/")
	}
	if got, err := request(test.TLS.Certificates); got != "hello to the owner of "+test.Certificate().SerialNumber.String() || err != nil {
		t.Errorf("the answer is %q, %v", got, err)
	}
	if got, err := request(nil); err == nil {
		t.Errorf("without a certificate, the answer is %q", got)
	}
	testutil.WantErr(t, "OnError", <-failed, errBroken)
	plain, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	var op *net.OpError
	if err := <-failed; !errors.As(err, &op) || op.Op != "handshake" {
		t.Errorf("OnError got %v", err)
	}
	_ = plain.Close()
	testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
	testutil.WantErr(t, "Serve", <-served, net.ErrClosed)
	_ = server.Close()
}
