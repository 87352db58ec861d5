package keepalive

import "time"

// Off never probes and never gives up. A peer that expects to hear something will
// give this side up if the application is quiet for too long.
type Off struct{}

// Next implements [Policy].
func (Off) Next(Activity) (Action, time.Duration) { return None, 0 }
