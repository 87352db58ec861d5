package flow_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
)

// committable returns the most that a budget commits.
func committable(b *flow.Budget) int { return b.Size() - b.Size()/8 }

// A stream that is alone gets the window that it asks for, up to the maximum.
func TestResizeGivesALoneStreamWhatItNeeds(t *testing.T) {
	account := flow.NewAccount(32 << 20)
	if got := account.Resize(0, flow.InitialWindow); got != flow.InitialWindow {
		t.Fatalf("first window %d", got)
	}
	have := flow.InitialWindow
	for _, want := range []int{1 << 20, 4 << 20, 16 << 20} {
		if have = account.Resize(have, want); have != want {
			t.Fatalf("asked for %d, got %d", want, have)
		}
	}
	if got := account.Resize(have, 64<<20); got != flow.DefaultMaxWindow {
		t.Errorf("beyond the largest window: got %d", got)
	}
	account.SetMaxWindow(1 << 20)
	if got := account.Resize(have, have); got != 1<<20 {
		t.Errorf("with a smaller largest window: got %d", got)
	}
	if got := account.Resize(1<<20, 0); got != 0 || account.Budget().Committed() != 0 {
		t.Errorf("gave all back: %d, %d still committed", got, account.Budget().Committed())
	}
}

// A new stream takes nothing from the budget if it would get no more than MinWindow, which it has anyway.
func TestResizeGivesNewStreamsNothingBelowMinWindow(t *testing.T) {
	account := flow.NewAccount(32 << 20)
	for i := range 100 {
		before := account.Committed()
		got := account.Resize(0, flow.InitialWindow)
		if got != 0 && got <= flow.MinWindow || got != account.Committed()-before {
			t.Fatalf("stream %d gets %d, and %d are committed", i, got, account.Committed()-before)
		}
		if got == 0 && i < 24 {
			t.Fatalf("stream %d gets nothing", i)
		}
	}
}

// The more is committed, the less a new stream gets. Streams that only open cause no
// pressure.
func TestResizeGivesNewStreamsLessAndLess(t *testing.T) {
	account := flow.NewAccount(32 << 20)
	account.OnPressure(func() { t.Error("a stream that only opens asks for idle windows") })
	last, full, least := flow.InitialWindow, 0, 0
	for i := range 100_000 {
		var w flow.ReceiveWindow
		due := w.Open(account)
		if w.Window() > last+1 {
			t.Fatalf("stream %d gets %d, more than the one before", i, w.Window())
		}
		if due != (w.Window() < flow.InitialWindow) {
			t.Fatalf("stream %d gets %d: due=%v", i, w.Window(), due)
		}
		last = w.Window()
		switch {
		case last == flow.InitialWindow:
			full++
		case last == 16<<10-1:
			least++
		case last < 16<<10-1:
			t.Fatalf("stream %d gets %d", i, last)
		}
	}
	if full < 20 || least < 99_900 {
		t.Errorf("%d streams of 100,000 got the first window, %d the least", full, least)
	}
	b := account.Budget()
	if b.Committed() > committable(b)/4 {
		t.Errorf("streams that only opened were committed %d", b.Committed())
	}
	// A stream in use can still grow, and other streams can still open.
	if got := account.Resize(0, 8<<20); got < 6<<20 {
		t.Errorf("a stream that needs 8 MiB got %d", got)
	}
	var w flow.ReceiveWindow
	if !w.Open(account) || w.Window() != 16<<10-1 {
		t.Errorf("a new stream gets %d", w.Window())
	}
}

