package session

import (
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A tracer calls the functions of a session's Trace. The events come from goroutines that hold locks or the writer role,
// so they go to a queue. One goroutine at a time empties the queue and calls the functions: one that was started for
// that, or one that holds nothing and has an event itself.
//
//	idle --(add)--> running: a goroutine was started
//	idle --(flush)--> running: the caller, for maxCalled events at most
//	running: the caller --(maxCalled events)--> running: a goroutine was started
//	running --(the queue is empty)--> idle
//
// The queue is bounded: at maxTraced events, the reader and the writer pause, and so nothing that the peer does adds to
// it. Beyond that, the application's own calls add a few events for each open stream, and the end of the session one.
//
// A nil tracer does nothing.
type tracer struct {
	s     *Session
	hooks Trace

	// mu guards the fields below. No other lock is taken while it is held.
	mu        sync.Mutex
	queue     []traced // queue[head:] waits
	head      int
	running   bool
	unbounded bool                             // the session is closing: nothing pauses any more
	over      bool                             // SessionEnd was added: no event follows, except for late ones
	room      chan struct{}                    // if not nil, closed when the queue has room
	opened    map[*sessionStream]time.Duration // when the open streams were opened; only for StreamClosed
}

const (
	// maxTraced is how many events wait before the session pauses.
	maxTraced = 1024
	// maxCalled is how many events a call of the application deals with, those of others included.
	maxCalled = 32
	// spareTraced is how many events the memory of an empty queue holds at most.
	spareTraced = 32
)

// traced is an event: a call of a function, or a frame if call is nil.
type traced struct {
	call   func()
	header wire.Header
	way    Direction
	late   bool // it may come after SessionEnd
}

// newTracer returns nil if there is nothing to call.
func newTracer(s *Session, trace *Trace) *tracer {
	if trace == nil {
		return nil
	}
	return &tracer{s: s, hooks: *trace, opened: make(map[*sessionStream]time.Duration)}
}

// add adds an event. The caller may hold locks and the writer role.
func (t *tracer) add(e traced) {
	t.push(e)
	t.kick()
}

// kick has a goroutine call the functions of the events that were pushed. The caller may hold locks and the writer role.
func (t *tracer) kick() {
	if t != nil && t.mustRun() {
		go t.run(0)
	}
}

// event adds an event. The goroutine of its caller has more to do, so f is never called there: f may end the goroutine.
func (t *tracer) event(f func()) { t.add(traced{call: f}) }

// flush calls the functions of the events that were pushed, if no other goroutine is calling one. The caller holds no
// lock.
func (t *tracer) flush() {
	if t != nil && t.mustRun() {
		t.run(maxCalled)
	}
}

// push adds e to the queue. The caller calls kick next, or flush when it holds no lock any more.
func (t *tracer) push(e traced) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over && !e.late {
		return
	}
	if t.head > 0 && len(t.queue) == cap(t.queue) {
		n := copy(t.queue, t.queue[t.head:])
		clear(t.queue[n:])
		t.queue, t.head = t.queue[:n], 0
	}
	t.queue = append(t.queue, e)
}

// mustRun reports whether the caller has to run, because there are events and nobody else does.
func (t *tracer) mustRun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running || t.waiting() == 0 {
		return false
	}
	t.running = true
	return true
}

// run calls the functions until the queue is empty. If limit is not 0, it leaves the rest to a goroutine after that many.
func (t *tracer) run(limit int) {
	returned := false
	defer func() {
		if !returned { // a function has panicked
			go t.run(0)
		}
	}()
	for n := 0; ; n++ {
		if limit > 0 && n == limit {
			go t.run(0)
			break
		}
		e, ok := t.next()
		if !ok {
			break
		}
		if e.call != nil {
			e.call()
		} else {
			t.hooks.Frame(t.s, e.way, e.header)
		}
	}
	returned = true
}

// next takes the next event from the queue. If there is none, run ends.
func (t *tracer) next() (e traced, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == len(t.queue) {
		if t.queue, t.head = t.queue[:0], 0; cap(t.queue) > spareTraced {
			t.queue = nil
		}
		t.running = false
		return traced{}, false
	}
	e, t.queue[t.head] = t.queue[t.head], traced{}
	t.head++
	if t.room != nil && t.waiting() <= maxTraced/2 {
		close(t.room)
		t.room = nil
	}
	return e, true
}

// waiting returns how many events wait. The caller holds t.mu.
func (t *tracer) waiting() int { return len(t.queue) - t.head }

// full reports whether the session should pause.
func (t *tracer) full() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting() >= maxTraced && !t.unbounded
}

// awaitRoom waits until the queue has room, or done is closed.
func (t *tracer) awaitRoom(done <-chan struct{}) {
	if !t.full() {
		return
	}
	select {
	case <-t.untilRoom():
	case <-done:
	}
}

// untilRoom returns a channel that is closed when the queue has room.
func (t *tracer) untilRoom() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := t.room
	if room == nil {
		room = make(chan struct{})
		t.room = room
	}
	if t.unbounded || t.waiting() <= maxTraced/2 {
		close(room)
		t.room = nil
	}
	return room
}

