package simnet_test

import (
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// BenchmarkBulk sends data in one direction, 32 KiB a Write.
func BenchmarkBulk(b *testing.B) {
	const size = 32 << 10
	x, y := simnet.Pair(simnet.Link{})
	b.ReportAllocs()
	b.SetBytes(size)
	done := make(chan error)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, y, make([]byte, size))
		done <- err
	}()
	buf := make([]byte, size)
	for b.Loop() {
		if _, err := x.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	x.Close()
	if err := <-done; err != nil {
		b.Error(err)
	}
	y.Close()
}

// BenchmarkPingPong sends 64 bytes in each direction.
func BenchmarkPingPong(b *testing.B) {
	x, y := simnet.Pair(simnet.Link{})
	b.ReportAllocs()
	buf := make([]byte, 64)
	for b.Loop() {
		for _, c := range [][2]*simnet.Conn{{x, y}, {y, x}} {
			if _, err := c[0].Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := c[1].Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	x.Close()
	y.Close()
}
