package session

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// SetKeepAlive replaces the session's keep-alive policy, which is that of [Config].KeepAlive at first. Other sessions
// with the same Config keep theirs. nil means keepalive.Periodic{}. If the policy is not valid, SetKeepAlive returns
// an error and changes nothing.
//
// The session calls Next of the new policy soon, from a goroutine of its own, and then whenever the policy wants. If
// Next of the old policy is being called, its result is ignored; after that, the session does not call the old policy
// any more. [keepalive.Periodic] gives the peer its whole Timeout, counted from SetKeepAlive. A policy that calls
// SetKeepAlive in each Next is asked at once nine times, and then after pauses that grow from 1 ms to 1 s.
//
// SetKeepAlive waits for nothing. Next of a policy may call it. After the end of the session it does nothing.
func (s *Session) SetKeepAlive(policy keepalive.Policy) error {
	if policy == nil {
		policy = keepalive.Periodic{}
	}
	if err := validatePolicy(policy); err != nil {
		return fmt.Errorf("session: bad policy: %w", err)
	}
	s.keepalive.setPolicy(policy)
	return nil
}

// validatePolicy returns an error if policy holds a nil pointer, or says itself that it is not valid.
func validatePolicy(policy keepalive.Policy) error {
	if isNil(policy) {
		return errors.New("it is a nil pointer, must be a policy or nil itself")
	}
	if v, ok := policy.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// A keepaliveTimer asks the keep-alive policy what to do, at the times that the policy wants. Between them it
// needs no goroutine.
type keepaliveTimer struct {
	s *Session

	// When the peer's last NOP arrived, and the time from the one before, or the session's start, to it. The reader
	// sets them.
	lastNOP, nopGap atomic.Int64
	// How many NOPs and signals of the peer have arrived. The reader counts them.
	overhead atomic.Uint64

	mu     sync.Mutex // guards the fields below
	state  keepaliveState
	usage  usage
	hasty  uint8 // how many calls of Next in a row have called SetKeepAlive
	policy keepalive.Policy
	began  time.Duration // when policy was set
	due    time.Duration // when to ask next; 0: not by the timer
	asked  time.Duration // when the session last gathered what policy wants to know; 0: never
	acked  time.Duration // when the transport's other end last acknowledged something; 0: unknown
	timer  *time.Timer
	frames uint64 // how many frames of streams had arrived when becameQuiet was last called
}

// A keepaliveState says whether the policy is being asked:
//
//	idle --(the timer fires)--> asking --(Next has returned)--> idle, and the timer is set
//	asking --(SetKeepAlive)--> replaced --(Next has returned)--> idle, and the timer is set to ask the new policy now
//	any --(the session ends, or Next does not return)--> stopped
//
// So one goroutine at a time calls Next, whatever policy it is.
type keepaliveState uint8

const (
	keepaliveIdle     keepaliveState = iota
	keepaliveAsking                  // Next is being called
	keepaliveReplaced                // the same, and its result is to be ignored
	keepaliveStopped                 // the policy is not asked any more
)

// ask asks the policy and does what it says. If the policy gives the peer up, ask may ask twice, see recheck. It runs once
// at the start, and then each time the timer fires.
//
// The application may have implemented the policy. So ask holds no lock while it calls Next, which may call the
// session, and may panic.
func (t *keepaliveTimer) ask() {
	policy := t.begin()
	if policy == nil {
		return
	}
	activity := t.activity()
	action, wait := policy.Next(activity)
	if action == keepalive.GiveUp && t.recheck(&activity) {
		action, wait = policy.Next(activity)
	}
	if t.finish(activity.Now, action, wait) {
		t.act(action)
	}
	t.releaseQuiet()
}

// handleTimer is what the timer calls. It ends the session if Next does not return, because then nothing would find out
// that the peer is gone.
func (t *keepaliveTimer) handleTimer() {
	returned := false
	defer func() {
		if !returned {
			go t.s.end(errGone)
		}
	}()
	t.ask()
	returned = true
}

const (
	// If Next calls SetKeepAlive, the new policy is asked at once. After maxHasty such calls in a row there are pauses,
	// from minHastyPause to maxHastyPause, so that a policy which always does that takes no processor.
	maxHasty      = 8
	minHastyPause = time.Millisecond
	maxHastyPause = time.Second
)

// pause returns how long to wait before the policy is asked that was set by Next of another. The caller holds t.mu.
func (t *keepaliveTimer) pause() time.Duration {
	if t.hasty < maxHasty {
		t.hasty++
		return 0
	}
	pause := minHastyPause << (t.hasty - maxHasty)
	if pause >= maxHastyPause {
		return maxHastyPause
	}
	t.hasty++
	return pause
}

// begin returns the policy to ask, or nil if it is being asked or the session has ended.
func (t *keepaliveTimer) begin() keepalive.Policy {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != keepaliveIdle {
		return nil
	}
	t.state = keepaliveAsking
	return t.policy
}

// finish notes that Next has returned. It returns false if the result is to be ignored. Otherwise it sets the timer to
// ask the policy at now + wait, or never if wait is not positive.
func (t *keepaliveTimer) finish(now time.Duration, action keepalive.Action, wait time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case keepaliveAsking:
		t.state = keepaliveIdle
	case keepaliveReplaced:
		t.state = keepaliveIdle
		t.setTimer(t.pause())
		return false
	default:
		return false
	}
	t.due, t.hasty = 0, 0
	if action != keepalive.GiveUp && wait > 0 {
		t.due = now + wait
		t.setTimer(wait)
	}
	return true
}

// setTimer sets the timer. The caller holds t.mu.
func (t *keepaliveTimer) setTimer(wait time.Duration) {
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.handleTimer)
	} else {
		t.timer.Reset(wait)
	}
}

// act does what the policy has said.
func (t *keepaliveTimer) act(action keepalive.Action) {
	s := t.s
	switch action {
	case keepalive.None:
	case keepalive.Probe, keepalive.Ping:
		if s.version() == 0 {
			return
		}
		s.tracer.keepAliveProbe(s.clock.quiet())
		frame := ownNOP
		if action == keepalive.Ping && !s.closing() && s.pinger().begin() {
			frame = ownPing
		}
		s.out.sendOwn(frame)
	case keepalive.GiveUp:
		s.tracer.keepAliveGiveUp(s.clock.quiet())
		s.end(ErrKeepAlive)
	}
}

// setPolicy replaces the policy.
func (t *keepaliveTimer) setPolicy(policy keepalive.Policy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == keepaliveStopped {
		return
	}
	t.policy, t.began, t.due = policy, t.s.now(), 0
	if t.state == keepaliveIdle {
		t.setTimer(0)
	} else {
		t.state = keepaliveReplaced
	}
}

func (t *keepaliveTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = keepaliveStopped
	if t.timer != nil {
		t.timer.Stop()
	}
}

// handleNOP notes that a NOP has arrived. The reader calls it. It reads no clock: the NOP came with the bytes that were
// received last.
func (t *keepaliveTimer) handleNOP() {
	t.overhead.Add(1)
	now := max(1, int64(t.s.clock.lastReceived()))
	t.nopGap.Store(max(1, now-t.lastNOP.Load()))
	t.lastNOP.Store(now)
}
