package fuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// Flush of a stream of a pair.

// A flushed is a call of Flush that has returned.
type flushed struct {
	written int  // what Writes had written before the call
	fin     bool // CloseWrite or Close had returned before it
	proven  bool // the peer was known to answer
	err     error
}

// introduce makes each side learn that its peer answers pings, once. Otherwise a first Flush that waits for long would
// rely on the transport alone.
func (p *pair) introduce() {
	if p.introduced {
		return
	}
	p.introduced = true
	for _, s := range p.sides {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := s.Ping(ctx)
		cancel()
		s.answered = err == nil
	}
}

// flush calls Flush for at most this time, apart from all other calls.
func (e *end) flush(limit time.Duration) {
	e.mu.Lock()
	f := flushed{written: e.written, fin: e.closeDone.Load(), proven: e.side.answered}
	e.mu.Unlock()
	e.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		begin := time.Now()
		f.err = e.st.Flush(ctx)
		if took := time.Since(begin); took > limit {
			e.side.p.t.Errorf("%v: Flush with a context of %v took %v", e, limit, took)
		} else if errors.Is(f.err, context.DeadlineExceeded) && took < limit {
			e.side.p.t.Errorf("%v: Flush with a context of %v: %v after %v", e, limit, f.err, took)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.flushes = append(e.flushes, f)
	})
}

// judgeFlush judges the calls of Flush of one end. to is the other end, or nil if there is none.
func (r *record) judgeFlush(from, to *end) error {
	for _, f := range from.flushes {
		switch {
		case f.err == nil && to != nil:
			if err := r.judgeFlushed(f, from, to); err != nil {
				return err
			}
		case f.err == nil, errors.Is(f.err, context.DeadlineExceeded), r.broken(), r.shutdown:
		case to == nil && errors.Is(f.err, stream.ErrRefused):
		case to != nil && errors.Is(f.err, stream.ErrPeerClosed) && (to.closed.Load() || to.aborted()):
		default:
			return fmt.Errorf("%v: Flush: %v", from, f.err)
		}
	}
	return nil
}

// judgeFlushed judges a Flush that has succeeded: the peer's session has read what was written. Its application reads that,
// unless it has ended reading.
func (r *record) judgeFlushed(f flushed, from, to *end) error {
	if !f.proven || to.readClosed.Load() || to.aborted() || r.shutdown || r.closed[0] || r.closed[1] {
		return nil
	}
	if to.taken < f.written || f.fin && to.readErr != io.EOF {
		return fmt.Errorf("%v: Flush has succeeded after %d bytes (end: %v), and the peer has read %d, then %v",
			from, f.written, f.fin, to.taken, to.readErr)
	}
	return nil
}
