package simnet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A ring gives back what was put into it, however it wraps and grows.
func TestRingGivesBackWhatWasPut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r ring
	var want []byte // what is in the ring
	begin := int64(0)
	for range 3000 {
		in := make([]byte, rng.IntN(6000))
		for i := range in {
			in[i] = byte(rng.Uint32())
		}
		r.put(begin, begin+int64(len(want)), in)
		want = append(want, in...)
		out := make([]byte, rng.IntN(len(want)+1))
		r.get(out, begin)
		if !bytes.Equal(out, want[:len(out)]) {
			t.Fatal("the ring gave back something else")
		}
		begin += int64(len(out))
		want = want[len(out):]
	}
}

// A ring in steady use does not grow.
func TestSteadyRingDoesNotGrow(t *testing.T) {
	var r ring
	b := make([]byte, 1000)
	for i := range int64(1000) {
		r.put(i*1000, i*1000, b)
		r.get(b, i*1000)
	}
	if len(r.buf) != minRing {
		t.Errorf("it holds %d bytes", len(r.buf))
	}
}

// Segments that arrive at the same time are one.
func TestSegmentsThatArriveTogetherAreOne(t *testing.T) {
	var f flight
	for i := range 10 {
		f.push(segment{to: int64(i), at: 5})
	}
	f.push(segment{to: 20, at: 6})
	if s := f.pop(); s.to != 9 || s.at != 5 {
		t.Errorf("%+v", s)
	}
	if s := f.pop(); s.to != 20 || !f.empty() {
		t.Errorf("%+v", s)
	}
}

// A long flight keeps its order in bounded memory.
func TestFlightKeepsItsOrderInBoundedMemory(t *testing.T) {
	var f flight
	next := int64(0)
	for i := range int64(10000) {
		f.push(segment{to: i, at: 2 * 1})
		f.queue[len(f.queue)-1].at = 0 // so that the next one is not joined
		if i >= 100 {
			if s := f.pop(); s.to != next {
				t.Fatalf("segment %d came, want %d", s.to, next)
			}
			next++
		}
	}
	if cap(f.queue) > 1000 {
		t.Errorf("the queue of 100 has grown to %d", cap(f.queue))
	}
}
