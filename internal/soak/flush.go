package main

import (
	"context"
	"errors"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// A flushed is what a Flush of an end has promised.
type flushed struct {
	written int64
	fin     bool
	proven  bool // Flush had to prove that the peer's session has it
	done    bool // Flush has returned
	err     error
}

// introduce learns that the peer of one end answers. Then Flush waits for its answer as long as it takes.
func (x *pair) introduce(side int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := x.sessions[side].Ping(ctx); err == nil {
		x.answered[side].Store(true)
	}
}

// flush calls Flush, after everything was written and the direction was closed. It has no time-out: the session ends it.
func (e *end) flush() {
	defer e.flushing.Add(-1)
	e.flushed = flushed{written: e.written.Load(), fin: e.finDone.Load(), proven: e.answered.Load()}
	e.flushed.err = e.st.Flush(context.Background())
	e.flushed.done = true
}

// checkFlush checks that a Flush which returned nil told the truth: what was written can be read, unless the reader ends
// its own session, or its machine seems to break. peer may be nil.
func (x *pair) checkFlush(side int, id uint32, e, peer *end) {
	f, p := e.flushed, x.r.p
	if !f.done {
		return
	}
	fail := func(format string, args ...any) {
		x.r.fail("session %d: end %d of stream %d (%s): Flush: "+format, append([]any{x.index, side, id, e.b.How}, args...)...)
	}
	switch {
	case f.err == nil:
	case !smuxError(f.err):
		fail("an error of no known kind: %v", f.err)
	case x.orderly(peer) && p.Disturbance == calm && !(peer.closed.Load() && errors.Is(f.err, stream.ErrPeerClosed)):
		fail("%v", f.err)
	}
	if f.err != nil || peer == nil || !f.proven || !peer.b.readsToTheEnd() || peer.aborted() {
		return
	}
	host := p.Transport == "tcp" || p.Transport == "tls" || p.Transport == "unix" // acknowledges before its session reads
	breaks := p.Disturbance == cut || p.Disturbance == vanish
	ends := p.Disturbance == closing || p.Disturbance == closeNow
	if host && (p.Proxy || breaks) || ends && p.By != side {
		return
	}
	if peer.read.Load() < f.written || f.fin && !peer.readAll {
		fail("nil after %d bytes (end: %v), and the peer has read %d, then %v", f.written, f.fin, peer.read.Load(), peer.readErr)
	}
}
