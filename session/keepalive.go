package session

import (
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A keepaliveTimer asks the keep-alive policy what to do. An idle session needs no goroutine for it.
type keepaliveTimer struct {
	s *Session

	mu      sync.Mutex    // guards what follows
	due     time.Duration // when the policy is to be asked next
	timer   *time.Timer
	stopped bool
}

func (t *keepaliveTimer) start(s *Session) {
	t.s = s
	t.ask()
}

// ask asks the policy and does what it says. It runs once at the start and then by the timer, which
// it sets itself: so the policy is asked by one goroutine at a time.
//
// The policy is the application's. No lock is held while it is asked: it may call the session, and
// may panic.
func (t *keepaliveTimer) ask() {
	activity, ok := t.activity()
	if !ok {
		return
	}
	action, wait := t.s.config.KeepAlive.Next(activity)
	if action != keepalive.GiveUp {
		t.askAgain(activity.Now, wait)
	}
	switch action {
	case keepalive.None:
	case keepalive.Probe:
		if t.s.version() != 0 {
			t.s.out.sendNOP()
		}
	case keepalive.GiveUp:
		t.s.end(ErrKeepAlive)
	}
}

// activity returns what the policy is told, or false if it is not to be asked any more.
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

// askAgain sets the timer by the policy's answer to a question at now.
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
