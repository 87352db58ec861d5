package shaper_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/shaper"
)

const q = shaper.DefaultQuantum

// A bench is a Fair with named flows.
type bench struct {
	*testing.T
	*shaper.Fair
	flows map[string]*shaper.Flow
}

func newBench(t *testing.T, options ...shaper.FairOption) *bench {
	return &bench{T: t, Fair: shaper.NewFair(options...), flows: make(map[string]*shaper.Flow)}
}

func (b *bench) flow(name string) *shaper.Flow {
	if b.flows[name] == nil {
		b.flows[name] = &shaper.Flow{Owner: name}
	}
	return b.flows[name]
}

func (b *bench) push(names string, c shaper.Class) {
	for name := range strings.FieldsSeq(names) {
		b.Push(b.flow(name), c)
	}
}

// turn calls Pop and EndTurn, and returns the flow's name.
func (b *bench) turn(n int, more bool) string {
	f, c, _ := b.Pop()
	if f == nil {
		return "-"
	}
	b.EndTurn(f, c, n, more)
	if c == shaper.Control {
		return "!" + f.Owner.(string)
	}
	return f.Owner.(string)
}

func (b *bench) turns(count, n int, more bool) string {
	var order []string
	for range count {
		order = append(order, b.turn(n, more))
	}
	return strings.Join(order, " ")
}

func (b *bench) want(what, want, got string) {
	b.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// old makes the flows old ones that always have more to send, in this order.
func (b *bench) old(names string) {
	b.push(names, shaper.Data)
	for range strings.Fields(names) {
		b.turn(q, true)
	}
}

// A Flow takes at most 56 bytes: every stream has one.
func TestFlowIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(shaper.Flow{}); unsafe.Sizeof(uintptr(0)) == 8 && size > 56 {
		t.Errorf("it has %d bytes", size)
	}
}

// The zero Fair is an empty scheduler of the default quantum.
func TestFairZeroValueIsReady(t *testing.T) {
	var s shaper.Fair
	if f, _, _ := s.Pop(); f != nil || !s.Empty() {
		t.Errorf("flow %v waits", f)
	}
	var f shaper.Flow
	s.EndTurn(&f, shaper.Data, 10, true)
	s.Push(&f, shaper.Data)
	if got, c, n := s.Pop(); got != &f || c != shaper.Data || n != q {
		t.Errorf("Pop = %p, %v, %d; want %p, data, %d", got, c, n, &f, q)
	}
}

// A quantum or weight beyond its limits counts as the limit.
func TestFairBoundsQuantumAndWeight(t *testing.T) {
	for set, want := range map[int]int{-1: 1 << 10, 0: 1 << 10, 5000: 5000, 1 << 30: 4 << 20} {
		s := shaper.NewFair(shaper.WithQuantum(set))
		s.Push(new(shaper.Flow), shaper.Data)
		if _, _, n := s.Pop(); n != want {
			t.Errorf("WithQuantum(%d): the first turn is %d bytes, want %d", set, n, want)
		}
	}
	var f shaper.Flow
	if f.Weight() != 1 {
		t.Errorf("a zero Flow has weight %d", f.Weight())
	}
	for set, want := range map[int]int{-5: 1, 0: 1, 1: 1, 7: 7, 256: 256, 257: 256} {
		f.SetWeight(set)
		if f.Weight() != want {
			t.Errorf("SetWeight(%d): weight %d, want %d", set, f.Weight(), want)
		}
	}
}

// A second Push of a flow that waits changes nothing.
func TestFairPushIsIdempotent(t *testing.T) {
	b := newBench(t)
	b.push("a a b a b", shaper.Data)
	b.push("a b b a", shaper.Control)
	b.want("turns", "!a !b a b -", b.turns(5, 16, false))
}

// Control goes before data, in the order of Push.
func TestFairControlGoesFirst(t *testing.T) {
	b := newBench(t)
	b.push("a b", shaper.Data)
	b.push("c a", shaper.Control)
	b.want("turns", "!c !a a b", b.turns(4, 16, false))
}

