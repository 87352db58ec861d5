package flow_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A peer may send InitialWindow bytes before any update, and no byte more.
func TestReceiveWindowAllowsTheFirstWindow(t *testing.T) {
	var w flow.ReceiveWindow
	must(t, w.AddReceived(flow.InitialWindow, 0, 0))
	if err := w.AddReceived(3, 0, 0); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("three more bytes: error %v", err)
	}
	if w.Unread() != flow.InitialWindow+3 {
		t.Errorf("%d bytes unread: they count all the same", w.Unread())
	}
}

// A peer that overruns its window within what is tolerated gets no room for more until that much has been
// read, and then goes on as any other.
func TestReceiveWindowHoldsAnOverrunAgainstThePeer(t *testing.T) {
	const overrun = 2 * flow.InitialWindow
	var w flow.ReceiveWindow
	var out flow.SendWindow
	must(t, w.AddReceived(flow.InitialWindow+overrun, 0, overrun))
	out.AddSent(flow.InitialWindow + overrun)
	probe := w
	if err := probe.AddReceived(1, 0, overrun); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("a byte more than is tolerated: error %v", err)
	}
	updates := 0
	for read := 0; read < flow.InitialWindow+overrun; read += 4096 {
		if !w.AddRead(4096, 0) {
			continue
		}
		updates++
		must(t, out.Update(w.Update(nil, 0)))
		if room := read + 4096 - overrun; out.Available() > max(0, room) {
			t.Fatalf("the peer may send %d bytes when %d have been read", out.Available(), read+4096)
		}
	}
	if n := out.Available(); n < flow.InitialWindow*3/4 || updates > 5 {
		t.Errorf("then it may send %d bytes, after %d updates", n, updates)
	}
	must(t, w.AddReceived(out.Available(), 0, 0))
}

// The tolerated overrun is an eighth of the budget, shared or not, within its bounds.
func TestAccountMaxOverrunIsAnEighthOfTheBudget(t *testing.T) {
	for _, tt := range []struct{ budget, want int }{
		{1, 64 * testutil.KiB}, {64 * testutil.KiB, 64 * testutil.KiB}, {512 * testutil.KiB, 64 * testutil.KiB}, {32 * testutil.MiB, 4 * testutil.MiB}, {math.MaxInt, min(256*testutil.MiB, math.MaxInt/8)},
	} {
		shared := flow.NewBudget(tt.budget)
		for _, s := range []*flow.Account{flow.NewAccount(tt.budget), shared.NewAccount(), shared.NewAccount()} {
			if got := s.MaxOverrun(); got != tt.want {
				t.Errorf("of %d bytes: %d, want %d", tt.budget, got, tt.want)
			}
		}
	}
}

// Bytes that an update once allowed stay legal after the window was lowered.
func TestReceiveWindowGrantedBytesStayLegal(t *testing.T) {
	// The stream opens with less than the peer assumes.
	var w flow.ReceiveWindow
	if !w.Open(flow.MaxWindow(50_000)) {
		t.Fatal("no update is due though the first window was lowered")
	}
	consumed, window := w.Update(flow.MaxWindow(50_000), 0)
	if consumed != 0 || window > 50_000 || window < 49_999 {
		t.Fatalf("update says %d, %d", consumed, window)
	}
	must(t, w.AddReceived(flow.InitialWindow, 0, 0))
	if err := w.AddReceived(1, 0, 0); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("beyond the first window: error %v", err)
	}

	// The window is taken back from a stream that was granted more.
	w = flow.ReceiveWindow{}
	account := flow.NewAccount(32 << 20)
	must(t, w.AddReceived(200_000, 0, 0))
	w.AddRead(200_000, 0)
	consumed, window = w.Update(account, 0)
	limit := int(consumed + window)
	if got := w.Reclaim(account); got != flow.ReclaimLater {
		t.Errorf("the first Reclaim returns %v, want ReclaimLater", got)
	}
	if got := w.Reclaim(account); got != flow.Reclaimed {
		t.Fatalf("the second Reclaim returns %v, want Reclaimed", got)
	}
	if _, window := w.Update(account, 0); window > 16<<10 {
		t.Fatalf("the window is still %d", window)
	}
	must(t, w.AddReceived(limit-200_000, 0, 0))
	if err := w.AddReceived(1, 0, 0); !errors.Is(err, flow.ErrWindow) {
		t.Fatalf("beyond everything ever granted: error %v", err)
	}
}

