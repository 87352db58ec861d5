package compare

import (
	"context"
	"io"
	"log"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	libp2p "github.com/libp2p/go-yamux/v5"
	"github.com/xtaci/smux"
	"golang.ngrok.com/muxado/v2"

	"github.com/smuxkit/smuxkit/session"
)

// A library is one column of the table.
type library struct {
	name     string
	module   string   // "" is ours
	variants []string // versions of the protocol, or one that is empty
	start    func(conn io.ReadWriteCloser, client bool, variant string) (mux, error)
}

// A mux is one end of a session.
type mux struct {
	Open, Accept func() (net.Conn, error)
	Close        func() error
	Session      any // of the library's own type
}

var libraries = []library{
	{"smuxkit", "", []string{"1", "2"}, func(conn io.ReadWriteCloser, client bool, variant string) (mux, error) {
		var s *session.Session
		var err error
		if client {
			s, err = session.Client(conn, &session.Config{Version: int(variant[0] - '0')})
		} else {
			s, err = session.Server(conn, nil)
		}
		if err != nil {
			return mux{}, err
		}
		return mux{s.Open, s.Accept, s.Close, s}, nil
	}},
	{"xtaci/smux", "github.com/xtaci/smux", []string{"1", "2"}, func(conn io.ReadWriteCloser, client bool, variant string) (mux, error) {
		config := smux.DefaultConfig()
		config.Version = int(variant[0] - '0')
		start := smux.Server
		if client {
			start = smux.Client
		}
		s, err := start(conn, config)
		if err != nil {
			return mux{}, err
		}
		return mux{conns(s.OpenStream), conns(s.AcceptStream), s.Close, s}, nil
	}},
	{"yamux", "github.com/hashicorp/yamux", []string{""}, func(conn io.ReadWriteCloser, client bool, _ string) (mux, error) {
		config := yamux.DefaultConfig()
		config.LogOutput = nil
		config.Logger = log.New(io.Discard, "", 0)
		start := yamux.Server
		if client {
			start = yamux.Client
		}
		s, err := start(conn, config)
		if err != nil {
			return mux{}, err
		}
		return mux{s.Open, s.Accept, s.Close, s}, nil
	}},
	{"go-yamux", "github.com/libp2p/go-yamux/v5", []string{""}, func(conn io.ReadWriteCloser, client bool, _ string) (mux, error) {
		config := libp2p.DefaultConfig()
		config.LogOutput = io.Discard
		start := libp2p.Server
		if client {
			start = libp2p.Client
		}
		s, err := start(conn.(net.Conn), config, nil)
		if err != nil {
			return mux{}, err
		}
		open := func() (net.Conn, error) { return s.Open(context.Background()) }
		return mux{open, s.Accept, s.Close, s}, nil
	}},
	{"muxado", "golang.ngrok.com/muxado/v2", []string{""}, func(conn io.ReadWriteCloser, client bool, _ string) (mux, error) {
		start := muxado.Server
		if client {
			start = muxado.Client
		}
		s := start(conn, nil)
		return mux{s.Open, s.Accept, s.Close, s}, nil
	}},
}

func conns(f func() (*smux.Stream, error)) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		st, err := f()
		if err != nil {
			return nil, err
		}
		return st, nil
	}
}

// A pair is two sessions over TCP, whose client side can be made to block in Write.
type pair struct {
	client, server mux
	conn           *stallable // the client's
	far            net.Conn   // the server's
}

// newPair ends the pair with the test.
func newPair(t *testing.T, lib library, variant string) *pair {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{conn: &stallable{Conn: near, closed: make(chan struct{}), blocked: make(chan struct{}, 1)}, far: far}
	if p.client, err = lib.start(p.conn, true, variant); err != nil {
		t.Fatal(err)
	}
	if p.server, err = lib.start(far, false, variant); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.conn.Close()
		far.Close()
		go p.client.Close() // some wait for what never comes
		go p.server.Close()
	})
	return p
}

// connect returns the ends of a new stream.
func (p *pair) connect(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, server = p.connectUnread(t)
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// connectUnread returns the ends of a new stream, whose server has a byte to read.
func (p *pair) connectUnread(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, err := p.client.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte{0}); err != nil { // muxado opens no stream before
		t.Fatal(err)
	}
	server, err = p.server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A stallable is a connection whose Write blocks once stall was called, until it is closed.
type stallable struct {
	net.Conn
	mu      sync.Mutex
	stalled bool
	once    sync.Once
	closed  chan struct{}
	blocked chan struct{} // has a value once a Write is blocked
}

func (c *stallable) Write(p []byte) (int, error) {
	c.mu.Lock()
	stalled := c.stalled
	c.mu.Unlock()
	if stalled {
		select {
		case c.blocked <- struct{}{}:
		default:
		}
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *stallable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *stallable) stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = true
}

// soon reports whether f returns within the time in which what works does so by far.
func soon(f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(time.Second):
		return false
	}
}
