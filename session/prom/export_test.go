package prom

import "github.com/smuxkit/smuxkit/session"

// Sum returns the sum of one Stats.
func Sum(s session.Stats) (sum session.Stats) {
	addCounters(&sum, s)
	addState(&sum, s)
	return sum
}

// Held returns how many sessions c holds.
func Held(c *Collector) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}
