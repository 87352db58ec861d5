package wire

import (
	"encoding/binary"
	"iter"
)

// A Batch collects frames for one write to a transport. There are two kinds.
//
// A vectored Batch does not copy large payloads, it refers to them. [Batch.Parts] returns
// all bytes as a list of slices, for one vectored write. The owner of a payload must not
// change it before [Batch.Release], and can register a [Releaser] to learn of that.
//
// A copying Batch has all bytes in one slice, which [Batch.Bytes] returns. It refers to no
// payload.
//
// A Batch is not safe for concurrent use. Once its buffers have grown, it allocates nothing.
type Batch struct {
	vectored bool
	full     bool     // by SetFull
	limit    int      // the most bytes, see SetLimit
	minRoom  int      // with less Room the batch is full
	scratch  []byte   // headers and copied payloads
	parts    [][]byte // all bytes of a vectored batch, in order: pieces of scratch, and payloads
	size     int      // bytes in the batch
	frames   int      // frames in the batch

	// The frame between Begin and End.
	start   int // offset of its header in scratch
	payload int // bytes of its payload so far

	retained []Releaser
}

// A Releaser is called when a [Batch] no longer refers to its payload. See [Batch.Retain].
type Releaser interface {
	// Release is called by [Batch.Release], once for each call of [Batch.Retain].
	Release()
}

const (
	// BatchSize is the most bytes in a batch. On a loopback interface one TCP segment
	// holds 65,483 bytes (65,463 with IPv6). The cost of a byte falls up to that size,
	// and is three times as high if a few more bytes make a second, tiny segment
	// (docs/decisions.md). On other paths the size makes no difference.
	BatchSize = 65400
	// MaxBatchPayload is the largest payload of one frame in a batch. It leaves room
	// for two FINs.
	MaxBatchPayload = BatchSize - 3*HeaderSize

	// MinBatchLimit is the least limit of a batch: see [Batch.SetLimit].
	MinBatchLimit = 64

	// minRoom: a batch of BatchSize with less Room is full. A smaller one is full with less than
	// a 15th, but at least minSmallRoom: that is room for seven frames without data.
	minRoom      = 4 << 10
	minSmallRoom = 4 * HeaderSize
	// maxParts is the most parts of a vectored batch.
	maxParts = 48
	// maxCopy is the largest payload that a vectored batch copies: below that, copying
	// is cheaper than another part.
	maxCopy = 1 << 10
	// scratchSize is the size of a vectored batch's buffer for headers and small payloads.
	scratchSize = 8 << 10
)

// NewBatch returns an empty vectored or copying batch.
func NewBatch(vectored bool) *Batch {
	if vectored {
		return &Batch{vectored: true, scratch: make([]byte, 0, scratchSize), parts: make([][]byte, 0, maxParts), limit: BatchSize, minRoom: minRoom}
	}
	return &Batch{scratch: make([]byte, 0, BatchSize), limit: BatchSize, minRoom: minRoom}
}

// SetLimit limits the batch, which must be empty, to n bytes, for transports that limit the size
// of a write. n counts as at least [MinBatchLimit] and at most [BatchSize]; 0 is BatchSize. The
// limit stays after [Batch.Release]. It holds for a caller that adds frames of data only as
// [Batch.Room] says, and others only if the batch is not [Batch.Full]: up to seven without data.
func (b *Batch) SetLimit(n int) {
	b.limit, b.minRoom = BatchSize, minRoom
	if n > 0 && n < BatchSize {
		b.limit = max(n, MinBatchLimit)
		b.minRoom = min(minRoom, max(minSmallRoom, b.limit/15))
	}
}

// Len returns the number of bytes in the batch.
func (b *Batch) Len() int { return b.size }

// Frames returns the number of frames in the batch.
func (b *Batch) Frames() int { return b.frames }

// Room returns how many bytes of payload one more frame may have, with room for two FINs
// behind it. It may be negative.
func (b *Batch) Room() int { return b.limit - 3*HeaderSize - b.size }

// Full reports whether the batch should be written before another frame is added.
func (b *Batch) Full() bool {
	if b.full || b.Room() < b.minRoom {
		return true
	}
	return b.vectored && (len(b.parts) > maxParts-4 || cap(b.scratch)-len(b.scratch) < 2*maxCopy+8*HeaderSize)
}

