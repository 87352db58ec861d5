package keepalive

import "time"

// Off is a [Policy] that never probes and never gives up. A peer that expects to hear
// from this side gives it up if the application is quiet for too long.
type Off struct{}

var _ Policy = Off{}

// Next implements [Policy]. It returns None and 0.
func (Off) Next(Activity) (Action, time.Duration) { return None, 0 }
