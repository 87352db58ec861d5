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
// does not miss a probe that waits behind data. The protocol has no answer to a probe:
// a quiet peer is heard only through its own probes. So Timeout must be longer than the
// peer's interval, and Interval shorter than the peer's timeout.
//
// Silence says nothing about the peer while this side does not read: Timeout counts from
// the time when reading resumed. If Next is called an interval or more after Activity.Due,
// this process was stopped or its machine slept. Then Periodic waits for one more
// interval, so that the session reads what came meanwhile.
type Periodic struct {
	// Interval is the longest time without sending anything, at least
	// [MinInterval]. The default is [DefaultInterval].
	Interval time.Duration
	// Timeout is the longest time without receiving anything. It must exceed
	// Interval. The default is [DefaultTimeout].
	Timeout time.Duration
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
	if p.Interval < 0 {
		p.Interval = 0
	}
	if p.Timeout < 0 {
		p.Timeout = 0
	}
	p = p.withDefaults()

	untilProbe := p.Interval - since(a.LastSent, a.Now)
	action := None
	if untilProbe <= 0 {
		action, untilProbe = Probe, p.Interval
	}
	if a.ReadPaused {
		return action, untilProbe
	}
	untilGiveUp := p.Timeout - since(max(a.LastReceived, a.ReadResumed), a.Now)
	if untilGiveUp <= 0 {
		if !p.wasSuspended(a) {
			return GiveUp, 0
		}
		untilGiveUp = p.Interval
	}
	return action, min(untilProbe, untilGiveUp)
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
