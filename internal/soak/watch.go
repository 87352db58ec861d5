package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A watcher follows one session by its Trace, and checks at the end that events and Stats say the same. Its functions call
// the session now and then, as those of an application may.
type watcher struct {
	r    *round
	name string
	act  atomic.Pointer[func()] // what the next event does, once

	mu      sync.Mutex // guards the fields below
	inside  bool       // a function is running
	begun   int
	ended   chan struct{} // closed by SessionEnd
	over    bool
	opened  uint64
	taken   uint64 // by AcceptStream
	refused map[session.RefusalCause]uint64
	closed  map[uint32]session.StreamEnd
	frames  [2]uint64 // sent, received
}

func newWatcher(r *round, name string) *watcher {
	return &watcher{
		r: r, name: name, ended: make(chan struct{}),
		refused: make(map[session.RefusalCause]uint64), closed: make(map[uint32]session.StreamEnd),
	}
}

func (w *watcher) fail(format string, args ...any) {
	w.r.fail("%s: %s", w.name, fmt.Sprintf(format, args...))
}

// enter notes that a function runs, and leave that it returns.
func (w *watcher) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inside {
		w.fail("two functions of the Trace run at the same time")
	}
	w.inside = true
}

func (w *watcher) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside = false
}

// event handles an event: note is called under the lock.
func (w *watcher) event(s *session.Session, note func()) {
	w.enter()
	defer w.leave()
	w.mu.Lock()
	note()
	w.mu.Unlock()
	if f := w.act.Swap(nil); f != nil {
		(*f)()
	}
	if rand.IntN(50) == 0 {
		w.look(s)
	}
}

// look calls what only looks at the session.
func (w *watcher) look(s *session.Session) {
	before := s.Stats()
	n := 0
	for st := range s.Streams() {
		if x := st.Stats(); x.Unread < 0 || x.Unsent < 0 || x.BlockedOnWindow < 0 {
			w.fail("Stats of %v: %+v", st, x)
		}
		_ = st.LogValue()
		if n++; n == 100 {
			break
		}
	}
	after := s.Stats()
	if err := statsAddUp(before); err != nil {
		w.fail("%v", err)
	}
	if after.BytesSent < before.BytesSent || after.FramesReceived < before.FramesReceived || after.BlockedOnWindow < before.BlockedOnWindow {
		w.fail("counters fall: %+v, then %+v", before, after)
	}
}

// statsAddUp checks that each stream is open or has ended once.
func statsAddUp(x session.Stats) error {
	if x.StreamsOpened+x.StreamsAccepted != uint64(x.StreamsOpen)+x.StreamsClosed.Total() || int64(x.StreamsClosed.Complete) < 0 {
		return fmt.Errorf("streams do not add up: %+v", x)
	}
	return nil
}

// do has the next event call f. If none comes soon, it calls f itself. It returns when f has returned.
func (w *watcher) do(f func()) {
	done := make(chan struct{})
	call := func() {
		defer close(done)
		f()
	}
	w.act.Store(&call)
	select {
	case <-done:
		return
	case <-time.After(20 * time.Millisecond):
	}
	if w.act.Swap(nil) != nil {
		call()
	}
	<-done
}

