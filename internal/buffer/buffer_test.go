package buffer

import "testing"

// A buffer holds what was asked for, up to Max, and takes less than twice that, or Min.
func TestGetReturnsTheSmallestClassThatHolds(t *testing.T) {
	for n := range Max + 2 {
		b := Get(n)
		if len(b.Data) < min(n, Max) || len(b.Data) > max(Min, 2*n) || len(b.Data) != Class(n) {
			t.Fatalf("Get(%d) returns %d bytes, Class says %d", n, len(b.Data), Class(n))
		}
		b.Release()
	}
}

// Buffers leave a queue in the order in which they entered it.
func TestQueueKeepsItsOrder(t *testing.T) {
	var q Queue
	var want []*Buf
	for i := range 6 {
		b := Get(i)
		q.Push(b)
		want = append(want, b)
		if q.Head() != want[0] || q.Tail() != want[len(want)-1] {
			t.Fatalf("head or tail is wrong after %d buffers", i+1)
		}
	}
	for i, b := range want {
		if got := q.Pop(); got != b {
			t.Errorf("buffer %d is not the one that was pushed there", i)
		}
	}
	if !q.Empty() {
		t.Error("the queue is not empty")
	}
}

// A buffer that shrinks keeps its contents and its place in the queue.
func TestShrinkKeepsWhatTheBufferHolds(t *testing.T) {
	var q Queue
	for range 3 {
		b := Get(Max)
		b.W = copy(b.Data, make([]byte, 20_000))
		b.Append([]byte("held"))
		b.R = 20_000
		q.Push(b)
	}
	for !q.Empty() {
		b := q.Pop()
		b.Shrink()
		if string(b.Bytes()) != "held" || len(b.Data) != Min {
			t.Errorf("%q in %d bytes", b.Bytes(), len(b.Data))
		}
		b.Release()
	}
}
