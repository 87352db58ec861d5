// Package buffer has byte buffers of a few sizes, in pools, and queues of them.
//
// A queue holds payload that waits for its reader, or to be sent. [Get] returns a buffer of the smallest class that is
// large enough. So a stream with 64 unread bytes takes 512 bytes, and not 32,768. Each class is twice as large as the
// one before, so a buffer takes less than two bytes for each byte that was asked for, or [Min].
package buffer

import (
	"math/bits"
	"sync"
)

const (
	// Min is the capacity of the smallest class.
	Min = 1 << minBits
	// Max is the capacity of the largest class. A frame of the default size fits in it, with its header.
	Max = 1 << maxBits

	minBits, maxBits = 9, 15
)

var pools [maxBits - minBits + 1]sync.Pool

// A Buf is a buffer. It holds the bytes Data[R:W], and is empty if R == W. It has one owner at a time, who may set its
// fields.
type Buf struct {
	next *Buf
	R, W int
	Data []byte
	pool int
}

// Get returns an empty Buf with room for n bytes, or for [Max] bytes if n is more. Data still has the bytes of its last
// owner.
func Get(n int) *Buf {
	class := Class(n)
	i := bits.Len(uint(class)) - 1 - minBits
	if b, ok := pools[i].Get().(*Buf); ok {
		return b
	}
	return &Buf{Data: make([]byte, class), pool: i}
}

// Class returns the capacity of the Buf that Get(n) returns.
func Class(n int) int {
	if n <= Min {
		return Min
	}
	return min(1<<bits.Len(uint(n-1)), Max)
}

// Release returns b to its pool. The caller must not use b or its Data after that.
func (b *Buf) Release() {
	b.next, b.R, b.W = nil, 0, 0
	pools[b.pool].Put(b)
}

// Shrink moves the bytes that b holds to Data of the smallest class for them. Nothing else may refer to b's Data.
func (b *Buf) Shrink() {
	if Class(b.Len()) == len(b.Data) {
		return
	}
	small := Get(b.Len())
	small.Append(b.Bytes())
	b.R, small.R = small.R, b.R
	b.W, small.W = small.W, b.W
	b.Data, small.Data = small.Data, b.Data
	b.pool, small.pool = small.pool, b.pool
	small.Release()
}

// Len returns the number of bytes b holds.
func (b *Buf) Len() int { return b.W - b.R }

// Room returns the free space after the bytes that b holds.
func (b *Buf) Room() []byte { return b.Data[b.W:] }

// Bytes returns the bytes that b holds. They are valid until b is released.
func (b *Buf) Bytes() []byte { return b.Data[b.R:b.W] }

// Append copies as much of p as fits after the bytes that b holds, and returns how many bytes that was.
func (b *Buf) Append(p []byte) int {
	n := copy(b.Data[b.W:], p)
	b.W += n
	return n
}

// A Queue is a list of buffers, in the order in which they were filled. The zero value is an empty queue.
type Queue struct {
	tail *Buf // its next is the head, so that a Queue takes one pointer
}

// Empty reports whether the queue holds no buffers.
func (q *Queue) Empty() bool { return q.tail == nil }

// Tail returns the last buffer, or nil.
func (q *Queue) Tail() *Buf { return q.tail }

// Head returns the first buffer. The queue must not be empty.
func (q *Queue) Head() *Buf { return q.tail.next }

// Push adds b, which must be in no queue, at the end.
func (q *Queue) Push(b *Buf) {
	if q.tail == nil {
		b.next = b
	} else {
		b.next = q.tail.next
		q.tail.next = b
	}
	q.tail = b
}

// Pop removes the first buffer from the queue and returns it. The queue must not be empty.
func (q *Queue) Pop() *Buf {
	b := q.tail.next
	if b == q.tail {
		q.tail = nil
	} else {
		q.tail.next = b.next
	}
	b.next = nil
	return b
}

// Release releases all buffers of the queue, and leaves it empty.
func (q *Queue) Release() {
	for !q.Empty() {
		q.Pop().Release()
	}
}
