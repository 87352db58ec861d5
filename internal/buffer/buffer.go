// Package buffer lends byte buffers of a few sizes and takes them back.
//
// A Buf is a link of a queue: payload that waits for its reader, or for its turn
// to be sent. Get chooses the smallest class that holds what is asked for, so a
// stream with 64 unread bytes pins 512 bytes and not 32,768. Each class is twice the
// one before: a buffer takes less than two bytes for each byte asked for, or Min.
package buffer

import (
	"math/bits"
	"sync"
)

const (
	// Min is the capacity of the smallest class.
	Min = 1 << minBits
	// Max is the capacity of the largest class: the payload of a default frame with
	// its header.
	Max = 1 << maxBits

	minBits, maxBits = 9, 15
)

var pools [maxBits - minBits + 1]sync.Pool

// A Buf is a buffer that holds the bytes Data[R:W] and is empty when R == W.
// It has one owner at a time, who may write its fields.
type Buf struct {
	next *Buf
	R, W int
	Data []byte
	pool int
}

// Get returns an empty Buf with room for n bytes, or for Max if n is more.
// The contents of Data are what the last owner left there.
func Get(n int) *Buf {
	class := Class(n)
	i := bits.Len(uint(class)) - 1 - minBits
	if b, ok := pools[i].Get().(*Buf); ok {
		return b
	}
	return &Buf{Data: make([]byte, class), pool: i}
}

// Class returns the capacity of the buffer that Get(n) returns.
func Class(n int) int {
	if n <= Min {
		return Min
	}
	return min(1<<bits.Len(uint(n-1)), Max)
}

// Free gives b back. The caller must not use b or its Data again.
func (b *Buf) Free() {
	b.next, b.R, b.W = nil, 0, 0
	pools[b.pool].Put(b)
}

// Shrink moves what b holds to the smallest memory that holds it. Nothing else may refer to b's Data.
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
	small.Free()
}

// Release is Free, for a batch of frames that refers to b.
func (b *Buf) Release() { b.Free() }

// Len returns the number of bytes b holds.
func (b *Buf) Len() int { return b.W - b.R }

// Room returns the free space behind the bytes b holds.
func (b *Buf) Room() []byte { return b.Data[b.W:] }

// Bytes returns what b holds. It is valid until b is freed.
func (b *Buf) Bytes() []byte { return b.Data[b.R:b.W] }

// Append copies as much of p as fits behind the bytes b holds and returns how
// much that was.
func (b *Buf) Append(p []byte) int {
	n := copy(b.Data[b.W:], p)
	b.W += n
	return n
}

// A Queue is a list of buffers in the order in which they were filled.
// The zero value is an empty queue.
type Queue struct {
	tail *Buf // whose Next is the head: a ring takes one pointer
}

// Empty reports whether the queue holds no buffers.
func (q *Queue) Empty() bool { return q.tail == nil }

// Tail returns the last buffer, or nil.
func (q *Queue) Tail() *Buf { return q.tail }

// Head returns the first buffer. The queue must not be empty.
func (q *Queue) Head() *Buf { return q.tail.next }

// Push puts b, which must be in no queue, at the end.
func (q *Queue) Push(b *Buf) {
	if q.tail == nil {
		b.next = b
	} else {
		b.next = q.tail.next
		q.tail.next = b
	}
	q.tail = b
}

// Pop takes the first buffer off the queue. The queue must not be empty.
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

// Free frees all the buffers of the queue and leaves it empty.
func (q *Queue) Free() {
	for !q.Empty() {
		q.Pop().Free()
	}
}