// Under pressure Reclaim takes back the windows of idle streams, and a busy stream gets
// them.
func TestReclaimTakesBackIdleWindows(t *testing.T) {
	b := flow.NewBudget(32 << 20)
	idleAccount, busyAccount := b.NewAccount(), b.NewAccount()
	signals := 0
	idleAccount.OnPressure(func() { signals++ })

	// The windows of two streams of one session have grown, and the streams are idle.
	sim := &simulation{}
	idle := make([]*transfer, 2)
	for i := range idle {
		idle[i] = newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, idleAccount)
		idle[i].write(128 << 20)
	}
	sim.run(20 * time.Second)
	held := b.Committed()
	if held < 20<<20 {
		t.Fatalf("only %d committed", held)
	}
	// A stream of another session needs a larger window and does not get it.
	busy := newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, busyAccount)
	busy.write(math.MaxInt)
	sim.run(30 * time.Second)
	if !idleAccount.UnderPressure() || signals == 0 {
		t.Errorf("pressed=%v, %d signals", idleAccount.UnderPressure(), signals)
	}
	if busy.in.Window() > committable(b)-held+64<<10 {
		t.Errorf("the busy stream got %d", busy.in.Window())
	}
	// The first Reclaim spares a stream that was used before.
	for range 2 {
		for _, x := range idle {
			if x.in.Reclaim(idleAccount) == flow.Reclaimed {
				x.update()
			}
		}
	}
	sim.run(32 * time.Second)
	before := busy.read
	sim.run(42 * time.Second)
	if rate := float64(busy.read-before) / 10 / simnet.Gbit; rate < 0.95 {
		t.Errorf("the busy stream then got %.2f of the rate, window %d", rate, busy.in.Window())
	}
	if got := b.Committed(); got != busy.in.Window() {
		t.Errorf("%d committed for a window of %d", got, busy.in.Window())
	}
	// A stream whose window was taken grows again.
	busy.left = 0
	busy.in.Finish(busyAccount)
	idle[0].write(64 << 20)
	sim.run(60 * time.Second)
	if idle[0].read != 192<<20 {
		t.Errorf("%d bytes were read", idle[0].read)
	}
	if idle[0].in.Window() < 4<<20 {
		t.Errorf("a window that was taken back grew to %d only", idle[0].in.Window())
	}
}

// Under pressure a stream in use gives up the part of its window that it does not need.
func TestReceiveWindowShrinksUnderPressure(t *testing.T) {
	sim := &simulation{}
	account := flow.NewAccount(32 << 20)
	x := newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, account)
	x.write(512 << 20)
	sim.run(10 * time.Second)
	big := x.in.Window()
	if big < 15<<20 {
		t.Fatalf("the window grew to %d only", big)
	}
	trickle := func(from, to time.Duration) {
		for at := from; at < to; at += 10 * time.Millisecond {
			sim.run(at)
			x.write(8 << 10)
		}
	}
	trickle(10*time.Second, 60*time.Second)
	if x.in.Window() != big {
		t.Errorf("without need the window went from %d to %d", big, x.in.Window())
	}
	account.Resize(0, 11<<20)
	if !account.UnderPressure() {
		t.Fatal("the budget is not under pressure")
	}
	trickle(60*time.Second, 120*time.Second)
	if x.in.Window() > big/2 || account.UnderPressure() {
		t.Errorf("the window is still %d, pressed=%v", x.in.Window(), account.UnderPressure())
	}
}

// Beside 64 unread streams another one reaches nine tenths of the rate that it reaches
// alone.
func TestBudgetUnreadStreamsDoNotStopAnother(t *testing.T) {
	const size = 256 << 20
	for _, rtt := range []time.Duration{50 * time.Microsecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		run := func(unread int) float64 {
			sim := &simulation{}
			account := flow.NewAccount(32 << 20)
			var streams []*transfer
			line := &link{sim: sim, rate: simnet.Gbit, delay: rtt / 2, buffer: 64 << 10}
			for range unread {
				x := newTransfer(t, sim, simnet.Gbit, rtt, account)
				x.link = line
				x.readEvery = 24 * time.Hour
				x.write(1 << 30)
				streams = append(streams, x)
			}
			sim.run(time.Second)
			x := newTransfer(t, sim, simnet.Gbit, rtt, account)
			x.link = line
			start := sim.now
			x.write(size)
			sim.run(time.Minute)
			if x.read != size {
				t.Fatalf("%v: %d bytes were read", rtt, x.read)
			}
			held := 0
			for _, x := range streams {
				held += x.in.Unread()
			}
			if b := account.Budget(); held > b.Size() || b.Committed() > committable(b) {
				t.Errorf("%v: %d bytes unread, %d committed", rtt, held, b.Committed())
			}
			return size / (x.times[len(x.times)-1] - start).Seconds()
		}
		alone := run(0)
		got := run(64)
		t.Logf("%v: %.3f of what it reaches alone", rtt, got/alone)
		if got < 0.9*alone {
			t.Errorf("%v: %.2f of what it reaches alone", rtt, got/alone)
		}
	}
}

