package main

import (
	"math/rand/v2"
	"time"
)

func randFrom(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a, b)) }

// freeze stops all reading for a while, so that everything fills up, and compares the memory in use with what the
// configuration allows.
func (r *round) freeze() {
	time.Sleep(r.p.Freeze)
	r.readers.shut()
	defer r.readers.open()
	time.Sleep(100 * time.Millisecond)
	used, allowed := int64(heap())-int64(r.baseHeap), r.allowed()
	if used > allowed {
		r.fail("while nobody read, %s were in use, and the configuration allows %s", inBytes(used), inBytes(allowed))
	}
}

// allowed returns the memory that the round's sessions may use. It is generous: it is to find memory that grows
// without a bound.
func (r *round) allowed() int64 {
	const (
		slack      = 8 << 20 // of the runtime, and of the round itself
		perSession = 1 << 20 // staging buffers, batches, the rest of a write, and buffers of the transport
		simulated  = 2 << 20 // and of a simulated one
		perStream  = 8 << 10 // the stream at both ends, timers, and the round's records
		smallest   = 2 << 10 // a buffer for each direction at each end, even for one byte
		received   = 2       // a buffer is at most twice as large as its contents
		frame      = 64 << 10
	)
	p := r.p
	total := slack + r.held.Load()
	for _, e := range p.Ends {
		budgets := received*int64(e.MaxReceiveBuffer) + int64(e.MaxSendBuffer)
		if !e.SharedBudget {
			budgets *= int64(p.Sessions)
		}
		total += budgets + int64(p.Sessions)*received*frame
	}
	for _, x := range r.pairs {
		total += perSession
		if !socket(p.Transport) {
			total += simulated
		}
		for _, s := range x.sessions {
			total += int64(s.NumStreams()) * (perStream + smallest)
		}
		// The round's records of all streams so far.
		x.mu.Lock()
		total += int64(len(x.ends[0])+len(x.ends[1])) * perStream
		x.mu.Unlock()
	}
	return total
}
