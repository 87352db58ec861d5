package session_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// One stream gets nearly all of the link, whatever its rate and round-trip time, with the default Config: the
// table of docs/flow-control.md. The bytes are not checked; other tests do that. With the race detector, sizes and
// rates are an eighth.
func TestOneStreamFillsAPathOfAnyRateAndRoundTrip(t *testing.T) {
	size := scaled(256*testutil.MiB, 8)
	for _, tt := range []struct {
		name              string
		rate              int64
		rtt               time.Duration
		whole, secondHalf float64
	}{
		{"1 Gbit/s and 100 ms", simnet.Gbit, 100 * time.Millisecond, 0.80, 0.95},
		{"1 Gbit/s and 10 ms", simnet.Gbit, 10 * time.Millisecond, 0.95, 0.95},
		{"100 Mbit/s and 200 ms", 100 * simnet.Mbit, 200 * time.Millisecond, 0.90, 0.95},
		{"10 Mbit/s and 300 ms", 10 * simnet.Mbit, 300 * time.Millisecond, 0.95, 0.95},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				rate := scaled(tt.rate, 8)
				budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
				c, s := sessionsOver(t, path(rate, tt.rtt), v2(), &session.Config{Version: 2, Budget: budget})
				elapsed := testutil.Clock()
				go writeN(open(t, c), size, 64*testutil.KiB)
				in := accept(t, s)
				var half time.Duration
				window := 0
				readN(t, in, size, func(read int64) {
					window = max(window, budget.Committed())
					if half == 0 && read >= size/2 {
						half = elapsed()
					}
				})
				all := elapsed()
				whole, second := share(size, all, rate), share(size/2, all-half, rate)
				t.Logf("share of the link %.3f, of the second half %.3f; largest window %d KiB", whole, second, window/testutil.KiB)
				if whole < tt.whole || second < tt.secondHalf {
					t.Errorf("share of the link %.3f, of the second half %.3f; want %.2f and %.2f", whole, second, tt.whole, tt.secondHalf)
				}
			})
		})
	}
}

// A reader that takes 1 MB/s keeps its window under 1 MiB, and gets its 1 MB/s, on any path.
func TestReaderOf1MBPerSecondKeepsTheWindowUnder1MiB(t *testing.T) {
	const rate, run = 1_000_000, 20 * time.Second
	rtts := []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond}
	for i, piece := range []int{4 * testutil.KiB, 32 * testutil.KiB, 256 * testutil.KiB, 512 * testutil.KiB, testutil.MiB} {
		for j, rtt := range rtts {
			if testutil.Race && i != j {
				continue
			}
			t.Run(fmt.Sprintf("%v/reads of %d KiB", rtt, piece/testutil.KiB), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
					c, s := sessionsOver(t, path(simnet.Gbit, rtt), v2(), &session.Config{Version: 2, Budget: budget})
					go writeUntilEnd(open(t, c), 64*testutil.KiB)
					in := accept(t, s)
					elapsed := testutil.Clock()
					buf := make([]byte, piece)
					var read int64
					window := 0
					for elapsed() < run {
						n, err := in.Read(buf)
						if err != nil {
							t.Fatal(err)
						}
						read += int64(n)
						window = max(window, budget.Committed())
						time.Sleep(time.Duration(n) * time.Second / rate)
					}
					got := share(read, elapsed(), rate)
					t.Logf("largest window %d KiB, %.3f MB/s", window/testutil.KiB, got)
					if window >= testutil.MiB || got < 0.95 {
						t.Errorf("largest window %d bytes, want less than 1 MiB; %.3f MB/s, want 1", window, got)
					}
				})
			})
		}
	}
}

// Time alone does not make a window grow: a sender that has little to send does not change it.
func TestWindowDoesNotGrowByTimeAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
		c, s := sessionsOver(t, path(simnet.Gbit, 100*time.Millisecond), v2(), &session.Config{Version: 2, Budget: budget})
		out, in := openPair(t, c, s)
		go readUntilEnd(in, new(atomic.Int64))
		for range 2000 {
			if _, err := out.Write(make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if window := budget.Committed(); window > flow.InitialWindow {
				t.Fatalf("the window has grown to %d bytes", window)
			}
		}
	})
}

