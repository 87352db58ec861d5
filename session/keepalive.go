package session

import (
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A keepaliveTimer asks the keep-alive policy what to do, at the times that the policy wants. Between them it
// needs no goroutine.
type keepaliveTimer struct {
	s      *Session
	policy keepalive.Policy

	mu      sync.Mutex    // guards the fields below
	due     time.Duration // when to ask next; 0: not by the timer
	timer   *time.Timer
	stopped bool
}

// ask asks the policy and does what it says. It runs once at the start, and then each time the timer fires. It sets
// the timer itself, so one goroutine at a time asks the policy.
//
// The application may have implemented the policy. So ask holds no lock while it calls Next, which may call the
// session, and may panic.
func (t *keepaliveTimer) ask() {
	activity, ok := t.activity()
	if !ok {
		return
	}
	action, wait := t.policy.Next(activity)
	if action != keepalive.GiveUp {
		t.askAgain(activity.Now, wait)
	}
	switch action {
	case keepalive.None:
	case keepalive.Probe:
		if t.s.version() != 0 {
			t.s.tracer.keepAliveProbe(t.s.clock.quiet())
			t.s.out.sendOwn(ownNOP)
		}
	case keepalive.GiveUp:
		t.s.tracer.keepAliveGiveUp(t.s.clock.quiet())
		t.s.end(ErrKeepAlive)
	}
}

// activity returns what the policy wants to know, or false if the timer was stopped.
func (t *keepaliveTimer) activity() (keepalive.Activity, bool) {
	streams := t.s.NumStreams()
	clock := &t.s.clock
	t.mu.Lock()
	defer t.mu.Unlock()
	return keepalive.Activity{
		Now:          clock.now(),
		LastSent:     clock.lastSent(),
		LastReceived: clock.lastReceived(),
		ReadPaused:   clock.readPaused(),
		ReadResumed:  clock.lastResumed(),
		Due:          t.due,
		Streams:      streams,
	}, !t.stopped
}

// askAgain sets the timer to ask the policy at now + wait, or never if wait is not positive.
func (t *keepaliveTimer) askAgain(now, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = 0
	if t.stopped || wait <= 0 {
		return
	}
	t.due = now + wait
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.ask)
	} else {
		t.timer.Reset(wait)
	}
}

func (t *keepaliveTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
