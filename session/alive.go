package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// alive asks the keep-alive policy what to do, by a timer: an idle session needs no goroutine
// for it.
type alive struct {
	s *Session

	// When bytes were last sent and received, in nanoseconds since the session began.
	sent, received atomic.Int64

	mu      sync.Mutex // guards what follows
	paused  bool       // the transport is not read, as the budget is full
	resumed time.Duration
	due     time.Duration // when the policy is to be asked next
	timer   *time.Timer
	stopped bool
}

func (a *alive) start(s *Session) {
	a.s = s
	a.ask()
}

// ask asks the policy and does what it says. It runs once at the start and then by the timer, which
// it sets itself: so the policy is asked by one goroutine at a time.
//
// The policy is the application's. No lock is held while it is asked: it may call the session, and
// may panic.
func (a *alive) ask() {
	activity, ok := a.activity()
	if !ok {
		return
	}
	action, wait := a.s.config.KeepAlive.Next(activity)
	if action != keepalive.GiveUp {
		a.askAgain(activity.Now, wait)
	}
	switch action {
	case keepalive.Probe:
		if a.s.version() != 0 {
			a.s.out.sendNOP()
		}
	case keepalive.GiveUp:
		a.s.end(ErrKeepAlive)
	}
}

// activity returns what the policy is told, or false if it is not to be asked any more.
func (a *alive) activity() (keepalive.Activity, bool) {
	streams := a.s.NumStreams()
	a.mu.Lock()
	defer a.mu.Unlock()
	return keepalive.Activity{
		Now:          a.s.now(),
		LastSent:     time.Duration(a.sent.Load()),
		LastReceived: time.Duration(a.received.Load()),
		ReadPaused:   a.paused,
		ReadResumed:  a.resumed,
		Due:          a.due,
		Streams:      streams,
	}, !a.stopped
}

// askAgain sets the timer by the policy's answer to a question at now.
func (a *alive) askAgain(now, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = 0
	if a.stopped || wait <= 0 {
		return
	}
	a.due = now + wait
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.ask)
	} else {
		a.timer.Reset(wait)
	}
}

// pause notes that the transport is not read for now, or is again.
func (a *alive) pause(paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = paused
	if !paused {
		a.resumed = a.s.now()
	}
}

// quiet returns for how long nothing has been received while the transport was read.
func (a *alive) quiet() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paused {
		return 0
	}
	return a.s.now() - max(a.resumed, time.Duration(a.received.Load()))
}

func (a *alive) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
