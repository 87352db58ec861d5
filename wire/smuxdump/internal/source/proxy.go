package source

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// maxProxied is the most connections at the same time. At that many, the Proxy does not accept more until one has ended.
const maxProxied = 1024

// A Proxy passes connections to another address, and feeds what passes to a [conversation.Set].
type Proxy struct {
	To  string // the address
	Set *conversation.Set
	// Capture gets what passes, too. It may be nil.
	Capture *Writer
	// Dial dials To. It is net.Dialer.DialContext by default.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now returns the time. It is time.Now by default.
	Now func() time.Time
	// Log is told of connections that fail. It may be nil.
	Log func(error)

	mu sync.Mutex // guards Set and Capture
}

// Serve accepts connections of l until ctx ends or l fails. It closes l and all connections before it returns.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Dial == nil {
		p.Dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer l.Close()
	places := make(chan struct{}, maxProxied)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() {
				p.log(err)
				select { // as net/http does, when there are no more file descriptors
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
				<-places
				continue
			}
			return err
		}
		wg.Go(func() {
			defer func() { <-places }()
			p.pass(ctx, conn)
		})
	}
}

func (p *Proxy) log(err error) {
	if p.Log != nil {
		p.Log(err)
	}
}

// pass passes one connection on.
func (p *Proxy) pass(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := p.Dial(ctx, "tcp", p.To)
	if err != nil {
		abort(client)
		p.log(err)
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()

	p.mu.Lock()
	now := p.Now()
	c := &proxied{p: p, conn: p.Set.Open(client.RemoteAddr().String(), p.To, now)}
	if p.Capture != nil {
		c.capture = p.Capture.Open(client.RemoteAddr(), server.RemoteAddr(), now)
	}
	p.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() { c.copy(conversation.Forward, server, client) })
	wg.Go(func() { c.copy(conversation.Backward, client, server) })
	wg.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	c.conn.Close(p.Now())
	if c.capture != nil {
		if err := c.capture.Close(p.Now()); err != nil {
			p.log(err)
		}
	}
}

// A proxied is a connection that passes.
type proxied struct {
	p       *Proxy
	conn    *conversation.Conn
	capture *ConnWriter
}

// copy passes the bytes of one direction on, until its end. What passes is shown first: so no answer is shown before
// what it answers.
func (c *proxied) copy(d conversation.Dir, dst, src net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			c.show(d, buf[:n])
			before := c.p.Now()
			if _, werr := dst.Write(buf[:n]); werr != nil {
				// The receiver is gone. The sender learns it as it would without the proxy.
				c.end(d, conversation.EndReset)
				abort(src)
				return
			}
			c.noteWrite(d, before)
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			c.end(d, conversation.EndFIN)
			if w, ok := dst.(interface{ CloseWrite() error }); ok {
				w.CloseWrite() // if it fails, the connection has ended already
			} else {
				dst.Close()
			}
			return
		}
		how := conversation.EndReset
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
			how = conversation.EndSource // the program ends, or the other direction has failed
		}
		c.end(d, how)
		abort(dst)
		return
	}
}

func (c *proxied) show(d conversation.Dir, b []byte) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	now := c.p.Now()
	c.conn.Data(d, now, b)
	if c.capture != nil {
		if err := c.capture.Data(d, now, b); err != nil {
			c.p.log(err)
			c.capture = nil
		}
	}
}

// noteWrite counts the time in which the receiver took nothing.
func (c *proxied) noteWrite(d conversation.Dir, before time.Time) {
	now := c.p.Now()
	if now.Sub(before) < conversation.MinStall {
		return
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.conn.Blocked(d, before, now, "the receiver took no data")
}

func (c *proxied) end(d conversation.Dir, how conversation.Ending) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.conn.EndDir(d, c.p.Now(), how)
}

// abort closes a connection so that its other end sees a reset and no clean end.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
