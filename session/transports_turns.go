package session

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// In this file, the sessions of a Listener take turns, and end.

// A place is one transport of a Listener, among those that count against MaxSessions. Its session tells it what
// happens.
//
//	placeHandshake --(OnSession has returned nil)--> placeActive --(Accept will return no more of its streams)--> placeDone
//	placeHandshake --(it has failed, and the session that OnSession has rejected has ended)--> removed
//	placeActive, placeDone --(the session has ended, and no stream waits)--> removed
type place struct {
	l      *Listener
	ctx    context.Context // of the handshake
	cancel context.CancelFunc
	// release ends ctx, too, once nobody needs it any more.
	release func()

	rejected *Session // by OnSession; it belongs to the goroutine of the handshake

	// The fields below are guarded by l.mu.
	s      *Session // nil in placeHandshake
	late   bool     // in placeHandshake: ctx has ended, and a callback has not returned
	state  placeState
	inTurn bool // it is in l.turns
	ended  bool // the session has ended
}

// A placeState says what a place brings to Accept.
type placeState uint8

const (
	placeHandshake placeState = iota
	placeActive
	placeDone
)

// attach has the session tell p from now on when streams can be accepted, and when it ends.
func (s *Session) attach(p *place) {
	s.mu.Lock()
	s.ensureRare().place = p
	p.activate(s)
	if s.backlog.n > 0 || s.acceptStopped || s.phase >= phaseClosing {
		p.handleChange()
	}
	ended := s.phase == phaseEnded
	if ended {
		p.handleEnd(s.backlog.n > 0)
	}
	s.mu.Unlock()
	if ended {
		p.remove()
	}
}

// wakeAccepts wakes the calls that accept streams, because there will be none any more, or fewer than they expect. The
// caller holds s.mu.
func (s *Session) wakeAccepts() {
	s.accepting.broadcast()
	if p := s.place(); p != nil {
		p.handleChange()
	}
}

// place returns the place of a session that belongs to a Listener, and otherwise nil. The caller holds s.mu.
func (s *Session) place() *place {
	if s.rare == nil {
		return nil
	}
	return s.rare.place
}

// takeStream returns the first stream of the backlog, if there is one. more says that another call would return
// something, too. err says that there will be no more streams.
func (s *Session) takeStream() (st *sessionStream, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err = s.accept(); st == nil {
		return nil, false, err
	}
	return st, s.backlog.n > 0 || s.phase == phaseEnded || s.acceptStopped, nil
}

// activate ends the handshake.
func (p *place) activate(s *Session) {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	p.s, p.state = s, placeActive
	l.handshakes--
	l.active++
	l.room.Broadcast() // for Shutdown
}

// fail removes a place whose handshake has failed.
func (p *place) fail() {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handshakes--
	if p.late {
		l.late--
	}
	l.counts.failed++
	delete(l.places, p)
	l.room.Broadcast()    // for Shutdown, too
	l.waiting.Broadcast() // Accept may fail now
}

// setLate notes that a callback has not returned although its context has ended. Its transport is closed, and brings no
// streams any more, so nobody waits for it.
func (p *place) setLate() {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.places[p]; !ok || p.state != placeHandshake {
		return
	}
	p.late = true
	l.late++
	l.room.Broadcast()
	l.waiting.Broadcast()
}

// handleChange gives the session a turn: it has a stream that waits, or it may have no more streams. The session calls it
// with its lock held.
func (p *place) handleChange() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.takeTurn()
}

// takeTurn puts p at the end of the turns. The caller holds l.mu.
func (p *place) takeTurn() {
	if p.state == placeActive && !p.inTurn {
		p.inTurn = true
		p.l.turns = append(p.l.turns, p)
		p.l.waiting.Signal()
	}
}

// endTurn is called after a turn of p. more says that p needs another, done that it needs none any more.
func (p *place) endTurn(more, done bool) {
	p.l.mu.Lock()
	switch {
	case done:
		p.finish()
	case more:
		p.takeTurn()
	}
	p.l.mu.Unlock()
	if done {
		p.remove()
	}
}

// finish notes that Accept will return no more streams of p. The caller holds l.mu.
func (p *place) finish() {
	if p.state == placeActive {
		p.state = placeDone
		p.l.active--
		p.l.waiting.Broadcast() // Accept may fail now
	}
}

// remove removes p, so that another transport can be accepted, if the session has ended and no stream waits. The caller
// does not hold the session's lock.
func (p *place) remove() {
	stats := p.s.Stats()
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.places[p]; ok && p.ended && p.state == placeDone {
		delete(l.places, p)
		l.counts.ended.addCounters(stats)
		l.room.Signal()
	}
}

// handleEnd notes that the session has ended. waiting says that streams wait to be accepted. The session calls it with
// its lock held, and then remove without.
func (p *place) handleEnd(waiting bool) {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	p.ended = true
	if waiting {
		p.takeTurn()
		return
	}
	p.finish()
}

