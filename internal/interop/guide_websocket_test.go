package interop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// The code of docs/websocket.md.

// webSockets is an http.Handler that makes a WebSocket of each request, and a net.Listener of these.
type webSockets struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// A webSocket is a transport that knows the request that it began with.
type webSocket struct {
	net.Conn
	request *http.Request
}

func (l *webSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	// Not r.Context(): that ends when this function returns, and the connection with it.
	conn := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	select {
	case l.conns <- webSocket{conn, r}:
	case <-l.done:
		c.Close(websocket.StatusGoingAway, "the server stops")
	}
}

func (l *webSockets) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *webSockets) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *webSockets) Addr() net.Addr { return &net.UnixAddr{Name: "websocket", Net: "websocket"} }

func newWebSockets() *webSockets {
	return &webSockets{conns: make(chan net.Conn), done: make(chan struct{})}
}

// dialWebSocket returns a Dialer for a URL that begins with ws or wss.
func dialWebSocket(url string, header http.Header) *session.Dialer {
	return &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header})
			if err != nil {
				return nil, err
			}
			// Not ctx: that ends with the dial, and the connection with it.
			return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
		},
		Config: &session.Config{MaxWriteSize: 32 << 10},
	}
}

// The client and the server of docs/websocket.md exchange data over many streams, also while the server stops.
func TestGuideWebSocket(t *testing.T) {
	checkGoroutines(t)
	sockets := &webSockets{conns: make(chan net.Conn), done: make(chan struct{})}
	l := &session.Listener{Listener: sockets, Config: &session.Config{MaxWriteSize: 32 << 10}}
	mux := http.NewServeMux()
	mux.Handle("/tunnel", sockets)
	server := httptest.NewServer(mux)
	defer server.Close()
	accepted := make(chan *stream.Stream)
	go func() {
		defer close(accepted)
		for {
			st, err := l.AcceptStream(context.Background())
			if err != nil {
				return
			}
			accepted <- st
		}
	}()
	d := dialWebSocket("ws"+server.URL[len("http"):]+"/tunnel", nil)
	defer d.Close()

	const streams, size = 4, 200_000
	var all sync.WaitGroup
	for i := range streams {
		st, err := d.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "the client", st, []byte{1})
		conn := <-accepted
		p := payload{seed: uint64(i), size: size}
		all.Go(func() {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			mustWrite(t, "the server", conn, p.bytes())
			mustClose(t, "the server", conn)
		})
		all.Go(func() {
			readAll(t, "the client", st, p.bytes())
			mustClose(t, "the client", st)
		})
	}
	down := testutil.BackgroundErr(func() error { return l.Shutdown(t.Context()) })
	all.Wait()
	if err := (<-down).Err; err != nil && !errors.Is(err, session.ErrNotFlushed) {
		t.Errorf("Shutdown: %v", err)
	}
	for range accepted {
		t.Error("a stream too much")
	}
}

// A WebSocket whose context ends, ends its session: the contexts of a dial and of a request must not be used.
func TestContextOfAWebSocketEndsTheSession(t *testing.T) {
	checkGoroutines(t)
	sockets := newWebSockets()
	server := httptest.NewServer(sockets)
	defer server.Close()
	l := &session.Listener{Listener: sockets}
	defer l.CloseNow()
	accepting := testutil.Background(l.Accept)
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	s, err := session.Client(websocket.NetConn(ctx, c, websocket.MessageBinary), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.CloseNow()
	cancel()
	select {
	case <-s.Done():
	case <-time.After(hung):
		t.Error("the session goes on")
	}
	_ = l.CloseNow()
	<-accepting
}

// A handler in front of the WebSockets keeps strangers out, and a stream leads to the request of its session.
func TestWebSocketStreamKnowsItsRequest(t *testing.T) {
	checkGoroutines(t)
	sockets := newWebSockets()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		sockets.ServeHTTP(w, r)
	}))
	defer server.Close()
	l := &session.Listener{Listener: sockets}
	defer l.CloseNow()
	accepting := testutil.Background(func() (*stream.Stream, error) { return l.AcceptStream(t.Context()) })

	stranger := dialWebSocket(server.URL, nil)
	stranger.FailFast = true
	defer stranger.Close()
	if _, err := stranger.OpenStream(t.Context()); err == nil {
		t.Error("a stranger has opened a stream")
	}
	d := dialWebSocket(server.URL, http.Header{"Authorization": {"Bearer sesame"}, "User-Agent": {"agent 7"}})
	defer d.Close()
	st, err := d.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "the client", st, []byte{1})
	r := <-accepting
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if got := requestOf(r.Value).UserAgent(); got != "agent 7" {
		t.Errorf("the stream's request is that of %q", got)
	}
	mustClose(t, "the server", r.Value)
	mustClose(t, "the client", st)
}

// requestOf returns the request that a stream's session began with.
func requestOf(st net.Conn) *http.Request {
	s, _ := session.From(st)
	return s.Transport().(webSocket).request
}
