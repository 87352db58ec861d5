package keepalive

import (
	"errors"
	"fmt"
	"time"
)

const (
	// DefaultInterval is the Interval of a Periodic that sets none.
	DefaultInterval = 10 * time.Second
	// DefaultTimeout is the Timeout of a Periodic that sets none.
	DefaultTimeout = 30 * time.Second
	// MinInterval is the shortest Interval that is valid.
	MinInterval = time.Millisecond
)

// Periodic probes when nothing was sent for Interval, and gives up when nothing was
// received for Timeout. The zero value means the defaults.
//
// Bytes of any kind count, so a transfer needs no probes in its direction, and a
// probe that waits behind one is not missed by the peer. The protocol has no
// answer to a probe: what this side receives depends on the peer's own interval,
// which must be shorter than Timeout, as Interval must be shorter than the peer's.
//
// While reading is paused, silence says nothing about the peer: Timeout counts
// from when reading resumed. The same holds when the question comes late by an
// interval or more, because this process was stopped or its machine slept: it
// waits for one more interval, to read first what came meanwhile.
type Periodic struct {
	// Interval is how long nothing may be sent. 0 means [DefaultInterval].
	Interval time.Duration
	// Timeout is how long nothing may be received. 0 means [DefaultTimeout].
	Timeout time.Duration
}

var _ Policy = Periodic{}

// Validate returns an error that names each bad value and what is allowed.
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

// Next implements [Policy]. It is a function of p and a alone. Values that are not
// valid do no harm: one below zero counts as 0, and a Timeout within the Interval
// gives up before it ever probes.
func (p Periodic) Next(a Activity) (Action, time.Duration) {
	if p.Interval < 0 {
		p.Interval = 0
	}
	if p.Timeout < 0 {
		p.Timeout = 0
	}
	p = p.withDefaults()

	wait := p.Interval - since(a.LastSent, a.Now) // until a probe is due
	action := None
	if wait <= 0 {
		action, wait = Probe, p.Interval
	}
	if a.ReadPaused {
		return action, wait
	}
	patience := p.Timeout - since(max(a.LastReceived, a.ReadResumed), a.Now)
	if patience <= 0 {
		if !p.heldUp(a) {
			return GiveUp, 0
		}
		patience = p.Interval
	}
	return action, min(wait, patience)
}

// since returns the time from then to now. What happened after the clock was read
// happened now.
func since(then, now time.Duration) time.Duration { return max(0, now-then) }

// heldUp reports whether this process cannot have read what came, because it did
// not run when it was to.
func (p Periodic) heldUp(a Activity) bool {
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
