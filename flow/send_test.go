package flow_test

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
)

// Available follows what was sent and the updates that arrived.
func TestSendWindowAvailable(t *testing.T) {
	type step struct {
		sent             int
		update           bool
		consumed, window uint32
		available        int
		err              error
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"begins with the window that every peer assumes", []step{
			{available: flow.InitialWindow},
			{sent: 1, available: flow.InitialWindow - 1},
			{sent: flow.InitialWindow - 1, available: 0},
		}},
		{"is refilled by what the peer consumed", []step{
			{sent: flow.InitialWindow, available: 0},
			{update: true, consumed: 1000, window: flow.InitialWindow, available: 1000},
			{update: true, consumed: flow.InitialWindow, window: flow.InitialWindow, available: flow.InitialWindow},
		}},
		{"can be raised", []step{
			{sent: 100, update: true, consumed: 0, window: 1 << 20, available: 1<<20 - 100},
		}},
		{"is never negative when it was lowered", []step{
			{sent: 1000, update: true, consumed: 0, window: 10, available: 0},
			{update: true, consumed: 990, window: 10, available: 0},
			{update: true, consumed: 995, window: 10, available: 5},
			{update: true, consumed: 1000, window: 0, available: 0},
		}},
		{"ignores an update older than the last", []step{
			{sent: 1000, update: true, consumed: 500, window: 600, available: 100},
			{update: true, consumed: 499, window: 1 << 20, available: 100},
			{update: true, consumed: 500, window: 700, available: 200},
		}},
		{"rejects bytes that were never sent, and is unchanged", []step{
			{update: true, consumed: 1, window: 1 << 20, available: flow.InitialWindow, err: flow.ErrConsumed},
			{sent: 10, update: true, consumed: 11, window: 1 << 20, available: flow.InitialWindow - 10, err: flow.ErrConsumed},
			{update: true, consumed: 10, window: 20, available: 20},
		}},
		{"takes a window of 2^31 or more for negative, as the protocol compares", []step{
			{update: true, window: math.MaxInt32, available: math.MaxInt32},
			{update: true, window: 1 << 31, available: 0},
			{update: true, window: math.MaxUint32, available: 0},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w flow.SendWindow
			for i, s := range tt.steps {
				w.AddSent(s.sent)
				if s.update {
					if err := w.Update(s.consumed, s.window); !errors.Is(err, s.err) {
						t.Fatalf("step %d: error %v, want %v", i, err, s.err)
					}
				}
				if got := w.Available(); got != s.available {
					t.Fatalf("step %d: %d bytes available, want %d", i, got, s.available)
				}
			}
		})
	}
}

// The error of Update carries what the peer claims and what was sent.
func TestConsumedErrorCarriesTheFigures(t *testing.T) {
	var w flow.SendWindow
	w.AddSent(7)
	err := w.Update(9, 100)
	var got *flow.ConsumedError
	_ = errors.As(err, &got)
	if diff := cmp.Diff(&flow.ConsumedError{Consumed: 9, Sent: 7}, got); diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSendWindowCountsAcrossTheWrap(t *testing.T) {
	var w flow.SendWindow
	const window = 1<<30 - 1
	sent, consumed := uint64(0), uint64(0)
	if err := w.Update(0, window); err != nil {
		t.Fatal(err)
	}
	for sent < 5<<32 {
		n := w.Available()
		if want := int(consumed + window - sent); n != want {
			t.Fatalf("sent %d, consumed %d: %d available, want %d", sent, consumed, n, want)
		}
		w.AddSent(n)
		sent += uint64(n)
		if err := w.Update(uint32(sent+1), window); !errors.Is(err, flow.ErrConsumed) {
			t.Fatalf("sent %d: consumed one more: error %v", sent, err)
		}
		consumed = sent - sent%1000
		if err := w.Update(uint32(consumed), window); err != nil {
			t.Fatal(err)
		}
		if err := w.Update(uint32(consumed-1), 0); err != nil || w.Available() == 0 {
			t.Fatalf("consumed %d: a stale update was applied (%v)", consumed, err)
		}
	}
}

// A stream that is idle, or carries little, costs little memory: what a window takes to measure its path is
// allocated by the first update.
func TestWindowsCostLittleMemory(t *testing.T) {
	if n := unsafe.Sizeof(flow.SendWindow{}); n > 16 {
		t.Errorf("a SendWindow has %d bytes", n)
	}
	if n := unsafe.Sizeof(flow.ReceiveWindow{}); n > 32 {
		t.Errorf("a ReceiveWindow has %d bytes", n)
	}
	account := flow.NewAccount(32 << 20)
	for updates, most := range []float64{0, 1, 1, 1} {
		n := testing.AllocsPerRun(10, func() {
			var w flow.ReceiveWindow
			w.Open(account)
			must(t, w.AddReceived(1000, 0, 0))
			w.AddRead(1000, 0)
			for range updates {
				must(t, w.AddReceived(100_000, 0, 0))
				w.AddRead(100_000, 0)
				w.Update(account, 0)
			}
			w.Finish(account)
		})
		if n > most {
			t.Errorf("a stream with %d updates makes %v allocations, want %v", updates, n, most)
		}
	}
	n := testing.AllocsPerRun(10, func() {
		var w flow.ReceiveWindow
		for range 2 { // its first window is lowered, and it is taken back
			if w.Open(flow.MaxWindow(50_000)) {
				w.Update(flow.MaxWindow(50_000), 0)
			}
			must(t, w.AddReceived(1000, 0, 0))
			w.AddRead(1000, 0)
			w.Reclaim(nil)
			if w.Reclaim(nil) == flow.Reclaimed {
				w.Update(flow.MaxWindow(50_000), 0)
			}
		}
	})
	if n > 0 {
		t.Errorf("an idle stream whose window is lowered makes %v allocations", n)
	}
}
