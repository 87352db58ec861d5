package stream

import (
	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

// A Batch collects the frames of one transport write. It is used by one goroutine
// at a time.
//
// It comes in two kinds. A gathering batch refers to large payloads where they are,
// also in the buffers of callers of Write, and is for a transport that is written
// to without blocking: those calls cannot return before Release. A copying batch
// has all its bytes in one slice and refers to nothing, and is for any transport.
type Batch struct {
	gather  bool
	full    bool     // what comes next does not fit well
	scratch []byte   // headers and copied payloads
	parts   [][]byte // a gathering batch's bytes, in order, in scratch or elsewhere
	size    int

	buffers []*buffer.Buf // to be freed by Release: parts may refer to them
	loans   []*Stream     // whose Write's buffers are referred to, once a reference
}

// Limits of a batch.
const (
	// batchLimit is the most bytes in a batch. It is just below the 65,483 bytes (65,463
	// with IPv6) that one TCP segment holds on a loopback interface: there, cost per
	// byte falls up to that size, and is three times as high where a few bytes more
	// make a second, tiny segment (docs/performance.md). No other path minds.
	batchLimit = 65400
	// frameTarget is the payload of a frame of which two fill a batch.
	frameTarget = (batchLimit - 4*wire.HeaderSize) / 2
	// frameMax is the most payload in a frame: it fills a batch.
	frameMax = batchLimit - 3*wire.HeaderSize
	// leastRoom is the least room that is worth filling.
	leastRoom = 4 << 10
	// maxParts bounds the parts of a gathering batch.
	maxParts = 48
	// copyMax is up to which size copying a payload is cheaper than a part of
	// its own.
	copyMax = 1 << 10
	// gatherScratch holds the headers and small payloads of a gathering batch.
	gatherScratch = 8 << 10
)

// NewBatch returns an empty batch: a gathering or a copying one.
func NewBatch(gather bool) *Batch {
	if gather {
		return &Batch{gather: true, scratch: make([]byte, 0, gatherScratch), parts: make([][]byte, 0, maxParts)}
	}
	return &Batch{scratch: make([]byte, 0, batchLimit)}
}

// Len returns the number of bytes in the batch.
func (b *Batch) Len() int { return b.size }

// Full reports whether the batch should be sent before more is added.
func (b *Batch) Full() bool {
	if b.full || b.room() < leastRoom {
		return true
	}
	return b.gather && (len(b.parts) > maxParts-4 || cap(b.scratch)-len(b.scratch) < 2*copyMax+8*wire.HeaderSize)
}

// room returns how much payload one more frame may have, with a FIN or two behind it.
func (b *Batch) room() int { return batchLimit - b.size - 3*wire.HeaderSize }

// Parts returns the bytes of a gathering batch, valid until Release.
func (b *Batch) Parts() [][]byte { return b.parts }

// Bytes returns the bytes of a copying batch, valid until Release.
func (b *Batch) Bytes() []byte { return b.scratch }

// AppendRest appends to dst the bytes of the batch without the first n.
func (b *Batch) AppendRest(dst []byte, n int) []byte {
	if !b.gather {
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

// Release ends the use of what the batch refers to, and empties it.
func (b *Batch) Release() {
	for i, s := range b.loans {
		s.returnLoan()
		b.loans[i] = nil
	}
	for i, buf := range b.buffers {
		buf.Free()
		b.buffers[i] = nil
	}
	clear(b.parts)
	b.loans, b.buffers, b.parts = b.loans[:0], b.buffers[:0], b.parts[:0]
	b.scratch, b.size, b.full = b.scratch[:0], 0, false
}

// Frame adds a frame whose data is copied.
func (b *Batch) Frame(h wire.Header, data []byte) {
	start := len(b.scratch)
	b.scratch = append(h.Append(b.scratch), data...)
	b.wrote(start)
}

// update adds an UPD frame.
func (b *Batch) update(h wire.Header, u wire.WindowUpdate) {
	start := len(b.scratch)
	b.scratch = u.Append(h.Append(b.scratch))
	b.wrote(start)
}

// wrote accounts for scratch bytes from start on.
func (b *Batch) wrote(start int) {
	n := len(b.scratch) - start
	b.size += n
	if !b.gather {
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

// begin adds the header of a PSH frame whose data follows by calls of data. The
// result is for end.
func (b *Batch) begin(h wire.Header) (start int) {
	start = len(b.scratch)
	b.scratch = h.Append(b.scratch)
	b.wrote(start)
	return start
}

// data adds p to the frame that begin has begun, and reports whether the batch refers to p,
// which must then stay as it is until Release.
func (b *Batch) data(p []byte) (refers bool) {
	if !b.gather || len(p) <= copyMax {
		start := len(b.scratch)
		b.scratch = append(b.scratch, p...)
		b.wrote(start)
		return false
	}
	b.parts = append(b.parts, p)
	b.size += len(p)
	return true
}

// end sets the length of the frame that begin has begun.
func (b *Batch) end(start int, h wire.Header) { h.Append(b.scratch[:start]) }

// takesData reports whether there is room for another call of data. The scratch of a
// gathering batch never grows within a frame: parts refer to it.
func (b *Batch) takesData() bool {
	return !b.gather || len(b.parts) <= maxParts-2 && cap(b.scratch)-len(b.scratch) >= copyMax+2*wire.HeaderSize
}