// SetFull makes [Batch.Full] return true until Release. Use it when the next frame is better sent
// in another batch.
func (b *Batch) SetFull() { b.full = true }

// Parts returns the bytes of a vectored batch. They are valid until Release.
func (b *Batch) Parts() [][]byte { return b.parts }

// Bytes returns the bytes of a copying batch. They are valid until Release.
func (b *Batch) Bytes() []byte { return b.scratch }

// Headers returns the headers of the frames in the batch, in order.
func (b *Batch) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		skip := 0 // bytes of the payload that are still to come
		each := func(p []byte) bool {
			for skip < len(p) {
				p = p[skip:]
				h, _ := ParseHeader(p) // a frame of this side; its error does not matter
				if !yield(h) {
					return false
				}
				skip = HeaderSize + int(h.Length)
			}
			skip -= len(p)
			return true
		}
		if !b.vectored {
			each(b.scratch)
			return
		}
		for _, p := range b.parts {
			if !each(p) {
				return
			}
		}
	}
}

// AppendRest appends the bytes of the batch from offset n on to dst and returns the extended
// slice.
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

// Retain registers r: the next call of [Batch.Release] calls r.Release once for each Retain.
func (b *Batch) Retain(r Releaser) { b.retained = append(b.retained, r) }

// Release empties the batch, and calls all Releasers. After that the batch refers to no
// payload.
func (b *Batch) Release() {
	for i, r := range b.retained {
		r.Release()
		b.retained[i] = nil
	}
	clear(b.parts)
	b.retained, b.parts, b.scratch = b.retained[:0], b.parts[:0], b.scratch[:0]
	b.size, b.frames, b.full = 0, 0, false
}

// Frame adds a frame of h and a copy of data. It sets the header's Length.
func (b *Batch) Frame(h Header, data []byte) {
	h.Length = uint16(len(data))
	b.frames++
	start := len(b.scratch)
	b.scratch = append(h.Append(b.scratch), data...)
	b.addScratch(start)
}

// Update adds a [UPD] frame. It sets the header's Command and Length.
func (b *Batch) Update(h Header, u WindowUpdate) {
	h.Command, h.Length = UPD, UpdateSize
	b.frames++
	start := len(b.scratch)
	b.scratch = u.Append(h.Append(b.scratch))
	b.addScratch(start)
}

// Begin begins a frame with header h. Calls of [Batch.Payload] add its payload, and
// [Batch.End] sets the header's Length.
func (b *Batch) Begin(h Header) {
	b.frames++
	b.start, b.payload = len(b.scratch), 0
	b.scratch = h.Append(b.scratch)
	b.addScratch(b.start)
}

// TakesPayload reports whether [Batch.Payload] may be called once more. All pieces of a frame together
// must not exceed the Room there was before Begin.
func (b *Batch) TakesPayload() bool {
	// The scratch of a vectored batch must not be reallocated: parts refer to it.
	return !b.vectored || len(b.parts) <= maxParts-2 && cap(b.scratch)-len(b.scratch) >= maxCopy+2*HeaderSize
}

// Payload adds p to the frame that Begin has begun. It reports whether the batch refers to
// p instead of a copy. Then p must not change before Release.
func (b *Batch) Payload(p []byte) (refers bool) {
	b.payload += len(p)
	if b.vectored && len(p) > maxCopy {
		b.parts = append(b.parts, p)
		b.size += len(p)
		return true
	}
	start := len(b.scratch)
	b.scratch = append(b.scratch, p...)
	b.addScratch(start)
	return false
}

// End ends the frame that Begin has begun.
func (b *Batch) End() {
	binary.LittleEndian.PutUint16(b.scratch[b.start+2:], uint16(b.payload))
}

// addScratch adds the bytes of scratch from start on to size and parts.
func (b *Batch) addScratch(start int) {
	n := len(b.scratch) - start
	b.size += n
	if !b.vectored || n == 0 {
		return
	}
	// If the last part ends where these bytes begin, extend it.
	if k := len(b.parts) - 1; k >= 0 {
		last := b.parts[k]
		if end := len(last); end > 0 && start > 0 && &last[end-1] == &b.scratch[start-1] {
			b.parts[k] = last[:end+n]
			return
		}
	}
	b.parts = append(b.parts, b.scratch[start:])
}
