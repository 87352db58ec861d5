package main

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// A proxy copies between two connections, in both directions, in pieces of any size. It passes on the end of a
// direction and loses nothing. If one direction fails, the other goes on.
type proxy struct {
	a, b  net.Conn
	gate  gate
	ended sync.WaitGroup
}

func newProxy(a, b net.Conn) *proxy {
	p := &proxy{a: a, b: b}
	var both sync.WaitGroup
	both.Go(func() { p.pass(b, a) })
	both.Go(func() { p.pass(a, b) })
	p.ended.Go(func() {
		both.Wait()
		a.Close()
		b.Close()
	})
	return p
}

// pass copies src to dst.
func (p *proxy) pass(dst, src net.Conn) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	buf := make([]byte, 32<<10)
	for {
		size := len(buf)
		if rng.IntN(4) == 0 {
			size = 1 + rng.IntN(size)
		}
		n, err := src.Read(buf[:size])
		p.gate.wait()
		if n > 0 {
			if rng.IntN(200) == 0 {
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				// Nobody reads at dst. Data in the other direction must still arrive, and unread data here must
				// not cause a reset.
				_, _ = io.Copy(io.Discard, src)
				return
			}
		}
		if err != nil {
			if c, ok := dst.(closeWriter); ok {
				_ = c.CloseWrite()
			}
			return
		}
	}
}

func (p *proxy) hold()    { p.gate.shut() }
func (p *proxy) release() { p.gate.open() }

// close ends the proxy and waits for its goroutines.
func (p *proxy) close() {
	p.gate.open()
	p.a.Close()
	p.b.Close()
	p.ended.Wait()
}

// A gate blocks callers of wait while it is shut.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // not nil while it is shut
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// wait waits until the gate is open.
func (g *gate) wait() {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		<-closed
	}
}
