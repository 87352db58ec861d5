package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// In this file, a Dialer dials a session.

// A dialing is the one dial of a Dialer, and the pause after it. The lock of the Dialer guards it.
type dialing struct {
	state    dialState
	cancel   context.CancelFunc // ends the dial that is under way
	timer    *time.Timer        // of dialRunning or dialPaused
	err      error              // why the last dial has failed; nil if it has not
	failures int                // in a row
	total    uint64             // of all failures
	failedAt time.Time          // when the last one was
}

// A dialState says what a Dialer does to get another session:
//
//	dialNone --(a call finds no room)--> dialRunning --(a second has passed)--> dialSlow
//	dialNone --(the same, after a failed dial)--------------------------------> dialSlow
//	dialRunning, dialSlow --(there is a session)--> dialNone
//	dialRunning, dialSlow --(it has failed)--> dialPaused --(the pause is over)--> dialNone
//	dialNone --(a session has ended early)--> dialPaused
//
// The difference between the second and the third matters to calls which have a session that is full: they wait for a
// dial that is running, but not for one that is slow.
type dialState uint8

const (
	dialNone dialState = iota
	dialRunning
	dialSlow
	dialPaused
)

// slowDial is how long calls that have a session wait for another.
const slowDial = time.Second

// startDial starts a dial. The caller holds d.mu.
func (d *Dialer) startDial() {
	for _, p := range d.sessions {
		if p.worked() {
			d.dialing.noteWorked(p)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.set.dialTimeout)
	x := &d.dialing
	x.state, x.cancel = dialRunning, cancel
	if x.failures > 0 {
		x.state = dialSlow
	} else {
		d.afterPause(slowDial, func() {
			x.state = dialSlow
			d.wakeThoseWithASession()
		})
	}
	d.counts.dials++
	go d.runDial(ctx, cancel)
}

// afterPause calls f with d.mu held when pause has passed, unless the timer is stopped. The caller holds d.mu.
func (d *Dialer) afterPause(pause time.Duration, f func()) {
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dialing.timer == timer { // it was not stopped when it was about to run
			d.dialing.timer = nil
			f()
		}
	})
	d.dialing.timer = timer
}

// runDial is the goroutine of a dial.
func (d *Dialer) runDial(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	var s *Session
	err := errGone // if a callback ends this goroutine
	defer func() { d.endDial(s, err) }()
	s, err = d.dialSession(ctx)
}

// endDial handles the result of a dial. s is nil if err is not.
func (d *Dialer) endDial(s *Session, err error) {
	if err == nil {
		if _, err = s.openState(); err != nil { // OnSession may have closed it, and the peer may drain already
			err = fmt.Errorf("session: the new session takes no streams: %w", err)
			d.reject(s)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialing.stopTimer()
	d.dialing.cancel = nil
	d.dialing.state = dialNone
	switch {
	case d.phase != dialerOpen:
		if err == nil { // the Dialer was closed meanwhile
			d.reject(s)
		}
	case err != nil:
		d.counts.dialErrors++
		d.dialFailed(err)
	default:
		d.dialing.err = nil
		delete(d.outside, s)
		d.add(s)
		d.wake()
	}
}

// dialSession dials a transport, starts a session over it, and calls OnSession.
func (d *Dialer) dialSession(ctx context.Context) (*Session, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s, err := startOwned(conn, func() (*Session, error) { return Client(conn, d.Config) })
	if err != nil {
		return nil, err
	}
	d.hold(s)
	if err := introduce(ctx, s, d.OnSession, d.reject); err != nil {
		return nil, err
	}
	return s, nil
}

// startOwned starts a session over conn, which belongs to it: unless start returns a session, startOwned closes conn. conn
// may be nil.
func startOwned(conn io.Closer, start func() (*Session, error)) (s *Session, err error) {
	defer func() {
		if s == nil && conn != nil && !isNil(conn) {
			_ = conn.Close()
		}
	}()
	return start()
}

// introduce calls onSession, unless that is nil. If ctx ends meanwhile, it closes s as CloseNow does. If onSession fails,
// does not return, or returns too late, introduce calls reject, and returns the reason.
func introduce(ctx context.Context, s *Session, onSession func(context.Context, *Session) error, reject func(*Session)) error {
	if onSession == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = s.CloseNow() })
	err := errGone
	defer func() {
		if err != nil {
			stop()
			reject(s)
		}
	}()
	err = onSession(ctx, s)
	switch {
	case stop():
	case err == nil || errors.Is(err, ctx.Err()):
		err = ctx.Err()
	default:
		err = fmt.Errorf("%w: %w", ctx.Err(), err) // err may come from the end of the session
	}
	return err
}

// hold notes that s exists, and is not in the pool. Close and Shutdown end it, too.
func (d *Dialer) hold(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outside == nil {
		d.outside = make(map[*Session]struct{})
	}
	d.outside[s] = struct{}{}
}

// reject closes a session that does not get into the pool, without waiting for that. What OnSession has written is sent,
// because it may tell the peer why.
func (d *Dialer) reject(s *Session) {
	go func() {
		defer d.release(s)
		_ = s.Close()
	}()
}

// release undoes hold.
func (d *Dialer) release(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.outside, s)
}

// add adds a session to the pool. The caller holds d.mu.
func (d *Dialer) add(s *Session) {
	p := &pooled{s: s, begun: time.Now(), retiring: make(chan struct{})}
	if d.set.maxAge > 0 {
		p.expires = p.begun.Add(d.set.maxAge - rand.N(d.set.maxAge/10+1))
	}
	d.sessions = append(d.sessions, p)
	go d.watch(p)
}

// dialFailed notes that a dial has failed, or a session that was dialed has ended early, and pauses. The caller holds
// d.mu.
func (d *Dialer) dialFailed(err error) {
	x := &d.dialing
	x.err = err
	x.failures++
	x.total++
	x.failedAt = time.Now()
	if x.state != dialNone || d.phase != dialerOpen {
		return
	}
	x.state = dialPaused
	d.afterPause(d.set.backoff(x.failures), func() {
		x.state = dialNone
		if d.waiting > 0 {
			d.startDial()
		}
	})
	if d.FailFast {
		d.wake()
	}
	d.wakeThoseWithASession()
}

// wakeThoseWithASession wakes the calls that need not wait any longer, because there is a session. Others go on
// waiting: there may be many, and a place that is down for long shall cost nothing. The caller holds d.mu.
func (d *Dialer) wakeThoseWithASession() {
	if len(d.sessions) > 0 {
		d.wake()
	}
}

// backoff returns the pause after this number of failures in a row.
func (set *dialerSettings) backoff(failures int) time.Duration {
	pause := set.minBackoff
	for range failures - 1 {
		if pause >= set.maxBackoff/2 {
			pause = set.maxBackoff
			break
		}
		pause *= 2
	}
	return pause - rand.N(pause/2+1)
}

// noteWorked notes that a session has worked: the next pause is short again, if no dial has failed since the session
// was dialed.
func (x *dialing) noteWorked(p *pooled) {
	if p.begun.After(x.failedAt) {
		x.failures = 0
	}
}

func (x *dialing) stopTimer() {
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
}