// No window exceeds Config.MaxStreamWindow, which then limits the stream.
func TestWindowNeverExceedsMaxStreamWindow(t *testing.T) {
	const rtt, most = 100 * time.Millisecond, testutil.MiB
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
		a, b := testutil.SimPair(t, path(simnet.Gbit, rtt))
		windows := tapUpdates(b)
		c := client(t, a, v2())
		s := server(t, windows, &session.Config{Version: 2, Budget: budget, MaxStreamWindow: most})
		elapsed := testutil.Clock()
		const size = 16 * testutil.MiB
		go writeN(open(t, c), size, 64*testutil.KiB)
		readN(t, accept(t, s), size, nil)
		for _, u := range windows.list() {
			if u.window > most {
				t.Fatalf("a window of %d bytes, more than %d", u.window, most)
			}
		}
		want := float64(most) / rtt.Seconds()
		got := float64(size) / elapsed().Seconds()
		t.Logf("%.1f MB/s, of %.1f MB/s that the window allows", got/1e6, want/1e6)
		if got < 0.8*want || got > want {
			t.Errorf("%.1f MB/s, want nearly the %.1f MB/s that the window allows", got/1e6, want/1e6)
		}
	})
}

// A steady flow gets at most one update for each quarter of a window, or for each 512 KiB of a large one.
func TestWindowUpdatesComeOncePerQuarterAtMost(t *testing.T) {
	for _, tt := range []struct {
		rate  int64
		rtt   time.Duration
		start int64 // by then it has found its size
		size  int
	}{
		{8 * simnet.Gbit, 0, 8 * testutil.MiB, 8 * testutil.MiB},
		{100 * simnet.Mbit, time.Millisecond, 4 * testutil.MiB, 8 * testutil.MiB},
		{100 * simnet.Mbit, 100 * time.Millisecond, 16 * testutil.MiB, 16 * testutil.MiB},
		{10 * simnet.Mbit, 300 * time.Millisecond, 4 * testutil.MiB, 8 * testutil.MiB},
	} {
		t.Run(fmt.Sprintf("%d Mbit/s and %v", tt.rate/simnet.Mbit, tt.rtt), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := testutil.SimPair(t, path(tt.rate, tt.rtt))
				taps := tapUpdates(b)
				c, s := client(t, a, v2()), server(t, taps, v2())
				go writeUntilEnd(open(t, c), 64*testutil.KiB)
				in := accept(t, s)
				readN(t, in, tt.start, nil)
				before := len(taps.list())
				readN(t, in, int64(tt.size), nil)
				updates := taps.list()[before:]
				least := uint32(1 << 31)
				for _, u := range updates {
					least = min(least, u.window)
				}
				t.Logf("%d updates for %d MiB, window %d KiB: one for %.2f of it",
					len(updates), tt.size/testutil.MiB, least/testutil.KiB, float64(tt.size)/float64(len(updates))/float64(least))
				if most := tt.size/min(int(least/4), 512*testutil.KiB) + 1; len(updates) > most {
					t.Errorf("%d updates for %d bytes, want at most %d with a window of %d", len(updates), tt.size, most, least)
				}
			})
		})
	}
}

// A stream sends no update after the peer's FIN, however much of its data is read later.
func TestWindowUpdateDoesNotFollowFIN(t *testing.T) {
	for _, size := range []int64{1, 100 * testutil.KiB, flow.InitialWindow} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := testutil.SimPair(t, path(simnet.Gbit, 10*time.Millisecond))
				taps := tapUpdates(b)
				c, s := client(t, a, v2()), server(t, taps, v2())
				out := open(t, c)
				if _, err := writeN(out, size, 32*testutil.KiB); err != nil {
					t.Fatal(err)
				}
				if err := out.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // FIN has come
				before := len(taps.list())
				readN(t, accept(t, s), size, nil)
				time.Sleep(time.Second)
				if n := len(taps.list()) - before; n > 0 {
					t.Errorf("%d updates after FIN", n)
				}
			})
		})
	}
}

