package main

import (
	"errors"
	"io"
	"net"

	"github.com/smuxkit/smuxkit/stream"
)

// check compares what both ends of each stream have recorded.
//
// In every round:
//   - the bytes read are a prefix of the bytes written;
//   - no more bytes are read than Write has counted;
//   - io.EOF comes only where the peer has closed the direction, after everything that it wrote;
//   - every error is of a documented kind.
//
// In a session that nothing disturbs but Close of a Listener or IdleTimeout, and for streams that were accepted before
// Shutdown: an end that reads to the end
// reads everything that was written, and io.EOF. A Write fails only if one of the two ends has closed the stream. As
// many streams are never accepted as were refused, and the opener of one reads no data and stream.ErrRefused.
//
// In every round, no call on a stream that was accepted says that it was refused.
//
// After a Flush that returned nil, the peer can read what was written before it: see checkFlush.
//
// If an end is traced, its events and its Stats say the same, and count the bytes that were read and written.
//
// After a Close that returned nil, the peer has read everything that was written before it.
func (r *round) check() {
	for _, x := range r.pairs {
		for side := range x.ends {
			unknown := 0
			for id, e := range x.ends[side] {
				peer := x.ends[1-side][id]
				opened := (id%2 == 1) == (side == 0)
				switch {
				case peer == nil && opened:
					unknown++
					if r.p.losesNoStream() && e.b.readsToTheEnd() && !e.aborted() && !errors.Is(e.readErr, stream.ErrRefused) {
						r.fail("session %d: stream %d was never accepted, and reading it ended with %v", x.index, id, e.readErr)
					}
				case peer == nil:
					r.fail("session %d: stream %d was accepted and never opened", x.index, id)
				}
				x.checkCalls(side, id, e)
				x.checkBytes(side, id, e, peer)
				x.checkFlush(side, id, e, peer)
			}
			if r.p.losesNoStream() {
				if n := x.sessions[1-side].Stats().StreamsRefused; uint64(unknown) != n {
					r.fail("session %d: %d streams of end %d were not accepted, and %d refused", x.index, unknown, side, n)
				} else if told := x.sessions[side].Stats().StreamsRefusedByPeer; told > n {
					r.fail("session %d: %d streams of end %d were refused, and it has counted %d", x.index, n, side, told)
				}
			}
		}
		x.checkOwed()
		for side, w := range x.watchers {
			if w != nil {
				w.check(x, side)
			}
		}
	}
}

// orderly reports whether only the behaviours of its two ends limit a stream.
func (x *pair) orderly(peer *end) bool {
	d := x.r.p.Disturbance
	return (x.r.p.undisturbed() || d == shutdown || d == idles) && peer != nil
}

// aborted reports whether StallTimeout or StreamIdleTimeout has closed this end.
func (e *end) aborted() bool { return isAbort(e.readErr) || isAbort(e.writeErr) }

func isAbort(err error) bool {
	return errors.Is(err, stream.ErrStalled) || errors.Is(err, stream.ErrIdleTimeout)
}

// checkCalls checks the errors of the calls of one end.
func (x *pair) checkCalls(side int, id uint32, e *end) {
	fail := func(what string, err error) {
		x.r.fail("session %d: end %d of stream %d (%s): %s: %v", x.index, side, id, e.b.How, what, err)
	}
	if e.wrong != nil {
		fail("wrong data", e.wrong)
	}
	for what, err := range map[string]error{"reading": e.readErr, "writing": e.writeErr, "Close": e.closeErr} {
		if err == nil {
			continue
		}
		if !smuxError(err) {
			fail(what+" failed with an error of no known kind", err)
		}
		if what == "writing" && errors.Is(err, io.EOF) {
			fail(what, err)
		}
	}
	peer := x.ends[1-side][id]
	if peer != nil && (errors.Is(e.readErr, stream.ErrRefused) || errors.Is(e.writeErr, stream.ErrRefused)) {
		fail("it was accepted, and reading says", e.readErr)
		fail("it was accepted, and writing says", e.writeErr)
	}
	if !x.orderly(peer) {
		return
	}
	mayAbort := x.r.p.Ends[side].Stall > 0 || x.r.p.Ends[side].Idle > 0
	allowed := func(err error) bool {
		switch {
		case err == nil, mayAbort && isAbort(err):
			return true
		case errors.Is(err, net.ErrClosed):
			return e.closed.Load() && !e.b.readsToTheEnd()
		}
		return false
	}
	// The session may end before it learns that the peer has closed the stream: Shutdown does not wait for that.
	unwanted := func(err error) bool {
		return peer != nil && (!peer.b.readsToTheEnd() || peer.aborted()) &&
			(errors.Is(err, stream.ErrPeerClosed) || x.r.p.Disturbance == shutdown || x.r.p.Disturbance == idles)
	}
	if err := e.readErr; !allowed(err) {
		fail("reading", err)
	}
	if err := e.writeErr; !allowed(err) && !unwanted(err) {
		fail("writing", err)
	}
	if err := e.closeErr; err != nil && !unwanted(err) {
		fail("Close", err)
	}
}

// checkBytes checks what one end has read of what its peer has written. peer may be nil.
func (x *pair) checkBytes(side int, id uint32, e, peer *end) {
	fail := func(format string, args ...any) {
		args = append([]any{x.index, side, id, e.b.How}, args...)
		x.r.fail("session %d: end %d of stream %d (%s): "+format, args...)
	}
	read := e.read.Load()
	if peer == nil {
		if read > 0 {
			fail("has read %d bytes of nobody", read)
		}
		return
	}
	written := peer.written.Load()
	if read > written {
		fail("has read %d bytes, the peer (%s) has written %d, %v", read, peer.b.How, written, peer.writeErr)
	}
	if e.readAll {
		if read != written {
			fail("io.EOF after %d bytes, the peer (%s) has written %d, %v", read, peer.b.How, written, peer.writeErr)
		}
		if !peer.finCalled.Load() && !peer.aborted() {
			fail("io.EOF, but the peer has not closed")
		}
	}
	if !x.orderly(peer) {
		return
	}
	if e.b.readsToTheEnd() && !e.aborted() && !e.readAll {
		fail("no io.EOF after %d of %d bytes: %v", read, written, e.readErr)
	}
	undisturbed := e.b.readsToTheEnd() && !e.aborted() && !peer.aborted() && peer.b.How != stops && peer.b.How != aborts
	if undisturbed && written != peer.b.Size && e.b.How != answers {
		fail("its peer (%s) wrote %d of %d bytes: %v", peer.b.How, written, peer.b.Size, peer.writeErr)
	}
}

// checkOwed checks that Close has sent what had been written.
func (x *pair) checkOwed() {
	if x.owed == nil || x.closeErr != nil {
		return
	}
	reader := 1 - x.r.p.By
	why := x.sessions[reader].Err()
	for id, owed := range x.owed {
		e := x.ends[reader][id]
		switch {
		case e == nil && (owed.written == 0 && !owed.fin || x.r.p.Ends[reader].refuses()):
		case e == nil:
			x.r.fail("session %d: stream %d was never accepted, though Close returned nil and %d bytes had been written: %v",
				x.index, id, owed.written, why)
		case !e.b.readsToTheEnd() || e.aborted():
		case e.read.Load() < owed.written || owed.fin && !e.readAll:
			x.r.fail("session %d: stream %d: read %d bytes, then %v, though Close returned nil and %d bytes had been written (end: %v): %v",
				x.index, id, e.read.Load(), e.readErr, owed.written, owed.fin, why)
		}
	}
}
