package session

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// In this file, a Dialer chooses a session for each stream, and retires sessions.

// A pooled is a session of a Dialer's pool:
//
//	in Dialer.sessions --retire--> in Dialer.retired --(the session has ended)--> forgotten
//
// Its goroutine, Dialer.watch, does the second step, and notices most reasons for the first.
type pooled struct {
	s        *Session
	begun    time.Time
	expires  time.Time     // because of MaxAge; zero: never
	retiring chan struct{} // closed by retire
	// drainedEarly says that the peer drained before the session had worked. Whether that counts as a dial that has failed
	// is known when its streams have ended. Dialer.mu guards it.
	drainedEarly bool
}

// earlyEnd is how long a session must live to count as one that has worked, if its peer has used no stream.
const earlyEnd = time.Second

// worked reports whether the session shows that dialing works: the peer has opened a stream, or sent data or a window
// update. Signals and refusals do not count, because a server that rejects the session sends them, too.
func (p *pooled) worked() bool {
	x := &p.s.stats
	n, frames := x.bytesReceived.Load(), x.framesReceived.Load()
	hasPayload := frames > 0 && n > frames*wire.HeaderSize // without frames, n is that of another protocol
	return x.streamsAccepted.Load() > 0 || hasPayload || !p.s.ended() && time.Since(p.begun) >= earlyEnd
}

// endedEarly reports whether the session, which has not worked, has ended as if dialing had failed.
func (p *pooled) endedEarly() bool {
	if !p.s.ended() || time.Since(p.begun) >= earlyEnd {
		return false
	}
	err := p.s.Err()
	return !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrIdleTimeout)
}

// A choice is the session that choose has found.
type choice struct {
	s *Session
	// opened is the stream that was opened on it. It is nil if none was asked for, or if a call of OpenStream on s
	// has to wait.
	opened *sessionStream
}

// choose returns the session with the fewest streams, and opens one on it if open is set. It waits for a session.
func (d *Dialer) choose(ctx context.Context, open bool) (choice, error) {
	if err := d.begin(); err != nil {
		return choice{}, err
	}
	var timeout <-chan time.Time
	w := wanted{stream: open}
	for {
		if err := ctx.Err(); err != nil {
			return choice{}, d.failed(err)
		}
		c, changed, err := d.tryChoose(&w)
		if changed == nil {
			return c, err
		}
		if timeout == nil {
			timer := time.NewTimer(d.set.waitTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err = d.failed(ctx.Err())
		case <-timeout:
			err = d.failed(ErrNoSession)
		}
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
		if err != nil {
			return choice{}, err
		}
	}
}

// tryChoose is choose for a caller that cannot wait. If changed is not nil, the caller has to wait until it is
// closed, and counts as waiting. Otherwise c or err is the result.
func (d *Dialer) tryChoose(w *wanted) (c choice, changed <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return choice{}, nil, err
	}
	for {
		best, hasRoom := d.fewest()
		mayDial := !hasRoom && len(d.sessions) < d.set.maxSessions
		if mayDial && d.dialing.state == dialNone {
			d.startDial()
		}
		switch {
		case best == nil && d.FailFast && w.hasFailed(&d.dialing):
			return choice{}, nil, dialerError(d.dialing.err)
		case best == nil, mayDial && d.dialing.state == dialRunning:
			return choice{}, d.wait(), nil
		case !w.stream:
			return choice{s: best.s}, nil, nil
		}
		if st, err := best.s.tryOpen(); err == nil {
			return choice{best.s, st}, nil, nil
		}
		// It has ended since.
	}
}

// A wanted is what a call of choose wants.
type wanted struct {
	stream bool // and not a session alone
	// begun says that failures has been set, to that of the Dialer when the call began.
	begun    bool
	failures uint64
}

// hasFailed reports whether a call must fail fast: a dial has failed since it began, or the pause after one
// is not over. If another dial has succeeded since, its session has gone already, and there is no error: then the call
// waits for the next dial. The caller holds d.mu.
func (w *wanted) hasFailed(x *dialing) bool {
	if !w.begun {
		w.begun, w.failures = true, x.total
	}
	return x.err != nil && (x.state == dialPaused || x.total > w.failures)
}

// wait returns a channel that is closed when calls have to look again. The caller holds d.mu.
func (d *Dialer) wait() <-chan struct{} {
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	d.waiting++
	return d.changed
}

