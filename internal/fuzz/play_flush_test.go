package fuzz

import (
	"context"
	"errors"
	"time"
)

// Flush of a stream of a play.

// A flushing is a call of Flush.
type flushing struct {
	*call
	st      *played
	written int  // what Writes had written before the call
	fin     bool // CloseWrite or Close was called before it
	until   time.Time
}

// flush calls Flush for at most this time.
func (p *play) flush(st *played, limit time.Duration) {
	f := &flushing{st: st, written: st.written, fin: st.writeClosed, until: time.Now().Add(limit)}
	p.signals.pingsMay++
	f.call = p.start("Flush", 0, func(*call) (int, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return 0, st.st.Flush(ctx)
	})
	p.flushing = append(p.flushing, f)
}

// checkFlushes compares the calls of Flush with the model.
func (p *play) checkFlushes() {
	waiting := p.flushing[:0]
	for _, f := range p.flushing {
		if f.done.Load() {
			p.checkFlush(f)
			continue
		}
		waiting = append(waiting, f)
		switch ended := p.s.Err() != nil; {
		case time.Now().After(f.until):
			p.failf("Flush of stream %d does not end with its context", f.st.id)
		case ended:
			p.failf("Flush of stream %d does not end with the session", f.st.id)
		case f.written == 0 && !f.fin && f.st.writing == nil && f.st.sent == 0 && !f.st.writeClosed:
			p.failf("Flush of stream %d waits for nothing", f.st.id)
		}
	}
	p.flushing = waiting
}

// checkFlush checks a Flush that has returned. The peer never proves that it has got the data, so that the transport has
// taken it must be enough.
func (p *play) checkFlush(f *flushing) {
	st := f.st
	switch {
	case f.err == nil:
		if st.sent < f.written || f.fin && st.finsSent == 0 && st.finsDue > 0 {
			p.failf("Flush of stream %d has succeeded: %d of %d bytes and %d FINs went out", st.id, st.sent, f.written, st.finsSent)
		}
	case errors.Is(f.err, context.DeadlineExceeded):
		if time.Now().Before(f.until) {
			p.failf("Flush of stream %d: %v, too early", st.id, f.err)
		}
	case p.model.end == nil && !p.model.closed && !st.dropped && !st.givenUp:
		p.failf("Flush of stream %d: %v", st.id, f.err)
	}
}