// Flows that always have control to send take turns.
func TestFairControlFlowsTakeTurns(t *testing.T) {
	b := newBench(t)
	b.push("a b c", shaper.Control)
	b.want("turns", "!a !b !c !a !b !c !a", b.turns(7, 16, true))
}

// However much control there is, data that waits gets as many bytes once control is 16 KiB
// ahead.
func TestFairControlFloodLeavesDataAsMuch(t *testing.T) {
	for _, flood := range []int{1, 10, 5000} {
		for _, frame := range []int{8, 16, 1000} {
			t.Run(fmt.Sprintf("%d flows, %d bytes a turn", flood, frame), func(t *testing.T) {
				b := newBench(t)
				for i := range flood {
					b.push(fmt.Sprintf("c%d", i), shaper.Control)
				}
				b.push("data", shaper.Data)
				ahead := 0 // bytes of control minus bytes of data
				for range 20_000 {
					if b.turn(frame, true) != "data" {
						ahead += frame
					} else if ahead -= frame; ahead < 14*testutil.KiB {
						t.Fatalf("data had a turn after control was %d bytes ahead", ahead)
					}
					if ahead > 16*testutil.KiB+frame {
						t.Fatalf("control is %d bytes ahead of data that waits", ahead)
					}
				}
			})
		}
	}
}

// Control that was sent while no data waited is not held against control.
func TestFairControlCountsOnlyWhileDataWaits(t *testing.T) {
	b := newBench(t)
	b.push("c", shaper.Control)
	b.turns(5000, 16, true)
	b.push("a", shaper.Data)
	b.want("turns", "!c !c !c", b.turns(3, 16, true))
}

// Control waits for at most the data turn in progress.
func TestFairControlWaitsForOneDataTurn(t *testing.T) {
	b := newBench(t)
	b.old("a b c")
	for range 100 {
		b.turn(q, true)
		b.push("x", shaper.Control)
		b.want("next", "!x", b.turn(16, false))
	}
}

// Old flows take turns, and each sends a quantum before the next.
func TestFairOldFlowsTakeTurnsByQuantum(t *testing.T) {
	b := newBench(t)
	b.old("a b c")
	b.want("whole quanta", "a b c a b c", b.turns(6, q, true))
	b.want("halves", "a a b b c c a a b b", b.turns(10, q/2, true))
}

// A flow keeps its place while its credit lasts.
func TestFairFlowKeepsItsPlaceWithCredit(t *testing.T) {
	b := newBench(t)
	b.flow("heavy").SetWeight(3)
	b.push("heavy", shaper.Data)
	b.turns(3, q, true)
	b.old("a")
	b.want("turns", "heavy heavy heavy a heavy heavy heavy a", b.turns(8, q, true))
}

// A new flow goes before old ones.
func TestFairNewFlowGoesBeforeOldOnes(t *testing.T) {
	b := newBench(t)
	b.old("a b c")
	b.turn(q/2, true)
	b.push("n", shaper.Data)
	b.want("turns", "n a b", b.turns(1, 72, false)+" "+b.turn(q/2, true)+" "+b.turn(q, true))
}

// A new flow sends one quantum before the old ones, and is then one of them.
func TestFairNewFlowHasOneQuantum(t *testing.T) {
	b := newBench(t)
	b.old("a b")
	b.push("n", shaper.Data)
	b.want("turns", "n n a a b b n n", b.turns(8, q/2, true))
}

// A heavy new flow lets other new flows in after each quantum.
func TestFairHeavyNewFlowLetsOthersIn(t *testing.T) {
	b := newBench(t)
	b.flow("heavy").SetWeight(4)
	b.push("heavy n", shaper.Data)
	b.want("turns", "heavy heavy n n heavy", b.turns(5, q/2, true))
}

