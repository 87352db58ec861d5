package flow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
)

// must fails the test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPeerMaySendTheFirstWindowBeforeAnyUpdate(t *testing.T) {
	var w flow.ReceiveWindow
	must(t, w.Received(flow.InitialWindow, 0))
	err := w.Received(3, 0)
	if !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("three more bytes: error %v", err)
	}
	got, _ := errors.AsType[*flow.WindowError](err)
	want := &flow.WindowError{Received: flow.InitialWindow + 3, Limit: flow.InitialWindow}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Over() != 3 {
		t.Errorf("over by %d", got.Over())
	}
	if w.Unread() != flow.InitialWindow+3 {
		t.Errorf("%d bytes unread: they count all the same", w.Unread())
	}
}

func TestBytesThatWereOnceGrantedStayLegal(t *testing.T) {
	// The stream opens with less than the peer assumes.
	var w flow.ReceiveWindow
	if !w.Open(flow.MaxWindow(50_000)) {
		t.Fatal("no update is due though the first window was lowered")
	}
	consumed, window := w.Update(flow.MaxWindow(50_000), 0)
	if consumed != 0 || window > 50_000 || window < 49_999 {
		t.Fatalf("update says %d, %d", consumed, window)
	}
	must(t, w.Received(flow.InitialWindow, 0))
	if err := w.Received(1, 0); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("beyond the first window: error %v", err)
	}

	// The window is taken back from a stream that was granted more.
	w = flow.ReceiveWindow{}
	share := flow.NewShare(32 << 20)
	must(t, w.Received(200_000, 0))
	w.Read(200_000, 0)
	consumed, window = w.Update(share, 0)
	limit := int(consumed + window)
	if due, later := w.Reclaim(share); due || !later {
		t.Errorf("the first Reclaim returns %v, %v; want only that a later one may", due, later)
	}
	if due, later := w.Reclaim(share); !due || later {
		t.Fatal("the second visit took nothing back")
	}
	if _, window := w.Update(share, 0); window > 16<<10 {
		t.Fatalf("the window is still %d", window)
	}
	must(t, w.Received(limit-200_000, 0))
	if err := w.Received(1, 0); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("beyond everything ever granted: error %v", err)
	}
}

func TestAnUpdateIsDueAfterAQuarterOfTheWindow(t *testing.T) {
	var w flow.ReceiveWindow
	for round := range 100 {
		must(t, w.Received(flow.InitialWindow/2, 0))
		if w.Read(flow.InitialWindow/4-2, 0) {
			t.Fatalf("round %d: due before a quarter was read", round)
		}
		if !w.Read(2, 0) || !w.Due() {
			t.Fatalf("round %d: not due after a quarter", round)
		}
		consumed, window := w.Update(nil, 0)
		if int(consumed) != (2*round+1)*flow.InitialWindow/4 || window < flow.InitialWindow-1 {
			t.Fatalf("round %d: update says %d, %d", round, consumed, window)
		}
		if w.Due() {
			t.Fatalf("round %d: due right after an update", round)
		}
		if !w.Read(flow.InitialWindow/4, 0) {
			t.Fatalf("round %d: not due after another quarter", round)
		}
		w.Update(nil, 0)
	}
}

func TestAShortStreamCausesNoUpdate(t *testing.T) {
	var w flow.ReceiveWindow
	w.Open(flow.NewShare(32 << 20))
	for range 60 {
		must(t, w.Received(1000, 0))
		if w.Read(1000, 0) {
			t.Fatal("an update is due")
		}
	}
}

func TestNoUpdateIsDueAfterFinish(t *testing.T) {
	share := flow.NewShare(32 << 20)
	for _, open := range []bool{false, true} {
		var w flow.ReceiveWindow
		if open {
			w.Open(share)
		}
		must(t, w.Received(flow.InitialWindow, 0))
		w.Read(100_000, 0)
		w.Finish(share)
		w.Finish(share)
		reclaim := func() bool {
			due, later := w.Reclaim(share)
			return due || later
		}
		if w.Due() || w.Read(flow.InitialWindow-100_000, 0) || w.Open(share) || reclaim() || reclaim() {
			t.Errorf("open=%v: an update is due", open)
		}
		if consumed, window := w.Update(share, 0); consumed != flow.InitialWindow || window != 0 {
			t.Errorf("open=%v: a late update says %d, %d", open, consumed, window)
		}
		if got := share.Budget().Promised(); got != 0 {
			t.Errorf("open=%v: %d bytes are still promised", open, got)
		}
	}
}

func TestReceiveWindowCountsAcrossTheWrap(t *testing.T) {
	for _, g := range []flow.Granter{nil, flow.MaxWindow(16 << 20)} {
		var in flow.ReceiveWindow
		var out flow.SendWindow
		now := time.Duration(0)
		total := uint64(0)
		for total < 9<<30 {
			n := out.Available()
			if n == 0 {
				t.Fatalf("stuck at %d", total)
			}
			probe := in
			if err := probe.Received(n+1, now); !errors.Is(err, flow.ErrWindow) {
				t.Fatalf("at %d: one byte too many: error %v", total, err)
			}
			must(t, in.Received(n, now))
			out.Sent(n)
			total += uint64(n)
			if in.Unread() != n {
				t.Fatalf("at %d: %d unread, want %d", total, in.Unread(), n)
			}
			if !in.Read(n, now) {
				t.Fatalf("at %d: no update due", total)
			}
			consumed, window := in.Update(g, now)
			if consumed != uint32(total) {
				t.Fatalf("update says %d at %d", consumed, total)
			}
			must(t, out.Update(consumed, window))
			now += 50 * time.Millisecond
		}
		if g != nil && in.Window() < 16<<20-1 {
			t.Errorf("the window grew to %d only", in.Window())
		}
	}
}
