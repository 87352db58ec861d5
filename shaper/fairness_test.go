package shaper_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/shaper"
)

// Flows get equal bytes, whatever the size of their writes.
func TestFairAnyWriteSizeGetsEqualBytes(t *testing.T) {
	// With longer pauses a writer of 1 KiB does not need its share.
	for _, pause := range []int{0, 1, 4 * testutil.KiB} {
		for _, quantum := range []int{4 * testutil.KiB, shaper.DefaultQuantum, 128 * testutil.KiB} {
			t.Run(fmt.Sprintf("pause %d, quantum %d", pause, quantum), func(t *testing.T) {
				senders := append(
					copies(32, sender{write: 1 * testutil.KiB, pause: pause}),
					copies(32, sender{write: 128 * testutil.KiB, pause: pause})...)
				l := newLink(shaper.NewFair(shaper.WithQuantum(quantum)), senders...)
				l.run(256 * testutil.MiB)
				if index := jain(senders); index < 0.99 {
					t.Errorf("Jain's index is %.4f, want at least 0.99: 1 KiB writers sent %d, 128 KiB writers %d bytes",
						index, senders[0].sent, senders[63].sent)
				}
			})
		}
	}
}

// Flows get bytes by their weights.
func TestFairWeightsHoldWithin5Percent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write [3]int
		pause int
		off   float64
	}{
		{"always more", [3]int{math.MaxInt, math.MaxInt, math.MaxInt}, 0, 0.05},
		{"small writes", [3]int{testutil.KiB, testutil.KiB, testutil.KiB}, 0, 0.05},
		{"the heaviest writes least", [3]int{128 * testutil.KiB, 16 * testutil.KiB, testutil.KiB}, 0, 0.05},
		{"the heaviest writes most", [3]int{testutil.KiB, 16 * testutil.KiB, 128 * testutil.KiB}, 0, 0.05},
		{"refilled a turn later", [3]int{128 * testutil.KiB, 16 * testutil.KiB, 20 * testutil.KiB}, 1, 0.05},
		// A flow that is away when a round ends loses the rest of its credit. The
		// heaviest flow has most to lose.
		{"a KiB refilled a turn later", [3]int{testutil.KiB, testutil.KiB, testutil.KiB}, 1, 0.07},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var senders []*sender
			for i, weight := range []int{1, 2, 4} {
				senders = append(senders, copies(3, sender{write: tt.write[i], pause: tt.pause, weight: weight})...)
			}
			l := newLink(shaper.NewFair(), senders...)
			l.run(64 * testutil.MiB)
			base := float64(l.now) / (3 * (1 + 2 + 4))
			for _, w := range senders {
				if got := float64(w.sent) / base; math.Abs(got/float64(w.weight)-1) > tt.off {
					t.Errorf("weight %d got %.3f shares", w.weight, got)
				}
			}
		})
	}
}

// A flow gains no credit by leaving and coming back, in whatever rhythm.
func TestFairEmptyingGainsNothing(t *testing.T) {
	for _, write := range []int{64, testutil.KiB, 16 * testutil.KiB, maxPayload, 33 * testutil.KiB, 63 * testutil.KiB, 2 * maxPayload} {
		for _, pause := range []int{0, 1, 32 * testutil.KiB, 64 * testutil.KiB, 128 * testutil.KiB, 250 * testutil.KiB} {
			t.Run(fmt.Sprintf("write %d, pause %d", write, pause), func(t *testing.T) {
				gamer := &sender{write: write, pause: pause}
				senders := append(copies(8, sender{write: math.MaxInt}), gamer)
				l := newLink(shaper.NewFair(), senders...)
				l.run(64 * testutil.MiB)
				if share := float64(gamer.sent) / float64(l.now) * 9; share > 1.05 {
					t.Errorf("it got %.3f of its share", share)
				}
			})
		}
	}
}