// A flow that used up its credit does not go first again after it ran empty.
func TestFairEmptyFlowWithoutCreditWaits(t *testing.T) {
	b := newBench(t)
	b.old("a b")
	b.push("n", shaper.Data)
	b.want("turn", "n", b.turn(q, false))
	b.push("n", shaper.Data)
	b.want("turns", "a b n", b.turns(3, q, true))
}

// A data turn is at least a quantum; what exceeds the credit is charged later.
func TestFairTurnIsAtLeastAQuantum(t *testing.T) {
	b := newBench(t)
	b.flow("b").SetWeight(2)
	b.push("a b", shaper.Data)
	for _, want := range []struct {
		flow string
		n    int
		sent int
	}{
		{"a", q, q - 1}, {"a", q, q}, // a byte of credit is a whole frame
		{"b", q, q}, {"b", q, q}, // new: a quantum at a time
		{"a", q, 1}, // its overdraft was charged
		{"b", 2 * q, q / 2}, {"b", 3 * q / 2, q}, {"b", q, q},
	} {
		f, c, n := b.Pop()
		if f.Owner != want.flow || n != want.n {
			t.Fatalf("Pop: %v, %d bytes; want %v, %d", f.Owner, n, want.flow, want.n)
		}
		b.EndTurn(f, c, want.sent, true)
	}
}

// A Push during a turn has the effect of more in its EndTurn.
func TestFairPushDuringATurnCountsAsMore(t *testing.T) {
	for _, c := range []shaper.Class{shaper.Control, shaper.Data} {
		t.Run(c.String(), func(t *testing.T) {
			b := newBench(t)
			b.push("a", c)
			f, _, _ := b.Pop()
			b.push("a", c)
			if g, _, _ := b.Pop(); g != nil {
				t.Fatal("a flow was served twice at once")
			}
			b.EndTurn(f, c, 100, false)
			if g, gc, _ := b.Pop(); g != f || gc != c {
				t.Fatalf("Pop = %v, %v", g, gc)
			}
			b.EndTurn(f, c, 100, false)
			if !b.Empty() {
				t.Error("the push counted twice")
			}
		})
	}
}

// A flush is due at the end of a round in which a heavy flow has left with useful credit.
func TestFairFlushDueEndsAHeavyRound(t *testing.T) {
	const h = "heavy"
	for _, tt := range []struct {
		name string
		do   func(b *bench)
		want bool
	}{
		{"it may send as much again", func(b *bench) { b.turn(q, false) }, true},
		{"it has more", func(b *bench) { b.turn(q, true) }, false},
		{"it has no credit left", func(b *bench) { b.turn(2*q, false) }, false},
		{"it is light", func(b *bench) { b.flow(h).SetWeight(1); b.turn(q/4, false) }, false},
		{"it is back", func(b *bench) { b.turn(q, false); b.push(h, shaper.Data) }, false},
		{"control waits", func(b *bench) { b.turn(q, false); b.push("c", shaper.Control) }, false},
		{"nobody waits", func(b *bench) {
			*b = *newBench(b.T)
			b.flow(h).SetWeight(2)
			b.push(h, shaper.Data)
			b.turn(q, false)
		}, false},
		{"the next round has begun", func(b *bench) { b.turn(q, false); b.turn(q, true) }, false},
		{"the next round, in which it leaves again", func(b *bench) {
			b.turn(q, false)
			b.turn(q, true)
			b.push(h, shaper.Data)
			b.want("turns", "heavy b", b.turn(q, false)+" "+b.turn(q, true))
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.old("a b")
			b.flow(h).SetWeight(2)
			b.push(h, shaper.Data)
			tt.do(b)
			if got := b.FlushDue(); got != tt.want {
				t.Errorf("FlushDue = %v, want %v", got, tt.want)
			}
		})
	}
}

