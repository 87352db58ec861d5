package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A sessionPool is the least that a client of restarting servers needs: a list of sessions, and another one if the
// first is draining.
type sessionPool struct {
	mu       sync.Mutex
	sessions []*session.Session
}

func (p *sessionPool) add(s *session.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = append(p.sessions, s)
}

func (p *sessionPool) first() *session.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[0]
}

func (p *sessionPool) remove(s *session.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[0] == s {
		p.sessions = p.sessions[1:]
	}
}

// dial opens a stream on a session that takes some.
func (p *sessionPool) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	for {
		s := p.first()
		st, err := s.OpenStream(ctx)
		if !errors.Is(err, session.ErrPeerShutdown) {
			return st, err
		}
		p.remove(s)
	}
}

// In rolling restarts under load no request is lost: HTTP requests that cannot be retried, over a pool that goes to
// another session at ErrPeerShutdown, while their servers are shut down one after the other.
func TestDrainLosesNoRequestInRollingRestarts(t *testing.T) {
	testutil.LeakCheck(t)
	restarts := 100
	if testing.Short() {
		restarts = 20
	}
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			pool := &sessionPool{}
			var ending sync.WaitGroup
			// begin starts a server and adds a session with it to the pool. The function that it returns restarts
			// it: it shuts the server down.
			begin := func() (shutdown func()) {
				c, s := sessions(t, transport("tcp"), session.Config{Version: version})
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(w, r.Body)
				})}
				served := make(chan error, 1)
				go func() { served <- server.Serve(s.Listener()) }()
				pool.add(c)
				return func() {
					ending.Go(func() {
						// In this order: http.Server drops each connection whose first request it reads after
						// its own Shutdown was called.
						testutil.WantErr(t, "Shutdown", s.Shutdown(context.Background()), nil)
						testutil.WantErr(t, "Serve", <-served, net.ErrClosed)
						testutil.WantErr(t, "http.Server.Shutdown", server.Shutdown(context.Background()), nil)
					})
				}
			}
			requests, lost := rollingRestarts(t, restarts, pool.dial, begin)
			ending.Wait()
			t.Logf("%d restarts, %d requests, %d lost", restarts, requests, lost)
		})
	}
}

// rollingRestarts restarts servers one after the other, while 8 clients send requests through dial, each as soon as its last
// one was answered. begin starts a server, and returns what shuts it down. A request that is lost fails the test.
func rollingRestarts(t *testing.T, restarts int, dial func(ctx context.Context, network, address string) (net.Conn, error),
	begin func() (shutdown func()),
) (requests, lost int64) {
	shutdown := begin()
	var sent, failed atomic.Int64
	stop, answered := make(chan struct{}), make(chan struct{})
	var load sync.WaitGroup
	for i := range 8 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
			body := bytes.Repeat([]byte{byte(i)}, 20_000)
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				got, err := post(client, body)
				if err != nil || !bytes.Equal(got, body) {
					failed.Add(1)
					t.Errorf("%d bytes of %d, error %v", len(got), len(body), err)
				}
				select {
				case answered <- struct{}{}:
				default: // nobody waits for it
				}
			}
		})
	}
	for range restarts {
		for range 20 {
			<-answered
		}
		next := begin()
		shutdown()
		shutdown = next
	}
	close(stop)
	load.Wait()
	shutdown()
	return sent.Load(), failed.Load()
}

// post sends a body in a request that net/http does not retry.
func post(client *http.Client, body []byte) ([]byte, error) {
	resp, err := client.Post("http://peer/", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