// wake wakes all calls that wait. The caller holds d.mu.
func (d *Dialer) wake() {
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// begin checks the fields of d at its first use.
func (d *Dialer) begin() error {
	if d.currentPhase() != dialerNew {
		return nil
	}
	if err := d.Validate(); err != nil { // without the lock, because it may call a policy of the application
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == dialerNew {
		d.set = d.settings()
		d.retired = make(map[*pooled]struct{})
		d.phase = dialerOpen
	}
	return nil
}

func (d *Dialer) currentPhase() dialerPhase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phase
}

// ready returns nil if d may open streams. begin has returned nil. The caller holds d.mu.
func (d *Dialer) ready() error {
	switch d.phase {
	case dialerNew, dialerOpen:
	case dialerShutdown:
		return dialerError(ErrShutdown)
	case dialerClosed:
		return dialerError(net.ErrClosed)
	}
	return nil
}

// fewest returns the session with the fewest streams, and whether it has room for one more. Sessions whose transport
// does not take the SYNs of their streams count as full, and are returned only if there is no other. It retires those
// that take no streams. The caller holds d.mu.
func (d *Dialer) fewest() (best *pooled, hasRoom bool) {
	var least openState
	for _, p := range slices.Backward(d.sessions) { // backward, because retire takes p out
		state, err := p.s.openState()
		if err != nil || !p.expires.IsZero() && !time.Now().Before(p.expires) {
			d.retire(p)
			continue
		}
		if best == nil || !least.before(state) {
			best, least = p, state
		}
	}
	return best, best != nil && !least.blocked && least.streams < d.set.streamsPerSession
}

// retire stops using a session, which its goroutine then shuts down. The caller holds d.mu.
func (d *Dialer) retire(p *pooled) {
	i := slices.Index(d.sessions, p)
	if i < 0 {
		return // it is retired already
	}
	d.sessions = slices.Delete(d.sessions, i, i+1)
	d.retired[p] = struct{}{}
	d.counts.retired++
	close(p.retiring)
	switch {
	case p.worked():
		d.dialing.noteWorked(p)
	case p.endedEarly():
		d.dialFailed(p.s.Err())
	case p.s.isPeerDraining() && time.Since(p.begun) < earlyEnd:
		p.drainedEarly = true
		if p.s.NumStreams() == 0 {
			d.settleEarly(p)
		}
	}
}

// settleEarly decides whether a session whose peer drained early counts as a dial that has failed. Its streams have
// ended. The caller holds d.mu.
func (d *Dialer) settleEarly(p *pooled) {
	if !p.drainedEarly {
		return
	}
	p.drainedEarly = false
	if p.worked() {
		d.dialing.noteWorked(p)
	} else {
		d.dialFailed(ErrPeerShutdown)
	}
}

// watch is the goroutine of a session in the pool. It retires the session when that is due, shuts it down, and forgets it
// when it has ended.
func (d *Dialer) watch(p *pooled) {
	// If the peer answers, the keep-alive knows that its silence says something, also if the peer hangs soon.
	if p.s.pinger().begin() {
		p.s.out.sendOwn(ownPing)
	}
	var expired <-chan time.Time
	if !p.expires.IsZero() {
		timer := time.NewTimer(time.Until(p.expires))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-p.s.Done():
	case <-p.s.Draining():
	case <-expired:
	case <-p.retiring:
	}
	d.mu.Lock()
	d.retire(p)
	d.mu.Unlock()
	defer d.forget(p) // deferred, because a function of Config.Trace may end this goroutine
	p.s.awaitPeerShutdown(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.settleEarly(p)
	})
	_ = p.s.Shutdown(context.Background()) // its error is for nobody: the calls on the streams have theirs
}

// forget forgets a session that has ended.
func (d *Dialer) forget(p *pooled) {
	stats := p.s.Stats()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settleEarly(p)
	delete(d.retired, p)
	d.counts.ended.addCounters(stats)
}

// awaitPeerShutdown returns at once, unless the peer drains. Then it waits until no stream is open, and for up to
// CloseTimeout until the peer has closed the session: if both sides close at the same time, the slower one may not
// learn that its data has arrived. It calls empty between the two.
func (s *Session) awaitPeerShutdown(empty func()) {
	yields := false
	s.awaitDrained(nil, func() bool {
		yields = s.peerDraining && s.phase < phaseClosing
		return yields && len(s.streams) > 0
	})
	if yields {
		empty()
		sleep(s.closeTimeout, s.done)
	}
}

func (s *Session) isPeerDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peerDraining
}

// An openState says how well a session can take one more stream.
type openState struct {
	blocked bool // OpenStream would wait
	streams int  // that are open
}

// before reports whether a stream should rather be opened on a session with state x than on one with state y.
func (x openState) before(y openState) bool {
	if x.blocked != y.blocked {
		return !x.blocked
	}
	return x.streams < y.streams
}

// openState returns the state of s, or an error if s takes no more streams.
func (s *Session) openState() (openState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openErr(); err != nil {
		return openState{}, err
	}
	return openState{s.openWaits(), len(s.streams)}, nil
}

// tryOpen opens a stream without waiting. It returns nil if OpenStream would wait, and an error if s takes no more
// streams. The caller has to start the stream, as OpenStream does.
func (s *Session) tryOpen() (*sessionStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open()
}

// dialerError returns err in a *net.OpError.
func dialerError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	return &net.OpError{Op: "dial", Net: "smux", Err: err}
}

// failed returns the error of a call that stops waiting because of cause.
func (d *Dialer) failed(cause error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dialing.err == nil {
		return dialerError(cause)
	}
	return &net.OpError{Op: "dial", Net: "smux", Err: waitError{cause, d.dialing.err}}
}

// A waitError is why a call has stopped waiting, and why there was no session.
type waitError struct{ cause, dial error }

func (e waitError) Error() string {
	return e.cause.Error() + "; the last dial failed: " + e.dial.Error()
}

func (e waitError) Unwrap() []error { return []error{e.cause, e.dial} }

func (e waitError) Timeout() bool {
	t, ok := e.cause.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
