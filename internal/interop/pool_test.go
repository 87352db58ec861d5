//go:build !self

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"
	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/session"
)

// A Dialer toward servers of xtaci/smux, and a Listener for their clients.

// A theirServer is a server of xtaci/smux that echoes.
type theirServer struct {
	l       net.Listener
	version int
	serving sync.WaitGroup

	mu       sync.Mutex
	sessions []*smux.Session
}

func newTheirServer(t *testing.T, version int, address string) *theirServer {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &theirServer{l: l, version: version}
	p.serving.Go(p.accept)
	return p
}

func (p *theirServer) accept() {
	for {
		conn, err := p.l.Accept()
		if err != nil {
			return
		}
		config := smux.DefaultConfig()
		config.Version = p.version
		s, err := smux.Server(conn, config)
		if err != nil {
			panic(err)
		}
		p.mu.Lock()
		p.sessions = append(p.sessions, s)
		p.mu.Unlock()
		p.serving.Go(func() {
			for {
				st, err := s.AcceptStream()
				if err != nil {
					return
				}
				p.serving.Go(func() {
					defer st.Close()
					_, _ = io.Copy(st, st)
				})
			}
		})
	}
}

// close ends the server and its sessions, as their servers do: no peer is told before.
func (p *theirServer) close() {
	_ = p.l.Close()
	p.mu.Lock()
	sessions := p.sessions
	p.mu.Unlock()
	for _, s := range sessions {
		_ = s.Close()
	}
	p.serving.Wait()
}

// greet sends a message over a stream, wants it back, and closes the stream.
func greet(t *testing.T, st net.Conn) {
	t.Helper()
	const message = "hello"
	got := make([]byte, len(message))
	if _, err := io.WriteString(st, message); err != nil {
		t.Error(err)
	} else if _, err := io.ReadFull(st, got); err != nil || string(got) != message {
		t.Errorf("read %q, %v", got, err)
	}
	_ = st.Close()
}

// A Dialer spreads its streams over sessions with a server of theirs, and dials again when the server has restarted. Its
// pings harm nothing. A session that is too old is shut down, and its open stream goes on.
func TestDialerTowardTheirServer(t *testing.T) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			server := newTheirServer(t, version, "127.0.0.1:0")
			address := server.l.Addr().String()
			d := &session.Dialer{
				Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", address)
				},
				Config:            &session.Config{Version: version, NoHalfClose: true, CloseTimeout: 100 * time.Millisecond},
				MaxSessions:       3,
				StreamsPerSession: 5,
			}
			for range 3 {
				var calls sync.WaitGroup
				for range 50 {
					st, err := d.OpenStream(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					calls.Go(func() { greet(t, st) })
				}
				calls.Wait()
				if n := d.Stats().Sessions; n < 1 || n > 3 {
					t.Errorf("there are %d sessions", n)
				}
				last, err := d.OpenStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				old := slices.Collect(d.Sessions())
				server.close()
				for _, s := range old {
					<-s.Done()
				}
				if _, err := io.ReadAll(last); err == nil {
					t.Error("the stream ends without an error when the server does")
				}
				server = newTheirServer(t, version, address)
			}
			st, err := d.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for s := range d.Sessions() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = s.Shutdown(ctx) // as MaxAge does
			}
			other, err := d.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			greet(t, other)
			greet(t, st)
			if err := d.Shutdown(context.Background()); err != nil && !errors.Is(err, session.ErrNotFlushed) {
				t.Error(err)
			}
			server.close()
		})
	}
}

// Clients of theirs of both versions share one Listener. Its Shutdown waits for the streams that are open.
func TestTheirClientsOnOneListener(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &session.Listener{Listener: tcp, Config: &session.Config{CloseTimeout: 300 * time.Millisecond}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			st, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			serving.Go(func() {
				defer st.Close()
				_, _ = io.Copy(st, st)
			})
		}
	})
	var clients []*smux.Session
	for n := range 10 {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		config := smux.DefaultConfig()
		config.Version = 1 + n%2
		c, err := smux.Client(conn, config)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	each := func() {
		var all sync.WaitGroup
		for _, c := range clients {
			for range 20 {
				st, err := c.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() { greet(t, st) })
			}
		}
		all.Wait()
	}
	each()
	open, err := clients[0].OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	down := make(chan error, 1)
	go func() { down <- l.Shutdown(context.Background()) }()
	serving.Go(func() { greet(t, open) }) // it is open, and goes on
	if err := <-down; err != nil && !errors.Is(err, session.ErrNotFlushed) {
		t.Error(err)
	}
	serving.Wait()
	for _, c := range clients {
		_ = c.Close()
	}
}
