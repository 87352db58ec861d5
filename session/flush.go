package session

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// In this file, the session tells Stream.Flush what has reached the peer. There are three steps:
//
//  1. The stream's last byte is in a batch. The transport takes that batch: handOver.
//  2. The peer's host has acknowledged the bytes up to the end of that batch, if the transport knows: awaitAcknowledged.
//  3. If the transport does not, the peer's session has read them, if it answers: awaitEcho.

// flushes is what calls of Stream.Flush wait for. A session has none before the first call. It gets one at its end if the
// transport knows what the peer's host has acknowledged.
type flushes struct {
	handover *handover     // the next one; the writer's mu guards it
	looked   chan struct{} // closed when look has asked for the last time

	mu           sync.Mutex // guards the fields below; no other lock is taken under it
	acknowledged uint64     // by the peer's host, in bytes of the session, when look last asked
	waiting      []*ackWait
	polling      bool // a goroutine runs poll
}

// A handover is the moment when the transport has taken everything that is in batches.
type handover struct {
	done   chan struct{} // closed at that moment
	offset uint64        // how many bytes the transport has taken then
	lost   error         // why some of it will not be sent, or nil
}

// An ackWait is a wait for the peer's host.
type ackWait struct {
	offset uint64        // bytes of the session's that it must have acknowledged
	done   chan struct{} // closed when it has
}

// A closeResult is what Close says of the data that was written:
//
//	closeNone --Close--> closePending --> closeFlushed or closeNotFlushed
type closeResult uint8

const (
	closeNone       closeResult = iota // Close was not called, or CloseNow has ended the session before
	closePending                       // Close delivers it
	closeFlushed                       // it was delivered
	closeNotFlushed                    // Close returns ErrNotFlushed
)

// setCloseResult says whether Close has delivered everything.
func (s *Session) setCloseResult(flushed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeResult = closeNotFlushed
	if flushed {
		s.closeResult = closeFlushed
	}
	s.opening.broadcast()
}

const (
	// While Flush waits for the peer's host, the session asks the kernel again after a pause, which begins with
	// minDeliveryPause and doubles up to maxDeliveryPause.
	minDeliveryPause = 50 * time.Microsecond
	maxDeliveryPause = 5 * time.Millisecond
	// lookGrace is how long lookLast waits for the writer. If a write waits for room in the socket, that is in vain.
	lookGrace = 10 * time.Millisecond
)

var _ stream.Deliverer = (*sessionStream)(nil)

// AwaitDelivery is for [stream.Stream.Flush], which says how it knows.
func (st *sessionStream) AwaitDelivery(ctx context.Context) error { return st.s.awaitDelivered(ctx) }

// awaitDelivered waits until everything that is in batches now has reached the peer.
func (s *Session) awaitDelivered(ctx context.Context) error {
	_, known := s.transport.unacknowledged()
	ended := s.done
	if known {
		ended = nil // closing a socket ends a Write that waits
	}
	d := s.ensureFlushes()
	h := s.out.handOver(d)
	select {
	case <-h.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-ended: // the transport's Write may never return
		return s.flushErr(ctx, nil)
	}
	switch {
	case h.lost != nil:
		return s.flushErr(ctx, h.lost)
	case known:
		return s.awaitAcknowledged(ctx, d, h.offset)
	}
	return s.awaitEcho(ctx)
}

// ensureFlushes returns the session's flushes.
func (s *Session) ensureFlushes() *flushes {
	if d := s.flushes.Load(); d != nil {
		return d
	}
	s.flushes.CompareAndSwap(nil, &flushes{looked: make(chan struct{})})
	return s.flushes.Load()
}

// flushErr returns nil if Close has delivered everything, and otherwise why the session has ended, or sends no more. If
// it has not noted that yet, the reason is lost. A Close that is under way may take CloseTimeout to find out: flushErr
// waits for it until ctx ends, and then returns ctx's error.
func (s *Session) flushErr(ctx context.Context, lost error) error {
	var result error
	known := func() bool {
		result = s.flushResult(lost)
		return s.closeResult != closePending
	}
	s.mu.Lock()
	ok := known()
	s.mu.Unlock()
	if ok {
		return result
	}
	if err := s.await(ctx, &s.opening, known); err != nil {
		return err
	}
	return result
}

// flushResult is flushErr once Close is not under way. The caller holds s.mu.
func (s *Session) flushResult(lost error) error {
	err := lost
	switch {
	case s.closeResult == closeFlushed:
		return nil
	case s.writeErr != nil:
		err = s.writeErr
	case s.err != nil:
		err = s.err
	}
	if isEOF(err) {
		return s.explain(io.ErrUnexpectedEOF) // io.EOF would look like the end of a stream
	}
	return err
}

// handOver returns the next handover. It is done at once if everything that is in batches was written.
func (w *writer) handOver(d *flushes) *handover {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.handover == nil {
		d.handover = &handover{done: make(chan struct{})}
	}
	h := d.handover
	if w.role != roleHeld {
		w.settleHandover()
	}
	return h
}

// settleHandover says that the transport has taken everything that was in batches, or, if writing has failed, will not
// take the rest. The caller holds w.mu.
func (w *writer) settleHandover() {
	d := w.s.flushes.Load()
	if d == nil || d.handover == nil {
		return
	}
	h := d.handover
	d.handover = nil
	h.offset = w.s.stats.bytesSent.Load()
	if w.lost {
		h.lost = w.err
	}
	close(h.done)
}

