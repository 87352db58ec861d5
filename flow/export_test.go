package flow

import (
	"fmt"
	"time"
)

// Check returns an error if an invariant of the window does not hold. Tests call it between calls of
// the other methods.
func (w *ReceiveWindow) Check() error {
	o := &w.offsets
	limit, edge := o.limit.value(), o.edge.value()
	for _, inv := range []struct {
		ok   bool
		what string
	}{
		{!after(o.read, o.received), "read <= received"},
		{!after(limit, edge), "limit <= edge"},
		{o.unread() <= maxWindow+maxOverrun+1<<16, "received - read is bounded"},
		{int32(edge-o.read) <= maxWindow+1, "edge - read is bounded"},
		{o.size() >= minWindow && o.size() <= maxWindow, "minWindow <= size <= maxWindow"},
		{w.phase != phaseNew || o.size() == InitialWindow, "a new window has its first size"},
		{w.phase == phaseOpen || w.committed() == 0, "only an open window is committed"},
	} {
		if !inv.ok {
			return fmt.Errorf("invariant broken: %s: %+v", inv.what, *o)
		}
	}
	if w.tuner == nil {
		return nil
	}
	r, z := &w.tuner.path, &w.tuner.size
	for _, inv := range []struct {
		ok   bool
		what string
	}{
		{!r.timing() || !after(o.received, r.mark), "while an update is timed: received <= mark"},
		{!r.timing() || after(limit, r.mark), "while an update is timed: mark < limit"},
		{r.state != timingWhileDrained || o.read == r.mark, "drained: read == mark"},
		{r.pause <= maxMicros && r.minRTT <= maxMicros, "times are bounded"},
		{r.slow < slowSamples, "slow < slowSamples"},
		{z.trial != onTrial || z.samples < trialSamples, "a trial ends"},
		{z.need <= maxWindow, "need is bounded"},
	} {
		if !inv.ok {
			return fmt.Errorf("invariant broken: %s: %+v, %+v", inv.what, *o, *w.tuner)
		}
	}
	return nil
}

// Growing reports whether the next update is to grow the window, if the Allocator allows that.
func (w *ReceiveWindow) Growing() bool {
	return w.tuner != nil && w.tuner.size.growth != noGrowth && w.tuner.size.trial != trialFailed
}

// MaxUseful returns the largest window that is useful on a path with this round trip.
func MaxUseful(rtt time.Duration) int { return maxUseful(since(0, rtt)) }