// A flow pays back what it has overdrawn, however large its frames are.
func TestFairOverdraftIsPaidBack(t *testing.T) {
	fair := shaper.NewFair(shaper.WithQuantum(4 * testutil.KiB))
	frames := []int{100, 5 * testutil.KiB, 65543}
	flows := make([]shaper.Flow, len(frames))
	sent := make([]int, len(frames))
	for i := range flows {
		flows[i].Owner = i
		fair.Push(&flows[i], shaper.Data)
	}
	for range 200_000 {
		f, c, _ := fair.Pop()
		i := f.Owner.(int)
		sent[i] += frames[i]
		fair.EndTurn(f, c, frames[i], true)
	}
	if low, high := slices.Min(sent), slices.Max(sent); high-low > 2*65543 {
		t.Errorf("bytes sent: %v: they differ by more than two frames", sent)
	}
}

// A flow that needs less than its share waits only for the frame that is being sent,
// whether it comes seldom or comes back at once.
func TestFairSmallFlowGoesNext(t *testing.T) {
	for _, pause := range []int{1, 10 * testutil.KiB, 100 * testutil.KiB, 300 * testutil.KiB, 10 * testutil.MiB} {
		t.Run(fmt.Sprintf("pause %d", pause), func(t *testing.T) {
			small := &sender{write: 64, pause: pause}
			bulk := copies(8, sender{write: 128 * testutil.KiB})
			l := newLink(shaper.NewFair(), append(bulk, small)...)
			l.run(8 * testutil.MiB)
			small.waited = nil
			l.run(512 * testutil.MiB)
			slices.Sort(small.waited)
			n := len(small.waited)
			if worst := small.waited[n-1]; worst > maxPayload+header {
				t.Errorf("of %d writes, half waited up to %d bytes, 99%% %d, all %d; want at most one frame, %d",
					n, small.waited[n/2], small.waited[n*99/100], worst, maxPayload+header)
			}
			if index := jain(bulk); index < 0.999 {
				t.Errorf("Jain's index of the bulk flows is %.4f", index)
			}
		})
	}
}

// Streams that write once and are closed go first, but do not starve old flows.
func TestFairNewFlowsDoNotStarveOldOnes(t *testing.T) {
	fair := shaper.NewFair()
	var bulk shaper.Flow
	fair.Push(&bulk, shaper.Data)
	f, c, _ := fair.Pop()
	fair.EndTurn(f, c, shaper.DefaultQuantum, true)

	const batch = 4
	var bulkSent, newSent, run, worst int
	for range 20_000 {
		for range batch {
			fair.Push(new(shaper.Flow), shaper.Data)
		}
		f, c, n := fair.Pop()
		if f == &bulk {
			bulkSent += n
			run = 0
		} else {
			n = 2000
			newSent += n
			run += n
		}
		worst = max(worst, run)
		fair.EndTurn(f, c, n, f == &bulk)
	}
	if worst > 9*shaper.DefaultQuantum {
		t.Errorf("%d bytes of new flows went out in a row", worst)
	}
	if share := float64(bulkSent) / float64(bulkSent+newSent); share < 0.10 {
		t.Errorf("the old flow got %.3f of the bytes", share)
	}
}

// Shares hold if the owner collects a batch, which is many turns in progress at once, and each
// flow uses its whole turn.
func TestFairSharesHoldWithManyTurns(t *testing.T) {
	type turn struct {
		flow *shaper.Flow
		n    int
	}
	for _, batch := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("batches of %d", batch), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(batch)))
			fair := shaper.NewFair()
			flows := make([]shaper.Flow, 100)
			sent := make([]int, len(flows))
			for i := range flows {
				flows[i].Owner = i
				flows[i].SetWeight(1 << (i % 3))
				fair.Push(&flows[i], shaper.Data)
			}
			total, weights := 0, 0
			for i := range flows {
				weights += flows[i].Weight()
			}
			var open []turn
			for total < 1<<30 {
				for len(open) < batch {
					f, _, n := fair.Pop()
					open = append(open, turn{f, n})
				}
				rnd.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
				for _, o := range open {
					n := o.n - 5000 + rnd.IntN(10_000)
					sent[o.flow.Owner.(int)] += n
					total += n
					fair.EndTurn(o.flow, shaper.Data, n, true)
				}
				open = open[:0]
			}
			for i, n := range sent {
				share := float64(total) / float64(weights) * float64(flows[i].Weight())
				if got := float64(n) / share; math.Abs(got-1) > 0.05 {
					t.Errorf("flow %d of weight %d got %.3f of its share", i, flows[i].Weight(), got)
				}
			}
		})
	}
}
