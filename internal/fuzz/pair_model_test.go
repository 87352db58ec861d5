package fuzz

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"github.com/smuxkit/smuxkit/stream"
)

// A record is what happened to two sessions, apart from their streams.
type record struct {
	refuses  bool     // streams may be refused
	narrow   bool     // the receive buffer may be full
	cut      bool     // the link was cut, or CloseNow was called
	late     bool     // the link was stalled, so that something may arrive when it no longer matters
	silent   bool     // something has lasted so long that a time-out may have ended it
	stalls   bool     // streams that nobody reads may be aborted
	shutdown bool     // Shutdown was called
	closed   [2]bool  // Session.Close was called
	busy     bool     // while the link was stalled, or a stall followed before everything was read
	closeErr [2]error // the error of Close
}

// broken reports whether streams may have ended with their session. A session that learns by a Write that its peer
// has gone gives its application CloseTimeout to make room for the rest.
func (r *record) broken() bool {
	return r.cut || r.silent || r.closed[0] || r.closed[1] || r.shutdown && r.narrow
}

// An outcome is what an end of a stream has done, and the result.
type outcome struct {
	writeClosed, readClosed, closed atomic.Bool // set before the call
	closeDone                       atomic.Bool // set after CloseWrite or Close

	written  int // sum of its Writes
	writeErr error
	taken    int // sum of its Reads
	readErr  error
	flushes  []flushed
}

func (e *end) String() string {
	return fmt.Sprintf("stream %d, its %s", e.conduit.id, ends[e.which].text)
}

// aborted reports whether the end was aborted because nobody read from it.
func (e *end) aborted() bool {
	return errors.Is(e.readErr, stream.ErrStalled) || errors.Is(e.writeErr, stream.ErrStalled)
}

// judge returns what is wrong with a stream on which everything has ended.
func (r *record) judge(c *conduit) error {
	opener, acceptor := c.ends[0], c.ends[1]
	if acceptor == nil {
		return errors.Join(r.judgeAlone(opener), r.judgeFlush(opener, nil))
	}
	return errors.Join(r.judgeWay(opener, acceptor), r.judgeWay(acceptor, opener),
		r.judgeFlush(opener, acceptor), r.judgeFlush(acceptor, opener))
}

// judgeAlone judges an end of a stream that was not accepted.
func (r *record) judgeAlone(e *end) error {
	if !r.refuses && !r.shutdown && !r.broken() {
		return fmt.Errorf("%v: it was never accepted", e)
	}
	if e.taken > 0 {
		return fmt.Errorf("%v: read %d bytes that nobody has written", e, e.taken)
	}
	if !r.shutdown && !r.broken() && !errors.Is(e.readErr, stream.ErrRefused) && !e.readClosed.Load() {
		return fmt.Errorf("%v: it was refused, and reading ends with %v", e, e.readErr)
	}
	return nil
}

// judgeWay judges what from has written and to has read.
func (r *record) judgeWay(from, to *end) error {
	sent, got := from.written, to.taken
	if errors.Is(to.readErr, stream.ErrRefused) || errors.Is(to.writeErr, stream.ErrRefused) {
		return fmt.Errorf("%v: it was accepted, and its calls say that it was refused: %v, %v", to, to.readErr, to.writeErr)
	}
	complete := to.readErr == io.EOF
	switch {
	case got > sent:
		return fmt.Errorf("%v: read %d bytes of %d that were written", to, got, sent)
	case complete && got < sent:
		return fmt.Errorf("%v: io.EOF after %d of %d bytes", to, got, sent)
	case complete && !from.writeClosed.Load() && !from.aborted():
		return fmt.Errorf("%v: io.EOF of a stream that was not closed", to)
	case to.readErr == nil:
		return fmt.Errorf("%v: reading has not ended", to)
	}
	if !complete && !to.readClosed.Load() && !r.broken() && !(r.stalls && to.aborted()) {
		return fmt.Errorf("%v: %v after %d of %d bytes", to, to.readErr, got, sent)
	}
	if errors.Is(to.readErr, net.ErrClosed) && !to.readClosed.Load() && !r.closed[to.side.number] {
		return fmt.Errorf("%v: %v, but it was not closed", to, to.readErr)
	}
	return errors.Join(r.judgeWrites(from, to), r.judgeClose(from, to))
}

// judgeWrites judges why writing has failed.
func (r *record) judgeWrites(from, to *end) error {
	err := from.writeErr
	switch {
	case err == nil:
	case r.broken() || r.shutdown:
	case errors.Is(err, net.ErrClosed) && from.writeClosed.Load():
	case errors.Is(err, stream.ErrPeerClosed) && (to.closed.Load() || to.aborted()):
	case errors.Is(err, stream.ErrStalled) && r.stalls:
	default:
		return fmt.Errorf("%v: Write: %v", from, err)
	}
	return nil
}

// judgeClose judges whether a closed session that had time for it has sent everything.
func (r *record) judgeClose(from, to *end) error {
	mine, other := from.side.number, to.side.number
	if !r.closed[mine] || r.closed[other] || r.closeErr[mine] != nil || r.busy || r.cut || r.silent || r.narrow {
		return nil
	}
	if !to.readClosed.Load() && !to.aborted() && to.taken < from.written {
		return fmt.Errorf("%v: %v after %d of %d bytes, which Session.Close has sent", to, to.readErr, to.taken, from.written)
	}
	return nil
}

// judgeDoneEarly returns what is wrong if Done of an end is closed while nothing has ended its stream.
func (p *pair) judgeDoneEarly(c *conduit) error {
	c.mu.Lock()
	ends := c.ends // a stream may be accepted meanwhile
	c.mu.Unlock()
	for i, e := range ends {
		if e == nil || !e.isDone() {
			continue
		}
		peer := ends[1-i]
		switch {
		case e.closed.Load(), e.side.Err() != nil, p.broken(), p.shutdown, p.stalls, p.lingers:
		case peer == nil: // it was refused
		case peer.closed.Load(), peer.writeClosed.Load() && (peer.readClosed.Load() || e.writeClosed.Load()):
		default:
			return fmt.Errorf("%v: Done is closed, and nothing has ended the stream", e)
		}
	}
	return nil
}

// judgeDone returns what is wrong if Done of an end is open when both directions have ended.
func (p *pair) judgeDone(c *conduit) error {
	for _, e := range c.ends {
		if e != nil && !e.isDone() {
			return fmt.Errorf("%v: Done is open, and the stream has ended", e)
		}
	}
	return nil
}

// describe returns the state of everything.
func (p *pair) describe() string {
	var b strings.Builder
	for i, s := range p.sides {
		fmt.Fprintf(&b, "side %d: %d streams, %+v, %v\n", i, s.NumStreams(), s.Stats(), s.Err())
	}
	return b.String()
}
