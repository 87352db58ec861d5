package keepalive_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A session sends a probe a moment after it has called Next, and its timer fires a moment late. While that takes less than a
// fiftieth of Interval, each call of Next is one for a probe. Nothing is sent more than a fiftieth of Interval early.
func TestPoliciesAreAskedOnceAProbe(t *testing.T) {
	for _, interval := range []time.Duration{keepalive.MinInterval, 7 * time.Millisecond, s, keepalive.DefaultInterval, time.Hour, 1 << 61} {
		for name, policy := range map[string]keepalive.Policy{
			"Periodic":  keepalive.Periodic{Interval: interval, Timeout: 1<<63 - 1},
			"ProbeOnly": keepalive.ProbeOnly{Interval: interval},
		} {
			slack := interval / 50
			for _, late := range []time.Duration{0, 1, slack / 2, slack} {
				a := keepalive.Activity{LastEcho: 1}
				for i := range 3 {
					action, again := policy.Next(a)
					if want := i > 0; (action == keepalive.Probe) != want || again != interval {
						t.Errorf("%s with %v, %v late: question %d is answered with %v, %v", name, interval, late, i, action, again)
					}
					if action == keepalive.Probe {
						a.LastSent, a.LastReceived = a.Now+late, a.Now+late
					}
					a.Now += again
				}
			}
			early := keepalive.Activity{Now: interval - slack - 1, LastEcho: 1}
			if action, again := policy.Next(early); action != keepalive.None || again != slack+1 {
				t.Errorf("%s with %v: after %v, %v, %v", name, interval, early.Now, action, again)
			}
		}
	}
}
