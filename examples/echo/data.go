package main

import (
	"math/rand/v2"
	"sync"
)

// block returns random bytes. The streams send them again and again, each from a place of its own: random bytes that are
// made while the time runs would measure the generator. The length is odd, so that a block that is repeated never
// begins where a frame does.
var block = sync.OnceValue(func() []byte {
	b := make([]byte, 4<<20+1)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// data is what is sent on a stream.
type data struct {
	block        []byte
	at           int // in block
	left, length int64
}

// newData returns the n bytes of stream i. They are the same for each call.
func newData(i int, n int64) *data {
	b := block()
	at := uint64(i) * 0x9e3779b97f4a7c15 % uint64(len(b)) // far from those of other streams
	return &data{block: b, at: int(at), left: n, length: n}
}

// next returns the next bytes, at most most of them, and none at the end. They must not be changed.
func (d *data) next(most int) []byte {
	n := min(int64(most), d.left, int64(len(d.block)-d.at))
	b := d.block[d.at:][:n]
	d.left -= n
	d.at = (d.at + int(n)) % len(d.block)
	return b
}
