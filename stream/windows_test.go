package stream_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Shared.Windows decides about the windows of streams. Without it Budget does.
func TestSharedWindowsDecideAboutWindows(t *testing.T) {
	for _, tt := range []struct {
		name      string
		windows   flow.Allocator
		update    bool // behind the SYN
		committed int  // by the budget
	}{
		{"budget", nil, false, flow.InitialWindow},
		{"windows", flow.MaxWindow(50_000), true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{t: t, start: time.Now(), budget: flow.NewBudget(64 << 20)}
			f.cfg = stream.Shared{Version: wire.V2, MaxFrameSize: 32760, Budget: f.budget.NewAccount(), Windows: tt.windows}
			f.core.Init(&f.cfg, f, 1, true)
			f.core.Start()
			frames := f.take(0)
			if tt.update != (len(frames) == 2) {
				t.Fatalf("it begins with %v", frames)
			}
			if tt.update {
				if window := frames[1].Update().Window; window != 49_999 {
					t.Errorf("a window of %d", window)
				}
			}
			if got := f.budget.Committed(); got != tt.committed {
				t.Errorf("the budget has committed %d bytes, want %d", got, tt.committed)
			}
			f.stream().Close()
			f.take(0)
			if got := f.budget.Committed(); got != 0 {
				t.Errorf("after Close the budget has committed %d bytes", got)
			}
		})
	}
}
