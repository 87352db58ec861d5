package simnet

import "time"

// segment is a piece of a direction's bytes that travels as one.
type segment struct {
	to int64         // the position after its last byte
	at time.Duration // when it arrives
}

// flight is the queue of the segments that were sent and have not arrived.
type flight struct {
	queue []segment
	head  int
}

func (f *flight) empty() bool     { return f.head == len(f.queue) }
func (f *flight) first() *segment { return &f.queue[f.head] }
func (f *flight) clear()          { f.queue, f.head = nil, 0 }

// push adds a segment. It joins one that arrives at the same time as the last segment.
func (f *flight) push(s segment) {
	if !f.empty() {
		if last := &f.queue[len(f.queue)-1]; last.at == s.at {
			last.to = s.to
			return
		}
	}
	if len(f.queue) == cap(f.queue) && f.head > len(f.queue)/2 {
		f.queue = f.queue[:copy(f.queue, f.queue[f.head:])]
		f.head = 0
	}
	f.queue = append(f.queue, s)
}

func (f *flight) pop() segment {
	s := f.queue[f.head]
	f.head++
	if f.empty() {
		f.queue, f.head = f.queue[:0], 0
	}
	return s
}
