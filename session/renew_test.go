package session

import "testing"

// The reader's goroutine is renewed once after frames of streams have arrived. NOPs and signals do not count.
func TestReaderIsRenewedOnceAfterUse(t *testing.T) {
	s := new(Session)
	k := &keepaliveTimer{s: s}
	for i, step := range []struct {
		frames, nops int
		want         bool
	}{{0, 0, false}, {3, 0, true}, {0, 0, false}, {2, 2, false}, {3, 2, true}, {0, 0, false}} {
		s.stats.framesReceived.Add(uint64(step.frames))
		for range step.nops {
			k.handleNOP()
		}
		if got := k.takeUsed(); got != step.want {
			t.Errorf("%d: renewed: %v, want %v", i, got, step.want)
		}
	}
	s.stats.framesReceived.Add(1)
	k.stop()
	if k.takeUsed() {
		t.Error("renewed after the end of the session")
	}
}