// If many streams share a budget, new ones are told at once that they have less than the 262,144 bytes that the
// peer assumes. All promises together never exceed the budget.
func TestNewStreamsAreGrantedLessOfASharedBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(4 * testutil.MiB)
		a, b := testutil.SimPair(t, path(simnet.Gbit, 10*time.Millisecond))
		taps := tapUpdates(b)
		c, s := client(t, a, v2()), server(t, taps, &session.Config{Version: 2, Budget: budget})
		var last *stream.Stream
		for range 32 {
			last = open(t, c)
			if _, err := last.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			accept(t, s)
			if n := budget.Committed(); n > budget.Size() {
				t.Fatalf("%d bytes are promised of a budget of %d", n, budget.Size())
			}
		}
		time.Sleep(time.Second)
		u, ok := taps.last(last.ID())
		if !ok || u.window >= flow.InitialWindow || u.consumed != 0 {
			t.Errorf("the last stream's update is %+v (%v), want one that lowers the first window", u, ok)
		}
	})
}

// Streams that were busy and are idle give back the windows that they do not use: another stream gets the window
// it needs, a second later than alone. Rate, budget and largest window are a quarter of the defaults and of the
// path they are meant for.
func TestIdleStreamsGiveBackTheirWindows(t *testing.T) {
	const rtt, rate, size = 100 * time.Millisecond, simnet.Gbit / 4, 48 * testutil.MiB
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(session.DefaultMaxReceiveBuffer / 4)
		cfg := &session.Config{Version: 2, Budget: budget, MaxStreamWindow: session.DefaultMaxStreamWindow / 4}
		c, s := sessionsOver(t, path(rate, rtt), v2(), cfg)
		// One after the other, so that each grows as far as it can.
		for range 4 {
			go writeN(open(t, c), size/4, 64*testutil.KiB)
			readN(t, accept(t, s), size/4, nil)
		}
		held := budget.Committed()
		go writeN(open(t, c), size, 64*testutil.KiB)
		in := accept(t, s)
		elapsed := testutil.Clock()
		readN(t, in, size/2, nil)
		half := elapsed()
		readN(t, in, size/2, nil)
		first, second := share(size/2, half, rate), share(size/2, elapsed()-half, rate)
		t.Logf("with %d KiB promised to idle streams: %.3f of the link in the first half, %.3f in the second", held/testutil.KiB, first, second)
		if second < 0.9 {
			t.Errorf("%.3f of the link in the second half, want 0.9", second)
		}
	})
}

// On loopback the window stays under 1 MiB. A larger one gains nothing there and does not fit in the cache.
// BenchmarkLoopback measures the throughput.
func TestWindowOnLoopbackStaysUnder1MiB(t *testing.T) {
	testutil.LeakCheck(t)
	budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
	a, b := testutil.TCPPair(t)
	c, s := client(t, a, v2()), server(t, b, &session.Config{Version: 2, Budget: budget})
	size := scaled(256*testutil.MiB, 8)
	go writeN(open(t, c), size, 64*testutil.KiB)
	window := 0
	readN(t, accept(t, s), size, func(int64) { window = max(window, budget.Committed()) })
	t.Logf("largest window %d KiB", window/testutil.KiB)
	if window >= testutil.MiB {
		t.Errorf("the window grew to %d bytes, want less than 1 MiB", window)
	}
}

// BenchmarkLoopback compares the window that sizes itself with one of 256 KiB. They run in turns, so that changes
// of the machine's speed affect both. "ratio" is the throughput of the first divided by that of the second.
func BenchmarkLoopback(b *testing.B) {
	b.ReportAllocs()
	const size = 256 * testutil.MiB
	transfer := func(most int) time.Duration {
		ca, cb := testutil.TCPPair(b)
		c, s := client(b, ca, v2()), server(b, cb, &session.Config{Version: 2, MaxStreamWindow: most})
		defer func() { _, _ = c.Close(), s.Close() }()
		elapsed := testutil.Clock()
		go writeN(open(b, c), size, 64*testutil.KiB)
		readN(b, accept(b, s), size, nil)
		return elapsed()
	}
	var tuned, fixed time.Duration
	for i := 0; b.Loop(); i++ {
		// They take turns in going first.
		if i%2 == 0 {
			tuned += transfer(0)
			fixed += transfer(flow.InitialWindow)
		} else {
			fixed += transfer(flow.InitialWindow)
			tuned += transfer(0)
		}
	}
	mb := float64(size) * float64(b.N) / 1e6
	b.ReportMetric(mb/tuned.Seconds(), "tuned-MB/s")
	b.ReportMetric(mb/fixed.Seconds(), "fixed-MB/s")
	b.ReportMetric(fixed.Seconds()/tuned.Seconds(), "ratio")
}
