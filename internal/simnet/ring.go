package simnet

// ring holds the bytes of a direction that were written and not read. Positions count from the first byte ever
// written.
type ring struct {
	buf []byte // its length is a power of two, or zero
}

const minRing = 4 << 10

// put stores b at position end, while [begin, end) is in use. It grows the ring if needed.
func (r *ring) put(begin, end int64, b []byte) {
	if need := int(end-begin) + len(b); need > len(r.buf) {
		r.grow(begin, end, need)
	}
	i := r.index(end)
	n := copy(r.buf[i:], b)
	copy(r.buf, b[n:])
}

// get copies the bytes from position begin to b.
func (r *ring) get(b []byte, begin int64) {
	i := r.index(begin)
	n := copy(b, r.buf[i:])
	copy(b[n:], r.buf)
}

func (r *ring) grow(begin, end int64, need int) {
	size := max(minRing, len(r.buf))
	for size < need {
		size *= 2
	}
	bigger := ring{buf: make([]byte, size)}
	if begin < end {
		used := int(end - begin)
		i := r.index(begin)
		head := r.buf[i:min(i+used, len(r.buf))]
		bigger.put(begin, begin, head)
		bigger.put(begin, begin+int64(len(head)), r.buf[:used-len(head)])
	}
	r.buf = bigger.buf
}

func (r *ring) index(pos int64) int { return int(pos) & (len(r.buf) - 1) }
