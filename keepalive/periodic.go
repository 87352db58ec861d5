package keepalive

import (
	"errors"
	"fmt"
	"time"
)

const (
	// DefaultInterval is the default of [Periodic].Interval.
	DefaultInterval = 10 * time.Second
	// DefaultTimeout is the default of [Periodic].Timeout.
	DefaultTimeout = 30 * time.Second
	// MinInterval is the shortest valid [Periodic].Interval.
	MinInterval = time.Millisecond
)

// Periodic is a [Policy] that probes when nothing was sent for Interval, and gives up
// when nothing was received for Timeout. The zero value has the defaults.
//
// Bytes of any kind count. So a transfer needs no probes in its direction, and the peer
// does not miss a probe that waits behind data. A quiet peer is heard through NOPs of
// its own, or through its answers to pings. A smuxkit answers; to other peers a ping is
// nothing. Periodic sends
//
//   - one ping after the first Interval, if no NOP has arrived by then, so that it knows
//     whether the peer answers;
//   - a ping when the peer was silent for Timeout less Interval (or for Interval, if
//     that is longer), unless it owes an answer. A peer that answers is alive, however
//     rarely it sends on its own.
//
// What Timeout of silence says depends on the peer:
//
//   - A peer that has answered a ping, or whose last two NOPs came within Timeout, is
//     given up. So Timeout must be longer than the interval of a peer that does not
//     answer pings, and Interval shorter than the peer's time-out.
//   - Any other peer may be one that sends nothing on its own. If Activity.LastAcked is
//     known, it decides: the peer is given up when the other end of the transport
//     has acknowledged nothing for Timeout, either. So a host that has died is found,
//     and a process that hangs is not.
//   - If LastAcked is unknown, silence decides. Use [ProbeOnly] for a peer that sends
//     nothing on its own over such a transport.
//
// Silence says nothing about the peer while this side does not read: Timeout counts from
// the time when reading resumed, and not from before Activity.Began. If Next is called an
// interval or more after Activity.Due, this process was stopped or its machine slept. Then
// Periodic waits for one more interval, so that the session reads what came meanwhile.
type Periodic struct {
	// Interval is the longest time without sending anything, at least
	// [MinInterval]. The default is [DefaultInterval].
	Interval time.Duration
	// Timeout is the longest time without receiving anything. It must exceed
	// Interval. The default is [DefaultTimeout].
	Timeout time.Duration
	// Strict gives up every peer after Timeout of silence, without regard to
	// Activity.LastAcked. Set it if the peer is known to send NOPs or to answer
	// pings. Then a process that hangs before it has done either is found, too.
	Strict bool
}

var _ Policy = Periodic{}

// Validate returns an error that names each invalid field and what is allowed, or nil.
func (p Periodic) Validate() error {
	var errs []error
	q := p.withDefaults()
	if q.Interval < MinInterval {
		errs = append(errs, fmt.Errorf("keepalive: Periodic.Interval is %v: it must be at least %v, or 0 for the default of %v",
			p.Interval, MinInterval, DefaultInterval))
	}
	switch {
	case p.Timeout < 0:
		errs = append(errs, fmt.Errorf("keepalive: Periodic.Timeout is %v: it must exceed Periodic.Interval, or be 0 for the default of %v",
			p.Timeout, DefaultTimeout))
	case q.Timeout <= q.Interval:
		errs = append(errs, fmt.Errorf("keepalive: Periodic.Timeout is %v%s: it must exceed Periodic.Interval, which is %v%s",
			q.Timeout, byDefault(p.Timeout), q.Interval, byDefault(p.Interval)))
	}
	return errors.Join(errs...)
}

func byDefault(set time.Duration) string {
	if set == 0 {
		return " by default"
	}
	return ""
}

// Next implements [Policy]. The result depends on p and a alone. Invalid values do no
// harm: a negative one counts as 0, and with a Timeout shorter than Interval the policy
// gives up without a probe.
func (p Periodic) Next(a Activity) (Action, time.Duration) {
	p.Interval, p.Timeout = max(0, p.Interval), max(0, p.Timeout)
	p = p.withDefaults()

	action := None
	again := p.Interval - since(a.LastSent, a.Now)
	if again <= 0 {
		action, again = Probe, p.Interval
	}
	if a.ReadPaused {
		return action, again
	}
	if due, ok := p.untilPing(a); ok && due <= 0 {
		action, again = Ping, p.Interval
	} else if ok {
		again = min(again, due)
	}
	giveUp := p.Timeout - since(p.lastSign(a), a.Now)
	if giveUp <= 0 {
		if !p.wasSuspended(a) {
			return GiveUp, 0
		}
		giveUp = p.Interval
	}
	return action, min(again, giveUp)
}

// untilPing returns the time until a ping is due, which is not positive if it is due now.
// ok is false if the peer owes an answer already.
func (p Periodic) untilPing(a Activity) (due time.Duration, ok bool) {
	if a.PingSent > 0 {
		return 0, false
	}
	if a.LastNOP == 0 && a.LastEcho == 0 {
		return p.Interval - since(a.Began, a.Now), true
	}
	return max(p.Interval, p.Timeout-p.Interval) - since(lastHeard(a), a.Now), true
}

// lastHeard returns the time from which silence counts.
func lastHeard(a Activity) time.Duration { return max(a.LastReceived, a.ReadResumed, a.Began) }

// lastSign returns when there was the last sign that the peer is alive.
func (p Periodic) lastSign(a Activity) time.Duration {
	speaks := a.LastEcho > 0 || a.LastNOP > 0 && a.NOPGap <= p.Timeout
	if speaks || p.Strict {
		return lastHeard(a)
	}
	return max(lastHeard(a), a.LastAcked)
}

// since returns the time from then to now, or 0 if then is later: it happened after the
// clock was read.
func since(then, now time.Duration) time.Duration { return max(0, now-then) }

// wasSuspended reports whether this process did not run when Next was due, so that what
// the peer sent may still be unread.
func (p Periodic) wasSuspended(a Activity) bool {
	return a.Due > 0 && a.Now-a.Due >= p.Interval
}

func (p Periodic) withDefaults() Periodic {
	if p.Interval == 0 {
		p.Interval = DefaultInterval
	}
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	return p
}
