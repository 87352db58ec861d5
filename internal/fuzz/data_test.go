package fuzz

import (
	"bytes"
	"math/rand/v2"
)

// A pattern is an endless sequence of bytes that tells its own parts, and the patterns of
// others, apart.
type pattern int

// noise repeats itself after an odd number of bytes, and each pattern is somewhere else in it.
var noise = func() []byte {
	rng := rand.NewChaCha8([32]byte{})
	b := make([]byte, noisePeriod)
	_, _ = rng.Read(b)
	return append(b, b...)
}()

const noisePeriod = 1<<16 - 15

// bytes returns n bytes of the pattern, from offset off on, which the caller must not change.
func (p pattern) bytes(off, n int) []byte {
	start := (int(p)*4099 + off) % noisePeriod
	if n <= noisePeriod {
		return noise[start : start+n]
	}
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, p.bytes(off+len(b), min(n-len(b), noisePeriod))...)
	}
	return b
}

// matches reports whether b is what the pattern has at offset off.
func (p pattern) matches(b []byte, off int) bool {
	for len(b) > 0 {
		n := min(len(b), noisePeriod)
		if !bytes.Equal(b[:n], p.bytes(off, n)) {
			return false
		}
		b, off = b[n:], off+n
	}
	return true
}
