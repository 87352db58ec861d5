package flow

import "fmt"

// Check returns an error if something is not so that always is between two calls.
func (w *ReceiveWindow) Check() error {
	a := &w.account
	limit, edge := a.limit.value(), a.edge.value()
	for _, is := range []struct {
		ok   bool
		what string
	}{
		{!after(a.read, a.received), "read <= received"},
		{!after(limit, edge), "limit <= edge"},
		{a.unread() <= maxWindow+maxOverrun+1<<16, "received - read is bounded"},
		{int32(edge-a.read) <= maxWindow+1, "edge - read is bounded"},
		{a.size() >= minWindow && a.size() <= maxWindow, "minWindow <= size <= maxWindow"},
		{w.phase != phaseNew || a.size() == InitialWindow, "an phaseNew window has its first size"},
		{w.phase == phaseOpen || w.promise() == 0, "only an open window holds a promise"},
	} {
		if !is.ok {
			return fmt.Errorf("not so: %s: %+v", is.what, *a)
		}
	}
	if w.tuner == nil {
		return nil
	}
	r, z := &w.tuner.path, &w.tuner.size
	for _, is := range []struct {
		ok   bool
		what string
	}{
		{!r.timing() || !after(a.received, r.mark), "while an update is timed: received <= mark"},
		{!r.timing() || after(limit, r.mark), "while an update is timed: mark < limit"},
		{r.state != timingWhileDrained || a.read == r.mark, "drained: read == mark"},
		{r.pause <= maxMicros && r.least <= maxMicros, "times are bounded"},
		{r.slow < slowSamples, "slow < slowSamples"},
		{z.trial != onTrial || z.samples < trialSamples, "a trial ends"},
		{z.need <= maxWindow, "need is bounded"},
	} {
		if !is.ok {
			return fmt.Errorf("not so: %s: %+v, %+v", is.what, *a, *w.tuner)
		}
	}
	return nil
}
