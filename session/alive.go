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

// ask asks the policy and does what it says.
func (a *alive) ask() {
	streams := a.s.NumStreams()
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		return
	}
	now := a.s.now()
	action, wait := a.s.config.KeepAlive.Next(keepalive.Activity{
		Now:          now,
		LastSent:     time.Duration(a.sent.Load()),
		LastReceived: time.Duration(a.received.Load()),
		ReadPaused:   a.paused,
		ReadResumed:  a.resumed,
		Due:          a.due,
		Streams:      streams,
	})
	a.due = 0
	if wait > 0 && action != keepalive.GiveUp {
		a.due = now + wait
		if a.timer == nil {
			a.timer = time.AfterFunc(wait, a.ask)
		} else {
			a.timer.Reset(wait)
		}
	}
	a.mu.Unlock()

	switch action {
	case keepalive.Probe:
		if a.s.version() != 0 {
			a.s.out.sendNOP()
		}
	case keepalive.GiveUp:
		a.s.end(ErrKeepAlive)
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