// A flow may have a turn in each class at once.
func TestFairClassesOfAFlowAreApart(t *testing.T) {
	b := newBench(t)
	b.push("a", shaper.Control)
	b.push("a", shaper.Data)
	f, c1, _ := b.Pop()
	g, c2, _ := b.Pop()
	if f != g || c1 != shaper.Control || c2 != shaper.Data {
		t.Fatalf("Pop, Pop = %v %v, %v %v", f.Owner, c1, g.Owner, c2)
	}
	b.EndTurn(f, shaper.Data, 100, true)
	b.EndTurn(f, shaper.Control, 8, false)
	b.want("turns", "a -", b.turns(2, 100, false))
}

// A flow that sends nothing in its turn passes it on.
func TestFairUnusedTurnIsPassedOn(t *testing.T) {
	b := newBench(t)
	b.old("a b c")
	f, c, _ := b.Pop()
	b.EndTurn(f, c, 0, true)
	b.want("turns", "b c a b c a", b.turns(6, q, true))

	b.push("n", shaper.Data)
	f, c, _ = b.Pop()
	b.EndTurn(f, c, 0, true)
	b.want("a new one too", "b c a n", b.turns(4, q, true))
}

// A flow that leaves because it is blocked costs the other flows nothing.
func TestFairBlockedFlowCostsNothing(t *testing.T) {
	b := newBench(t)
	b.old("a b c")
	f, c, _ := b.Pop()
	b.EndTurn(f, c, 0, false) // its window is used up
	b.want("turns", "b c b c", b.turns(4, q, true))
}

// A frame without payload is charged with its header.
func TestFairFINCostsItsHeader(t *testing.T) {
	b := newBench(t)
	b.old("a b")
	b.push("f", shaper.Data)
	b.want("turns", "f a b a", b.turns(1, 8, false)+" "+b.turns(3, q, true))
}

// Shares hold when the counter of rounds, which has 16 bits, wraps.
func TestFairSharesHoldWhenRoundsWrap(t *testing.T) {
	b := newBench(t, shaper.WithQuantum(shaper.MinQuantum))
	const q = shaper.MinQuantum
	b.push("a b", shaper.Data)
	b.turns(2, q, true)
	for i := range 70_000 {
		b.push("n", shaper.Data)
		if got := b.turn(72, false); got != "n" {
			t.Fatalf("round %d: %s had the turn of the new flow", i, got)
		}
		if got := b.turn(q, true) + b.turn(q, true); got != "ab" {
			t.Fatalf("round %d: turns of %s", i, got)
		}
	}
}

// Each of 100,000 flows is served once per round.
func TestFairServes100000FlowsOncePerRound(t *testing.T) {
	const flows = 100_000
	var s shaper.Fair
	all := make([]shaper.Flow, flows)
	for i := range all {
		all[i].Owner = new(int)
		s.Push(&all[i], shaper.Data)
		s.Push(&all[i], shaper.Control)
	}
	for !s.Empty() {
		f, c, _ := s.Pop()
		if c == shaper.Data {
			*f.Owner.(*int)++
		}
		s.EndTurn(f, c, q, c == shaper.Data && *f.Owner.(*int) < 5)
	}
	for i := range all {
		if n := *all[i].Owner.(*int); n != 5 {
			t.Fatalf("flow %d had %d turns, want 5", i, n)
		}
	}
}

// No call of a scheduler allocates.
func TestFairAllocatesNothing(t *testing.T) {
	var s shaper.Scheduler = shaper.NewFair()
	flows := make([]shaper.Flow, 64)
	if n := testing.AllocsPerRun(100, func() {
		for i := range flows {
			s.Push(&flows[i], shaper.Data)
			s.Push(&flows[i], shaper.Control)
		}
		for i := 0; !s.Empty(); i++ {
			f, c, n := s.Pop()
			s.EndTurn(f, c, n, i%3 == 0)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// A Class has a name, or shows its number.
func TestClassString(t *testing.T) {
	got := []string{shaper.Control.String(), shaper.Data.String(), shaper.Class(7).String()}
	if diff := cmp.Diff([]string{"control", "data", "class 7"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
