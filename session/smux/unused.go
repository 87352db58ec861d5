package smux

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"sync"
)

// This file has what the original exports and programs do not need. Nothing in this package uses it.

// maxAlloc is the largest size that an Allocator has.
const maxAlloc = 1 << 16

// An Allocator keeps byte slices for use again. All methods may be called concurrently. [NewAllocator] returns one. The
// original uses it for frames; here it is for programs that use it themselves.
type Allocator struct {
	pools [17]sync.Pool // of *[]byte; those of pools[i] have a capacity of 1<<i
}

// NewAllocator returns an empty Allocator.
func NewAllocator() *Allocator { return new(Allocator) }

// Get returns a slice of size bytes, whose contents are arbitrary. Its capacity is the next power of two. It returns nil if
// size is not from 1 to 65,536.
func (a *Allocator) Get(size int) *[]byte {
	if size < 1 || size > maxAlloc {
		return nil
	}
	i := bits.Len(uint(size - 1))
	if p, ok := a.pools[i].Get().(*[]byte); ok {
		*p = (*p)[:size]
		return p
	}
	b := make([]byte, size, 1<<i)
	return &b
}

// Put gives a slice back. It fails, and does nothing, if the capacity is not a power of two up to 65,536.
func (a *Allocator) Put(p *[]byte) error {
	if p == nil || bits.OnesCount(uint(cap(*p))) != 1 || cap(*p) > maxAlloc {
		return errors.New("smux: Put of a slice that no Allocator has made")
	}
	a.pools[bits.Len(uint(cap(*p)))-1].Put(p)
	return nil
}

// A Frame has no exported fields or methods.
type Frame struct {
	sid uint32
}

// CLASSID is the class of a frame.
type CLASSID int

const (
	CLSCTRL CLASSID = iota // control frames
	CLSDATA                // data
)

// A writeRequest is an entry of a shaperQueue.
type writeRequest struct {
	class CLASSID
	frame Frame
	seq   uint32
}

// compare orders the requests of a stream: control frames first, then by seq, which may wrap.
func (r writeRequest) compare(other writeRequest) int {
	return cmp.Or(cmp.Compare(r.class, other.class), cmp.Compare(int32(r.seq-other.seq), 0))
}

// A shaperQueue lets streams take turns.
type shaperQueue struct {
	mu      sync.Mutex // guards the fields below
	streams map[uint32][]writeRequest
	turns   []uint32 // the streams with requests, in the order of their turns
	n       int
}

// NewShaperQueue returns an empty queue of the original's scheduler. A program can put nothing into it.
func NewShaperQueue() *shaperQueue { return &shaperQueue{streams: make(map[uint32][]writeRequest)} }

// Push adds a request.
func (q *shaperQueue) Push(req writeRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := req.frame.sid
	list := q.streams[id]
	if len(list) == 0 {
		q.turns = append(q.turns, id)
	}
	i, _ := slices.BinarySearchFunc(list, req, func(r, req writeRequest) int { return cmp.Or(r.compare(req), -1) })
	q.streams[id] = slices.Insert(list, i, req)
	q.n++
}

// Pop removes the next request of the stream whose turn it is. ok is false if there is none.
func (q *shaperQueue) Pop() (req writeRequest, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return req, false
	}
	id := q.turns[0]
	q.turns = q.turns[1:]
	list := q.streams[id]
	req = list[0]
	if len(list) == 1 {
		delete(q.streams, id)
	} else {
		q.streams[id] = list[1:]
		q.turns = append(q.turns, id)
	}
	q.n--
	return req, true
}

// Len returns the number of requests.
func (q *shaperQueue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// IsEmpty reports whether there are no requests.
func (q *shaperQueue) IsEmpty() bool { return q.Len() == 0 }
