package shaper_test

import (
	"fmt"
	"testing"

	"github.com/smuxkit/smuxkit/shaper"
)

// The cost of a frame must not depend on the number of flows. With 100,000 flows the difference is
// the cache: each frame is of a flow that was not used for 100,000 turns, except in
// BenchmarkSmallTurnBesideBulk, which uses the same few flows all the time.

// padded is a flow and as many bytes as a stream has, so that flows do not share cache
// lines.
type padded struct {
	flow shaper.Flow
	_    [400 - 56]byte
}

func manyFlows(n int) []*padded {
	all := make([]*padded, n)
	for i := range all {
		all[i] = new(padded)
	}
	return all
}

func overFlows(b *testing.B, run func(b *testing.B, flows []*padded)) {
	for _, n := range []int{1, 64, 100_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, manyFlows(n))
		})
	}
}

// All flows wait with a frame each: Pop and EndTurn of the first frame, and Push of the flow's next one.
func BenchmarkPushPopSent(b *testing.B) {
	overFlows(b, func(b *testing.B, flows []*padded) {
		s := shaper.Scheduler(shaper.NewFair())
		for _, p := range flows {
			s.Push(&p.flow, shaper.Data)
		}
		for b.Loop() {
			f, c, _ := s.Pop()
			s.EndTurn(f, c, shaper.DefaultQuantum, false)
			s.Push(f, shaper.Data)
		}
	})
}

// All flows always have more: one Pop and EndTurn of a whole quantum.
func BenchmarkBulkTurn(b *testing.B) {
	overFlows(b, func(b *testing.B, flows []*padded) {
		s := shaper.Scheduler(shaper.NewFair())
		for _, p := range flows {
			s.Push(&p.flow, shaper.Data)
		}
		for b.Loop() {
			f, c, _ := s.Pop()
			s.EndTurn(f, c, shaper.DefaultQuantum, true)
		}
	})
}

// Beside bulk flows another one sends a small frame: Push, Pop and EndTurn.
func BenchmarkSmallTurnBesideBulk(b *testing.B) {
	overFlows(b, func(b *testing.B, flows []*padded) {
		s := shaper.Scheduler(shaper.NewFair())
		for _, p := range flows {
			s.Push(&p.flow, shaper.Data)
		}
		for range flows {
			f, c, _ := s.Pop()
			s.EndTurn(f, c, shaper.DefaultQuantum, true)
		}
		small := new(padded)
		for b.Loop() {
			s.Push(&small.flow, shaper.Data)
			f, c, _ := s.Pop()
			s.EndTurn(f, c, 72, false)
		}
	})
}

// Each flow in turn opens and sends a frame: both classes.
func BenchmarkOpenSend(b *testing.B) {
	overFlows(b, func(b *testing.B, flows []*padded) {
		s := shaper.Scheduler(shaper.NewFair())
		i := 0
		for b.Loop() {
			f := &flows[i].flow
			if i++; i == len(flows) {
				i = 0
			}
			s.Push(f, shaper.Control)
			s.Push(f, shaper.Data)
			f, c, _ := s.Pop()
			s.EndTurn(f, c, 8, false)
			f, c, _ = s.Pop()
			s.EndTurn(f, c, 80, false)
		}
	})
}