// An update is due when a quarter of the window has been read.
func TestUpdateDueAfterAQuarterOfTheWindow(t *testing.T) {
	var w flow.ReceiveWindow
	for round := range 100 {
		must(t, w.AddReceived(flow.InitialWindow/2, 0, 0))
		if w.AddRead(flow.InitialWindow/4-2, 0) {
			t.Fatalf("round %d: due before a quarter was read", round)
		}
		if !w.AddRead(2, 0) || !w.UpdateDue() {
			t.Fatalf("round %d: not due after a quarter", round)
		}
		consumed, window := w.Update(nil, 0)
		if int(consumed) != (2*round+1)*flow.InitialWindow/4 || window < flow.InitialWindow-1 {
			t.Fatalf("round %d: update says %d, %d", round, consumed, window)
		}
		if w.UpdateDue() {
			t.Fatalf("round %d: due right after an update", round)
		}
		if !w.AddRead(flow.InitialWindow/4, 0) {
			t.Fatalf("round %d: not due after another quarter", round)
		}
		w.Update(nil, 0)
	}
}

// A stream shorter than a quarter of the first window causes no update.
func TestUpdateNotDueOnAShortStream(t *testing.T) {
	var w flow.ReceiveWindow
	w.Open(flow.NewAccount(32 << 20))
	for range 60 {
		must(t, w.AddReceived(1000, 0, 0))
		if w.AddRead(1000, 0) {
			t.Fatal("an update is due")
		}
	}
}

// After Finish no update is due, nothing is committed, and no call changes that.
func TestUpdateNotDueAfterFinish(t *testing.T) {
	account := flow.NewAccount(32 << 20)
	for _, open := range []bool{false, true} {
		var w flow.ReceiveWindow
		if open {
			w.Open(account)
		}
		must(t, w.AddReceived(flow.InitialWindow, 0, 0))
		w.AddRead(100_000, 0)
		w.Finish(account)
		w.Finish(account)
		reclaim := func() bool { return w.Reclaim(account) != flow.NothingToReclaim }
		if w.UpdateDue() || w.AddRead(flow.InitialWindow-100_000, 0) || w.Open(account) || reclaim() || reclaim() {
			t.Errorf("open=%v: an update is due", open)
		}
		if consumed, window := w.Update(account, 0); consumed != flow.InitialWindow || window != 0 {
			t.Errorf("open=%v: a late update says %d, %d", open, consumed, window)
		}
		if got := account.Budget().Committed(); got != 0 {
			t.Errorf("open=%v: %d bytes are still committed", open, got)
		}
	}
}

func TestReceiveWindowCountsAcrossTheWrap(t *testing.T) {
	for _, g := range []flow.Allocator{nil, flow.MaxWindow(16 << 20)} {
		var in flow.ReceiveWindow
		var out flow.SendWindow
		now := time.Duration(0)
		total := uint64(0)
		for total < 9<<30 {
			n := out.Available()
			if n == 0 {
				t.Fatalf("stuck at %d", total)
			}
			must(t, in.AddReceived(n, now, 0))
			if err := in.AddReceived(0, now, -1); !errors.Is(err, flow.ErrWindow) {
				t.Fatalf("at %d: a window with a byte less: error %v", total, err)
			}
			must(t, in.Check())
			out.AddSent(n)
			total += uint64(n)
			if in.Unread() != n {
				t.Fatalf("at %d: %d unread, want %d", total, in.Unread(), n)
			}
			if !in.AddRead(n, now) {
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

// Until a window uses the time, what it does is the same at any time. It uses the time after the first update that is
// due because of data that was read.
func TestReceiveWindowIgnoresTheTimeUntilItUsesIt(t *testing.T) {
	var late, none flow.ReceiveWindow
	for read := 0; ; read += 4096 {
		now := time.Duration(read) * time.Millisecond
		must(t, late.AddReceived(4096, now, 0))
		must(t, none.AddReceived(4096, 0, 0))
		due := late.AddRead(4096, now)
		if none.AddRead(4096, 0) != due {
			t.Fatalf("an update is due after %d bytes: %v, without the time %v", read, due, !due)
		}
		if late.UsesTime() || none.UsesTime() {
			t.Fatalf("after %d bytes, a window uses the time", read)
		}
		if late != none {
			t.Fatalf("after %d bytes, the windows differ", read)
		}
		if due {
			break
		}
	}
	late.Update(nil, time.Second)
	if !late.UsesTime() {
		t.Error("after an update, the window does not use the time")
	}
}