// Streams that share a budget fill the path, whatever their number.
func TestBudgetSharedByStreamsFillsThePath(t *testing.T) {
	for _, n := range []int{2, 8, 64, 400} {
		sim := &simulation{}
		b := flow.NewBudget(32 << 20)
		line := &link{sim: sim, rate: simnet.Gbit, delay: 25 * time.Millisecond, buffer: 64 << 10}
		var streams []*transfer
		for range n {
			x := newTransfer(t, sim, simnet.Gbit, 50*time.Millisecond, b.NewAccount())
			x.link = line
			x.write(math.MaxInt)
			streams = append(streams, x)
		}
		total := func() (read, windows int) {
			for _, x := range streams {
				read += x.read
				windows += x.in.Window()
			}
			return
		}
		sim.run(3 * time.Second)
		before, _ := total()
		sim.run(5 * time.Second)
		after, windows := total()
		if rate := float64(after-before) / 2 / simnet.Gbit; rate < 0.95 {
			t.Errorf("%d streams: %.2f of the rate", n, rate)
		}
		if b.Committed() > committable(b) || b.Committed() > windows+n {
			t.Errorf("%d streams: %d committed, windows of %d", n, b.Committed(), windows)
		}
	}
}

// The committed windows never exceed seven eighths of the budget, and are 0 in the end.
func TestResizeNeverExceedsTheBudget(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := flow.NewBudget(1 << (16 + rng.IntN(10)))
		accounts := []*flow.Account{b.NewAccount(), b.NewAccount(), b.NewAccount()}
		type stream struct {
			w       flow.ReceiveWindow
			account *flow.Account
		}
		var streams []*stream
		now := time.Duration(0)
		for range 20_000 {
			now += time.Duration(rng.IntN(30_000)) * time.Microsecond
			if len(streams) == 0 || rng.IntN(20) == 0 {
				s := &stream{account: accounts[rng.IntN(len(accounts))]}
				s.w.Open(s.account)
				streams = append(streams, s)
			}
			i := rng.IntN(len(streams))
			s := streams[i]
			switch rng.IntN(20) {
			case 0:
				s.w.Finish(s.account)
				streams[i] = streams[len(streams)-1]
				streams = streams[:len(streams)-1]
			case 1:
				s.w.Reclaim(s.account)
			default:
				n := rng.IntN(s.w.Window() + 1)
				if s.w.AddReceived(n, now, 0) != nil {
					s.w.Finish(s.account)
					streams[i] = streams[len(streams)-1]
					streams = streams[:len(streams)-1]
					break
				}
				if rng.IntN(2) == 0 {
					n = s.w.Unread()
				} else {
					n = rng.IntN(s.w.Unread() + 1)
				}
				if s.w.AddRead(n, now) {
					s.w.Update(s.account, now)
				}
				must(t, s.w.Check())
			}
			if got := b.Committed(); got < 0 || got > committable(b) {
				t.Fatalf("seed %d: %d committed of %d", seed, got, b.Size())
			}
		}
		for _, s := range streams {
			s.w.Finish(s.account)
		}
		if got := b.Committed(); got != 0 {
			t.Errorf("seed %d: %d committed when all streams have finished", seed, got)
		}
	}
}

// With a largest window below InitialWindow, a new stream gets that, and has to tell its peer. It still gets no more
// than its share of the first quarter, and causes no pressure.
func TestSmallMaxWindowBoundsNewStreams(t *testing.T) {
	for _, most := range []int{1, flow.MinWindow, flow.MinWindow + 1, 65_535, 65_536, flow.InitialWindow - 1} {
		account := flow.NewAccount(32 << 20)
		account.SetMaxWindow(most)
		account.OnPressure(func() { t.Error("a stream that only opens asks for idle windows") })
		want := max(flow.MinWindow, (most-1)|1)
		last := want
		for i := range 10_000 {
			var w flow.ReceiveWindow
			if !w.Open(account) {
				t.Fatalf("%d: no update is due", most)
			}
			if i == 0 && w.Window() != want || w.Window() > last {
				t.Fatalf("%d: stream %d gets a window of %d", most, i, w.Window())
			}
			if last = w.Window(); last == want && i == 0 {
				if _, window := w.Update(account, 0); int(window) != want {
					t.Errorf("%d: the update says %d", most, window)
				}
			}
		}
		if got, limit := account.Budget().Committed(), committable(account.Budget())/4; got > limit {
			t.Errorf("%d: %d bytes are committed to new streams, want at most %d", most, got, limit)
		}
	}
}