// trace returns the Trace. frames says that it has Frame.
func (w *watcher) trace(frames bool) *session.Trace {
	t := &session.Trace{
		SessionBegin: func(s *session.Session) { w.event(s, func() { w.begun++ }) },
		SessionEnd: func(s *session.Session, reason error) {
			w.event(s, func() {
				if w.over {
					w.fail("SessionEnd was called twice")
					return
				}
				w.over = true
				close(w.ended)
			})
			if err := s.Err(); reason == nil || !errors.Is(reason, err) {
				w.fail("SessionEnd says %v, and Err is %v", reason, err)
			}
		},
		StreamOpened:   func(s *session.Session, st *stream.Stream) { w.event(s, func() { w.opened++ }) },
		StreamAccepted: func(s *session.Session, st *stream.Stream) { w.event(s, func() { w.taken++ }) },
		StreamRefused:  func(s *session.Session, x session.Refusal) { w.event(s, func() { w.refused[x.Cause]++ }) },
		StreamClosed: func(s *session.Session, c session.StreamEnd) {
			w.event(s, func() {
				id := c.Stream.ID()
				if _, twice := w.closed[id]; twice {
					w.fail("StreamClosed was called twice for stream %d", id)
				}
				if c.Duration < 0 || c.Duration > time.Hour {
					w.fail("stream %d was open for %v", id, c.Duration)
				}
				w.closed[id] = c
			})
		},
		StreamStalled:   func(s *session.Session, st *stream.Stream, unread int) { w.event(s, func() {}) },
		DataDropped:     func(s *session.Session, streams int) { w.event(s, func() {}) },
		ReadPaused:      func(s *session.Session, why session.Pause) { w.event(s, func() {}) },
		ReadResumed:     func(s *session.Session, why session.Pause, after time.Duration) { w.event(s, func() {}) },
		KeepAliveProbe:  func(s *session.Session, silent time.Duration) { w.event(s, func() {}) },
		KeepAliveGiveUp: func(s *session.Session, silent time.Duration) { w.event(s, func() {}) },
		DrainBegin:      func(s *session.Session) { w.event(s, func() {}) },
		PeerDraining:    func(s *session.Session) { w.event(s, func() {}) },
	}
	if frames {
		t.Frame = func(s *session.Session, d session.Direction, h wire.Header) {
			w.enter()
			defer w.leave()
			w.frames[d-session.Sent]++
		}
	}
	return t
}

// check compares the events with Stats, after the end of the session.
func (w *watcher) check(x *pair, side int) {
	<-w.ended
	s := x.sessions[side]
	got := s.Stats()
	if err := statsAddUp(got); err != nil || got.StreamsOpen != 0 {
		w.fail("after the end: %+v, %v", got, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	byPeer := w.refused[session.RefusedByPeer]
	refused := w.refused[session.RefusedAtLimit] + w.refused[session.RefusedDraining] + w.refused[session.RefusedUnaccepted]
	switch {
	case w.begun != 1:
		w.fail("SessionBegin was called %d times", w.begun)
	case w.opened != got.StreamsOpened || w.taken > got.StreamsAccepted || uint64(len(w.closed)) != got.StreamsClosed.Total():
		w.fail("%d streams were opened, %d accepted and %d closed, and Stats are %+v", w.opened, w.taken, len(w.closed), got)
	case refused > got.StreamsRefused || byPeer > got.StreamsRefusedByPeer:
		w.fail("%d streams were refused, and %d by the peer, and Stats are %+v", refused, byPeer, got)
	case w.r.p.undisturbed() && (refused != got.StreamsRefused || byPeer != got.StreamsRefusedByPeer):
		w.fail("%d streams were refused, and %d by the peer, and Stats are %+v", refused, byPeer, got)
	case w.frames[0] > got.FramesSent || w.frames[1] > got.FramesReceived:
		w.fail("%d frames were sent and %d received, and Stats are %+v", w.frames[0], w.frames[1], got)
	}
	if reasons := w.reasons(); reasons != got.StreamsClosed {
		w.fail("streams were closed for these reasons: %+v, and Stats are %+v", reasons, got)
	}
	for id, c := range w.closed {
		w.checkStream(x.ends[side][id], c)
	}
}

// checkStream compares the bytes of a stream with those that its end has counted. e is nil if no application got it.
func (w *watcher) checkStream(e *end, c session.StreamEnd) {
	if e == nil {
		return
	}
	if e.readAll && c.BytesReceived != uint64(e.read.Load()) {
		w.fail("%v has received %d bytes, and %d were read to the end", c.Stream, c.BytesReceived, e.read.Load())
	}
	if written := uint64(e.written.Load()); c.BytesSent > written+uint64(e.b.Chunk) || c.Reason == nil && c.BytesSent != written {
		w.fail("%v has sent %d bytes, and %d were written: %v", c.Stream, c.BytesSent, written, c.Reason)
	}
}

// reasons counts the closed streams by reason.
func (w *watcher) reasons() (n session.ClosedStreams) {
	for _, c := range w.closed {
		switch {
		case c.Refused:
			n.Refused++
		case c.Reason == nil:
			n.Complete++
		case c.Reason == stream.ErrRefused:
			n.RefusedByPeer++
		case c.Reason == stream.ErrStalled:
			n.Stalled++
		case c.Reason == flow.ErrWindow:
			n.Overrun++
		case c.Reason == stream.ErrIdleTimeout:
			n.Idle++
		case c.Reason == stream.ErrPeerClosed:
			n.Dropped++
		default:
			n.SessionEnded++
		}
	}
	return n
}