// unbound ends all pauses, because the session is closing. The function that is running may have called Close.
func (t *tracer) unbound() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unbounded = true
	if t.room != nil {
		close(t.room)
		t.room = nil
	}
}

// The methods below make the events.

func (t *tracer) sessionBegin() {
	if t != nil && t.hooks.SessionBegin != nil {
		t.hooks.SessionBegin(t.s) // nothing else has happened yet
	}
}

func (t *tracer) sessionEnd(reason error) {
	if t == nil {
		return
	}
	if t.hooks.SessionEnd != nil {
		t.push(traced{call: func() { t.hooks.SessionEnd(t.s, reason) }})
	}
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	if t.mustRun() {
		t.run(0) // all, so that a program which exits after Close has got them
	}
}

// streamBegins notes the time at which a stream was opened, by either side.
func (t *tracer) streamBegins(st *sessionStream) {
	if t == nil || t.hooks.StreamClosed == nil {
		return
	}
	now := t.s.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened[st] = now
}

// pushOpened, pushAccepted and pushClosed push an event. Their caller holds Session.mu, so that a stream's events are in
// order.

func (t *tracer) pushOpened(st *sessionStream) {
	if t != nil && t.hooks.StreamOpened != nil {
		t.push(traced{call: func() { t.hooks.StreamOpened(t.s, st.core.Stream()) }})
	}
}

func (t *tracer) pushAccepted(st *sessionStream) {
	if t != nil && t.hooks.StreamAccepted != nil {
		t.push(traced{call: func() { t.hooks.StreamAccepted(t.s, st.core.Stream()) }, late: true})
	}
}

func (t *tracer) streamRefused(id uint32, cause RefusalCause) {
	if t != nil && t.hooks.StreamRefused != nil {
		r := Refusal{StreamID: id, Cause: cause}
		t.add(traced{call: func() { t.hooks.StreamRefused(t.s, r) }})
	}
}

func (t *tracer) pushClosed(st *sessionStream) {
	if t == nil || t.hooks.StreamClosed == nil {
		return
	}
	end := StreamEnd{
		Stream:  st.core.Stream(),
		Reason:  st.core.OutcomeErr(),
		Refused: st.core.Outcome() == stream.OutcomeRefused,
	}
	end.BytesSent, end.BytesReceived = st.core.Bytes()
	now := t.s.now()
	t.mu.Lock()
	end.Duration = now - t.opened[st]
	delete(t.opened, st)
	t.mu.Unlock()
	t.push(traced{call: func() { t.hooks.StreamClosed(t.s, end) }})
}

func (t *tracer) streamStalled(st *sessionStream, unread int) {
	if t != nil && t.hooks.StreamStalled != nil {
		t.event(func() { t.hooks.StreamStalled(t.s, st.core.Stream(), unread) })
	}
}

func (t *tracer) dataDropped(streams int) {
	if t != nil && t.hooks.DataDropped != nil {
		t.event(func() { t.hooks.DataDropped(t.s, streams) })
	}
}

// readPaused says that the reader pauses. The reader calls the function that it returns when it goes on.
func (t *tracer) readPaused(why Pause) (resumed func()) {
	if t == nil || t.hooks.ReadPaused == nil && t.hooks.ReadResumed == nil {
		return func() {}
	}
	if t.hooks.ReadPaused != nil {
		t.add(traced{call: func() { t.hooks.ReadPaused(t.s, why) }})
	}
	since := t.s.now()
	return func() {
		if t.hooks.ReadResumed == nil {
			return
		}
		after := t.s.now() - since
		t.add(traced{call: func() { t.hooks.ReadResumed(t.s, why, after) }})
	}
}

func (t *tracer) keepAliveProbe(silent time.Duration) {
	if t != nil && t.hooks.KeepAliveProbe != nil {
		t.event(func() { t.hooks.KeepAliveProbe(t.s, silent) })
	}
}

func (t *tracer) keepAliveGiveUp(silent time.Duration) {
	if t != nil && t.hooks.KeepAliveGiveUp != nil {
		t.event(func() { t.hooks.KeepAliveGiveUp(t.s, silent) })
	}
}

func (t *tracer) drainBegin() {
	if t != nil && t.hooks.DrainBegin != nil {
		t.event(func() { t.hooks.DrainBegin(t.s) })
	}
}

func (t *tracer) peerDraining() {
	if t != nil && t.hooks.PeerDraining != nil {
		t.add(traced{call: func() { t.hooks.PeerDraining(t.s) }})
	}
}

// frameReceived says that the reader handles a frame.
func (t *tracer) frameReceived(h wire.Header) {
	if t != nil && t.hooks.Frame != nil {
		t.add(traced{header: h, way: Received})
	}
}

// framesSent says that the frames of b are handed to the transport.
func (t *tracer) framesSent(b *wire.Batch) {
	if t == nil || t.hooks.Frame == nil {
		return
	}
	for h := range b.Headers() {
		t.add(traced{header: h, way: Sent})
	}
}
