package shaper_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/smuxkit/smuxkit/shaper"
)

// A turn is the flow and class of a turn that Pop began.
type turn struct {
	flow  int
	class shaper.Class
}

// FuzzFair makes the same calls on Fair and the model, and checks what holds for any
// scheduler: a flow that waits is served once, and no other flow is.
func FuzzFair(f *testing.F) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		calls := make([]byte, 20+rnd.IntN(600))
		for i := range calls {
			calls[i] = byte(rnd.Uint32())
		}
		f.Add(calls)
	}
	f.Fuzz(driveFair)
}

// Fair does what the model does, over random calls.
func TestFairMatchesTheModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		calls := make([]byte, 6000)
		for i := range calls {
			calls[i] = byte(rnd.Uint32())
		}
		driveFair(t, calls)
	}
}

func driveFair(t *testing.T, calls []byte) {
	next := func() int {
		if len(calls) == 0 {
			return 0
		}
		b := calls[0]
		calls = calls[1:]
		return int(b)
	}

	quantum := []int{shaper.MinQuantum, 4 << 10, shaper.DefaultQuantum}[next()%3]
	flows := make([]shaper.Flow, 1+next()%16)
	fair := shaper.NewFair(shaper.WithQuantum(quantum))
	plain := newModel(len(flows), quantum)
	number := make(map[*shaper.Flow]int)
	for i := range flows {
		number[&flows[i]] = i
	}

	waits := make(map[turn]bool) // flows that wait
	open := []turn{}             // turns in progress
	again := make(map[turn]bool) // pushed during their turn
	push := func(at turn) {
		if slices.Contains(open, at) {
			again[at] = true
			return
		}
		waits[at] = true
	}
	pop := func() bool {
		f, c, n := fair.Pop()
		i, mc, mn := plain.pop()
		if f == nil {
			if i >= 0 || len(waits) > 0 {
				t.Fatalf("Pop: nobody; the model says flow %d, and %d wait", i, len(waits))
			}
			return false
		}
		got := turn{number[f], c}
		if got != (turn{i, mc}) || n != mn {
			t.Fatalf("Pop: %v of flow %d, %d bytes; the model says %v of flow %d, %d bytes", c, got.flow, n, mc, i, mn)
		}
		if !waits[got] {
			t.Fatalf("Pop: %v of flow %d, which does not wait", c, got.flow)
		}
		if n <= 0 {
			t.Fatalf("Pop: a turn of %d bytes", n)
		}
		delete(waits, got)
		open = append(open, got)
		return true
	}
	settle := func(k, n int, more bool) {
		at := open[k]
		open = append(open[:k], open[k+1:]...)
		if more || again[at] {
			waits[at] = true
		}
		delete(again, at)
		fair.EndTurn(&flows[at.flow], at.class, n, more)
		plain.endTurn(at.flow, at.class, n, more)
	}

	for len(calls) > 0 {
		switch call := next(); call % 16 {
		case 0, 1, 2, 3:
			i := next() % len(flows)
			at := turn{i, shaper.Class(call >> 4 & 1)}
			push(at)
			fair.Push(&flows[i], at.class)
			plain.push(i, at.class)
		case 4, 5, 6, 7, 8:
			pop()
		case 9, 10, 11, 12, 13:
			if len(open) == 0 {
				continue
			}
			n := next() << (call >> 4 % 9) // 0 to 65,280
			settle(next()%len(open), n, call&128 != 0)
		case 14:
			at := turn{next() % len(flows), shaper.Class(call >> 5 & 1)}
			if !slices.Contains(open, at) { // an EndTurn without a turn does nothing
				fair.EndTurn(&flows[at.flow], at.class, 100, true)
			}
		case 15:
			i, w := next()%len(flows), 1+next()
			flows[i].SetWeight(w)
			plain.flows[i].weight = w
		}
		if fair.Empty() != (len(waits) == 0) {
			t.Fatalf("Empty is %v while %d wait", fair.Empty(), len(waits))
		}
	}

	for len(open) > 0 {
		settle(0, 8, false)
	}
	for pop() {
		settle(0, 8, false)
	}
	if !fair.Empty() || len(waits) > 0 {
		t.Fatalf("%d flows were lost", len(waits))
	}
}