// nextTurn waits until it is the turn of a session.
func (l *Listener) nextTurn(ctx context.Context) (p *place, err error) {
	ctxErr := l.await(ctx, &l.waiting, func() bool {
		switch {
		case l.phase == listenerClosedNow:
			err = net.ErrClosed
		case len(l.turns) > 0:
			p = l.turns[0]
			p.inTurn = false
			l.turns[0] = nil
			l.turns = l.turns[1:]
		case l.phase == listenerClosed && l.handshakes-l.late+l.active == 0:
			err = l.err
		}
		return p != nil || err != nil
	})
	if ctxErr != nil {
		return nil, ctxErr
	}
	return p, err
}

// await waits until ready returns true, and then returns nil, or until ctx ends, and then returns its error. It calls
// ready with l.mu held, each time c is woken.
func (l *Listener) await(ctx context.Context, c *sync.Cond, ready func() bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var ended error // guarded by l.mu
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			err := ctx.Err()
			l.mu.Lock()
			defer l.mu.Unlock()
			ended = err
			c.Broadcast() // all: a Signal may have woken this call, which will not take the turn
		})
		defer stop()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ended == nil && !ready() {
		c.Wait()
	}
	return ended
}

// currentPhase returns the phase.
func (l *Listener) currentPhase() listenerPhase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

// Close stops accepting transports and streams, and nothing else: it closes the net.Listener, and drains each session as
// Close of a [Session.Listener] does. Streams that were accepted go on. Accept still returns the streams that peers
// have opened before they heard of it, and then fails with [net.ErrClosed]. Handshakes that are under way have
// Config.CloseTimeout to end; their sessions drain, too.
//
// The sessions go on. Use [Listener.Shutdown] to close them once their streams are closed, or [Listener.CloseNow].
// Close does not wait. It returns the error of closing the net.Listener; a second Close returns nil.
func (l *Listener) Close() error {
	if !l.stop(net.ErrClosed) || l.Listener == nil || isNil(l.Listener) {
		return nil
	}
	return l.Listener.Close()
}

// stop stops accepting transports, and drains the sessions. err is why Accept fails. It returns false if that was done
// before.
func (l *Listener) stop(err error) bool {
	l.mu.Lock()
	if l.phase >= listenerClosed {
		l.mu.Unlock()
		return false
	}
	if l.phase == listenerNew {
		l.init()
	}
	l.phase, l.err = listenerClosed, err
	close(l.stopping)
	l.waiting.Broadcast()
	l.room.Broadcast()
	if l.handshakes > 0 {
		config := l.Config.withDefaults()
		time.AfterFunc(config.CloseTimeout, l.cancelHandshakes)
	}
	sessions := l.listLocked()
	l.mu.Unlock()
	for _, s := range sessions {
		s.stopAccepting()
	}
	return true
}

// cancelHandshakes ends the handshakes that are under way.
func (l *Listener) cancelHandshakes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.places {
		if p.state == placeHandshake {
			p.cancel()
		}
	}
}

// Shutdown closes the Listener gracefully: after [Listener.Close], it shuts all sessions down at the same time, as
// [Session.Shutdown] does. Peers of this package open no more streams, streams that they have opened before
// can be accepted, and streams that are open go on. Shutdown returns when all streams are closed and all sessions
// have ended. So keep calling Accept meanwhile, as servers do: streams that nobody accepts for
// Config.CloseTimeout are refused.
//
// If ctx ends first, Shutdown returns its error, and the sessions go on until CloseNow. Otherwise it returns the
// errors of the sessions, joined. A nil ctx panics.
func (l *Listener) Shutdown(ctx context.Context) error {
	needContext(ctx)
	err := l.Close()
	shutdown := func(s *Session) error { return s.Shutdown(ctx) }
	first := l.list()
	err = errors.Join(err, endAll(first, shutdown))
	settled := func() bool { return l.handshakes == l.late || l.phase == listenerClosedNow }
	if werr := l.await(ctx, &l.room, settled); werr != nil {
		return l.opError("shutdown", werr)
	}
	return errors.Join(err, endAll(l.list(), shutdown))
}

// CloseNow ends everything at once: it closes the net.Listener and all sessions, as [Session.CloseNow] does, and
// gives up all handshakes. Accept fails with [net.ErrClosed]. CloseNow may be called at any time, also while Shutdown
// waits, and ends it. It returns the errors of closing the net.Listener and the transports, joined.
func (l *Listener) CloseNow() error {
	err := l.Close()
	l.mu.Lock()
	l.phase = listenerClosedNow
	l.waiting.Broadcast()
	l.room.Broadcast()
	l.mu.Unlock()
	l.cancelHandshakes()
	return errors.Join(err, endAll(l.list(), (*Session).CloseNow))
}

var _ net.Listener = (*Listener)(nil)
