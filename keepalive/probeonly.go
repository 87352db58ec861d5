package keepalive

import (
	"fmt"
	"time"
)

// ProbeOnly is a [Policy] that probes when nothing was sent for Interval, and never gives
// up. It keeps the path open through NATs and firewalls, and keeps a peer from giving up
// this side.
//
// Use it for a peer that sends nothing on its own and does not answer pings, over a
// transport that cannot tell what its other end has acknowledged (see
// Activity.LastAcked): there, nothing tells such a peer from a dead one. A session then
// ends when the transport does. Over TCP, a probe that is never acknowledged ends the
// connection, on most systems after a quarter of an hour or so.
type ProbeOnly struct {
	// Interval is the longest time without sending anything, at least
	// [MinInterval]. The default is [DefaultInterval].
	Interval time.Duration
}

var _ Policy = ProbeOnly{}

// Validate returns an error that says what Interval may be, or nil.
func (p ProbeOnly) Validate() error {
	if p.Interval == 0 || p.Interval >= MinInterval {
		return nil
	}
	return fmt.Errorf("keepalive: ProbeOnly.Interval is %v: it must be at least %v, or 0 for the default of %v",
		p.Interval, MinInterval, DefaultInterval)
}

// Next implements [Policy]. The result depends on p and a alone. A negative Interval counts
// as 0.
func (p ProbeOnly) Next(a Activity) (Action, time.Duration) {
	if p.Interval <= 0 {
		p.Interval = DefaultInterval
	}
	if again := p.Interval - since(a.LastSent, a.Now); again > 0 {
		return None, again
	}
	return Probe, p.Interval
}
