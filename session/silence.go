package session

import (
	"runtime"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// In this file, the session gathers what its keep-alive policy wants to know.
//
// On a busy machine, the peer's bytes may stay in the socket for long. A goroutine that never waits keeps its processor
// for 10 ms, so the reader may wait behind thousands of them for longer than a time-out, while the timers of the program
// fire on time. Such silence is not the peer's. So
//
//   - bytes that lie unread in a socket count as received now, and
//   - if the policy gives the peer up, all other goroutines run first. If the reader has received something by then, or
//     if this took long, the policy is asked again.

const (
	// Before the peer is given up, all goroutines that can run have a turn, until a turn takes less than shortTurn, or
	// for maxTurns turns. Data may pass through other goroutines before the reader gets it, such as that of a KCP
	// connection. Each of them needs a turn.
	shortTurn = time.Millisecond
	maxTurns  = 3
)

// activity returns what the policy wants to know.
func (t *keepaliveTimer) activity() keepalive.Activity {
	s, clock := t.s, &t.s.clock
	a := keepalive.Activity{
		Now:          clock.now(),
		LastSent:     clock.lastSent(),
		LastReceived: clock.lastReceived(),
		ReadPaused:   clock.readPaused(),
		ReadResumed:  clock.lastResumed(),
		LastNOP:      time.Duration(t.lastNOP.Load()),
		NOPGap:       time.Duration(t.nopGap.Load()),
		Streams:      s.NumStreams(),
	}
	a.PingSent, a.LastEcho, a.RTT = s.ping.Load().activity()
	asked, acked := t.lastAsked()
	heard := a.LastReceived > asked
	if _, tells := s.conn.(lastAcker); acked > 0 && heard && !tells {
		acked = max(acked, a.LastReceived) // so the other end was there, and the kernel need not be asked
	} else if ago, known := s.sinceAcked(); known {
		acked = max(acked, a.Now-ago, 1)
	}
	if asked > 0 && !heard && !a.ReadPaused && s.transport.hasUnread() {
		a.LastReceived = a.Now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.acked = max(1, a.Now), acked
	a.LastAcked, a.Began, a.Due = acked, t.began, t.due
	return a
}

// lastAsked returns when activity was last called, and what was acknowledged by then.
func (t *keepaliveTimer) lastAsked() (asked, acked time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked, t.acked
}

// recheck is called when the policy has given up the peer because of a. It lets all other goroutines run, the reader among
// them. If that took long, or brought to light that the peer is not silent, recheck returns true, and sets a to what is
// known now.
func (t *keepaliveTimer) recheck(a *keepalive.Activity) bool {
	waited := false
	for range maxTurns {
		if !t.isAsking() {
			return false // nobody wants the answer
		}
		start := t.s.now()
		runtime.Gosched()
		runtime.Gosched() // each 61st time the scheduler looks first where it has put this goroutine
		if t.s.now()-start < shortTurn {
			break
		}
		waited = true
	}
	now := t.activity()
	if !waited && now.LastReceived == a.LastReceived && now.ReadPaused == a.ReadPaused && now.ReadResumed == a.ReadResumed {
		return false
	}
	*a = now
	return true
}

// isAsking reports whether the answer of the policy that is being asked will count.
func (t *keepaliveTimer) isAsking() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == keepaliveAsking
}
