//go:build !race && !emulated

package stream_test

import (
	"fmt"
	"io"
	"runtime/debug"
	"testing"

	"github.com/smuxkit/smuxkit/wire"
)

// These tests need ordinary builds: with the race detector sync.Pool drops objects at random.

// A steady flow of Writes and Reads through a stream allocates nothing.
func TestStreamSteadyFlowAllocatesNothing(t *testing.T) {
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		for _, size := range []int{1, 100, 1000, 4000} {
			for _, gather := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%d bytes/gathering %v", v, size, gather), func(t *testing.T) {
					a, b := newFake(t, v, false), newFake(t, v, false)
					p, q := make([]byte, size), make([]byte, size)
					batch := wire.NewBatch(gather)
					var wired []byte
					var err error
					step := func() {
						a.calls, b.calls = a.calls[:0], b.calls[:0]
						if _, e := a.stream().Write(p); e != nil {
							err = e
						}
						a.core.AppendData(batch, 1<<20)
						wired = batch.AppendRest(wired[:0], 0)
						batch.Release()
						b.core.Deliver(wired[wire.HeaderSize:], false)
						if _, e := io.ReadFull(b.stream(), q); e != nil {
							err = e
						}
						// The window updates, in version 2.
						b.core.AppendControl(batch)
						if batch.Len() > 0 {
							wired = batch.AppendRest(wired[:0], 0)
							u, e := wire.ParseWindowUpdate(wired[wire.HeaderSize:])
							if e == nil {
								e = a.core.HandleUpdate(u)
							}
							if e != nil {
								err = e
							}
						}
						batch.Release()
					}
					defer debug.SetGCPercent(debug.SetGCPercent(-1))
					for range 1000 {
						step()
					}
					if n := testing.AllocsPerRun(1000, step); n != 0 {
						t.Errorf("%v allocations a Write and Read", n)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}
