package wire

import "encoding/binary"

// A Batch collects frames for one write to a transport. It comes in two kinds.
//
// A vectored Batch refers to large payloads where they are: Parts returns the pieces, for
// one vectored write. The owner of such a payload must leave it as it is until Release, and is
// told of that by a [Releaser]. A copying Batch has all its bytes in one slice, which Bytes returns,
// and refers to nothing.
//
// A Batch is used by one goroutine at a time. Once it has its size it allocates nothing.
type Batch struct {
	vectored bool
	full     bool     // what comes next does not fit well
	scratch  []byte   // headers and copied payloads
	parts    [][]byte // the bytes of a vectored batch, in order, in scratch or elsewhere
	size     int

	start   int // where the frame that Begin has begun begins in scratch
	payload int // the bytes that it has so far

	retained []Releaser
}

// A Releaser is told that a Batch refers no more to what it was retained for.
type Releaser interface {
	// Release is called by [Batch.Release], once for each call of [Batch.Retain].
	Release()
}

const (
	// BatchSize is the most bytes in a batch. It is just below the 65,483 bytes (65,463 with IPv6)
	// that one TCP segment holds on a loopback interface: there, the cost of a byte falls
	// up to that size, and is three times as high where a few bytes more make a second, tiny
	// segment (docs/performance.md). It makes no difference to any other path.
	BatchSize = 65400
	// MaxBatchPayload is the most payload that a frame of a batch may have, beside a FIN or two.
	MaxBatchPayload = BatchSize - 3*HeaderSize

	// minRoom is the least room that is worth filling.
	minRoom = 4 << 10
	// maxParts bounds the parts of a vectored batch.
	maxParts = 48
	// maxCopy is up to which size copying a payload is cheaper than a part of its own.
	maxCopy = 1 << 10
	// scratchSize holds the headers and small payloads of a vectored batch.
	scratchSize = 8 << 10
)

// NewBatch returns an empty batch: a vectored or a copying one.
func NewBatch(vectored bool) *Batch {
	if vectored {
		return &Batch{vectored: true, scratch: make([]byte, 0, scratchSize), parts: make([][]byte, 0, maxParts)}
	}
	return &Batch{scratch: make([]byte, 0, BatchSize)}
}

// Len returns the number of bytes in the batch.
func (b *Batch) Len() int { return b.size }

// Room returns how much payload one more frame may have, with a FIN or two behind it.
func (b *Batch) Room() int { return MaxBatchPayload - b.size }

// Full reports whether the batch should be sent before more is added.
func (b *Batch) Full() bool {
	if b.full || b.Room() < minRoom {
		return true
	}
	return b.vectored && (len(b.parts) > maxParts-4 || cap(b.scratch)-len(b.scratch) < 2*maxCopy+8*HeaderSize)
}

// SetFull makes the batch Full: its next frame would fit, but not well.
func (b *Batch) SetFull() { b.full = true }

// Parts returns the bytes of a vectored batch, valid until Release.
func (b *Batch) Parts() [][]byte { return b.parts }

// Bytes returns the bytes of a copying batch, valid until Release.
func (b *Batch) Bytes() []byte { return b.scratch }

// AppendRest appends to dst the bytes of the batch without the first n.
func (b *Batch) AppendRest(dst []byte, n int) []byte {
	if !b.vectored {
		return append(dst, b.scratch[n:]...)
	}
	for _, p := range b.parts {
		if n >= len(p) {
			n -= len(p)
			continue
		}
		dst = append(dst, p[n:]...)
		n = 0
	}
	return dst
}

// Retain has r.Release called by the next Release.
func (b *Batch) Retain(r Releaser) { b.retained = append(b.retained, r) }

// Release ends the use of what the batch refers to, and empties it.
func (b *Batch) Release() {
	for i, r := range b.retained {
		r.Release()
		b.retained[i] = nil
	}
	clear(b.parts)
	b.retained, b.parts, b.scratch = b.retained[:0], b.parts[:0], b.scratch[:0]
	b.size, b.full = 0, false
}

// Frame adds a frame whose data is copied. It sets the header's Length.
func (b *Batch) Frame(h Header, data []byte) {
	h.Length = uint16(len(data))
	start := len(b.scratch)
	b.scratch = append(h.Append(b.scratch), data...)
	b.added(start)
}

// Update adds an UPD frame of a stream. It sets the header's Command and Length.
func (b *Batch) Update(h Header, u WindowUpdate) {
	h.Command, h.Length = UPD, UpdateSize
	start := len(b.scratch)
	b.scratch = u.Append(h.Append(b.scratch))
	b.added(start)
}

// Begin adds the header of a frame whose payload follows by calls of Payload. End sets the
// header's Length.
func (b *Batch) Begin(h Header) {
	b.start, b.payload = len(b.scratch), 0
	b.scratch = h.Append(b.scratch)
	b.added(b.start)
}

// TakesPayload reports whether there is room for another piece of payload of any size up to
// Room's.
func (b *Batch) TakesPayload() bool {
	// The scratch of a vectored batch must not grow: parts refer to it.
	return !b.vectored || len(b.parts) <= maxParts-2 && cap(b.scratch)-len(b.scratch) >= maxCopy+2*HeaderSize
}

// Payload adds p to the frame that Begin has begun. It reports whether the batch refers to p: then p
// must stay as it is until Release.
func (b *Batch) Payload(p []byte) (refers bool) {
	b.payload += len(p)
	if b.vectored && len(p) > maxCopy {
		b.parts = append(b.parts, p)
		b.size += len(p)
		return true
	}
	start := len(b.scratch)
	b.scratch = append(b.scratch, p...)
	b.added(start)
	return false
}

// End ends the frame that Begin has begun.
func (b *Batch) End() {
	binary.LittleEndian.PutUint16(b.scratch[b.start+2:], uint16(b.payload))
}

// added accounts for scratch bytes from start on.
func (b *Batch) added(start int) {
	n := len(b.scratch) - start
	b.size += n
	if !b.vectored || n == 0 {
		return
	}
	// Extend the last part if it ends where these bytes begin.
	if k := len(b.parts) - 1; k >= 0 {
		last := b.parts[k]
		if end := len(last); end > 0 && start > 0 && &last[end-1] == &b.scratch[start-1] {
			b.parts[k] = last[:end+n]
			return
		}
	}
	b.parts = append(b.parts, b.scratch[start:])
}