// awaitAcknowledged waits until the peer's host has acknowledged the session's bytes up to offset. It also pings: a host
// that has nothing to send may delay its acknowledgement by 40 ms, and the answer to a ping carries it at once.
func (s *Session) awaitAcknowledged(ctx context.Context, d *flushes, offset uint64) error {
	if s.acknowledged() >= offset {
		return nil
	}
	w := d.wait(s, offset)
	var echoed <-chan struct{}
	if !s.closing() {
		echoed = s.ask().echoed
	}
	select {
	case <-w.done:
		return nil
	case <-echoed:
		d.forget(w)
		return nil
	case <-ctx.Done():
		d.forget(w)
		return ctx.Err()
	case <-d.looked:
	}
	select {
	case <-w.done:
		return nil
	default:
		return s.flushErr(ctx, nil)
	}
}

// lookLast asks what the peer's host has acknowledged before the socket is closed, also for calls of Flush that come
// later: a peer may close the session as soon as it has read the end of a stream. waits says that a Flush may need what is
// being written: this side has not closed the session.
func (s *Session) lookLast(waits bool) {
	if _, known := s.transport.unacknowledged(); !known {
		return
	}
	if freed, idle := s.out.idle(); !idle && waits {
		// A write may have returned, and its bytes are not counted yet.
		sleep(lookGrace, freed)
	}
	d := s.ensureFlushes()
	d.look(s)
	close(d.looked)
}

// acknowledged returns how many of the session's bytes the peer's host has acknowledged for certain. It may be a few less
// than that while the session writes, and if TLS is between them: TLS makes what it carries longer, never shorter.
func (s *Session) acknowledged() uint64 {
	sent := s.stats.bytesSent.Load() // first: what is sent meanwhile then counts as not acknowledged
	left, _ := s.transport.unacknowledged()
	return sent - min(sent, uint64(left))
}

// wait adds an ackWait, and makes sure that a goroutine polls for it.
func (d *flushes) wait(s *Session, offset uint64) *ackWait {
	w := &ackWait{offset, make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.acknowledged >= offset { // also after the end of the session
		close(w.done)
		return w
	}
	d.waiting = append(d.waiting, w)
	if !d.polling {
		d.polling = true
		go d.poll(s)
	}
	return w
}

// forget removes w.
func (d *flushes) forget(w *ackWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = slices.DeleteFunc(d.waiting, func(other *ackWait) bool { return other == w })
}

// poll asks the kernel until nobody waits any more. All calls of Flush share this goroutine.
func (d *flushes) poll(s *Session) {
	for pause := minDeliveryPause; ; pause = min(2*pause, maxDeliveryPause) {
		up := sleep(pause, s.done)
		d.look(s)
		if !up || d.idle() {
			return
		}
	}
}

// look asks the kernel, and ends the waits that are over.
func (d *flushes) look(s *Session) {
	acknowledged := s.acknowledged()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acknowledged = max(d.acknowledged, acknowledged)
	d.waiting = slices.DeleteFunc(d.waiting, func(w *ackWait) bool {
		if w.offset > d.acknowledged {
			return false
		}
		close(w.done)
		return true
	})
}

// idle reports whether nobody waits. Then poll ends, and the next wait starts it again.
func (d *flushes) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.polling = len(d.waiting) > 0
	return !d.polling
}

// awaitEcho waits until the peer's session has answered a ping that follows everything in batches. A peer that has never
// answered gets closeTimeout for its first answer: it may be of another implementation, which never does.
func (s *Session) awaitEcho(ctx context.Context) error {
	if s.closing() {
		return s.awaitClose(ctx) // the peer's answers are dropped
	}
	round := s.ask()
	for begun := s.now(); ; {
		left, limited := s.echoPatience(begun)
		var tooLong <-chan time.Time
		if limited {
			if left <= 0 {
				return nil
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			tooLong = timer.C
		}
		select {
		case <-round.echoed:
			return nil
		case <-tooLong:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return s.flushErr(ctx, nil)
		}
	}
}

// awaitClose waits for the end of a Close that is under way.
func (s *Session) awaitClose(ctx context.Context) error {
	select {
	case <-s.done:
		return s.flushErr(ctx, nil)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// echoPatience returns how long a Flush that began to wait then still waits for an answer, if that is limited. Over a
// transport whose end may throw data away, the data gets the time to arrive that Close would give it.
func (s *Session) echoPatience(begun time.Duration) (left time.Duration, limited bool) {
	now := s.now()
	left, limited = s.pinger().patience(now, s.closeTimeout)
	if d := s.delivery(); limited && d != nil {
		wait, _ := d.wait()
		left = max(left, begun+wait-now)
	}
	return left, limited
}

// patience returns how long to wait for the answer to the ping that is due or on its way, unless the peer has answered one
// before: then limited is false.
func (p *pinger) patience(now, most time.Duration) (left time.Duration, limited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastEcho > 0 {
		return 0, false
	}
	if sent := p.sentAt.Load(); sent != 0 {
		return most - (now - time.Duration(sent-1)), true
	}
	return most, true
}
