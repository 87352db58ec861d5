package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Both ends of a session run in one process with the default Config. These benchmarks compare two versions of this
// code with benchstat. internal/bench compares implementations, with each end in its own process.

// overSessions runs a benchmark for both versions over some transports.
func overSessions(b *testing.B, transports []string, run func(b *testing.B, c, s *session.Session)) {
	for _, name := range transports {
		for version := 1; version <= 2; version++ {
			b.Run(fmt.Sprintf("%s/v%d", name, version), func(b *testing.B) {
				b.ReportAllocs()
				c, s := sessions(b, transport(name), session.Config{Version: version})
				run(b, c, s)
			})
		}
	}
}

// discard reads streams until they end. The function that it returns waits for that and checks the number of
// bytes.
func discard(streams ...*stream.Stream) (wait func(b *testing.B, bytes int)) {
	var reading sync.WaitGroup
	got, errs := make([]int64, len(streams)), make([]error, len(streams))
	for i, st := range streams {
		reading.Go(func() { got[i], errs[i] = io.Copy(io.Discard, st) })
	}
	return func(b *testing.B, bytes int) {
		reading.Wait()
		for _, n := range got {
			bytes -= int(n)
		}
		if err := errors.Join(errs...); err != nil || bytes != 0 {
			b.Errorf("%d bytes were not read, error %v", bytes, err)
		}
	}
}

// BenchmarkTransfer writes and reads one stream in one direction. An operation is a Write.
func BenchmarkTransfer(b *testing.B) {
	for _, size := range []int{256, 128 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			overSessions(b, []string{"tcp", "unix", "pipe"}, func(b *testing.B, c, s *session.Session) {
				out, in := openPair(b, c, s)
				wait := discard(in)
				p := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := out.Write(p); err != nil {
						b.Fatal(err)
					}
				}
				if err := out.CloseWrite(); err != nil {
					b.Fatal(err)
				}
				wait(b, b.N*size)
			})
		})
	}
}

// BenchmarkTransferOnManyStreams is BenchmarkTransfer on 64 streams at once, with 16 KiB an operation.
func BenchmarkTransferOnManyStreams(b *testing.B) {
	const streams, size = 64, 16 << 10
	overSessions(b, []string{"tcp"}, func(b *testing.B, c, s *session.Session) {
		outs, ins := openPairs(b, c, s, streams)
		wait := discard(ins...)
		b.SetBytes(size)
		b.ResetTimer()
		var writing sync.WaitGroup
		for i, out := range outs {
			n := (b.N + i) / streams
			writing.Go(func() {
				p := make([]byte, size)
				for range n {
					if _, err := out.Write(p); err != nil {
						b.Error(err)
						return
					}
				}
				if err := out.CloseWrite(); err != nil {
					b.Error(err)
				}
			})
		}
		writing.Wait()
		wait(b, b.N*size)
	})
}

// BenchmarkEcho sends 64 bytes back and forth on an open stream.
func BenchmarkEcho(b *testing.B) {
	overSessions(b, []string{"tcp", "unix", "pipe"}, func(b *testing.B, c, s *session.Session) {
		out, in := openPair(b, c, s)
		go echo(in)
		p := make([]byte, 64)
		for b.Loop() {
			roundTrip(b, out, p)
		}
	})
}

// BenchmarkCall opens a stream, sends 64 bytes back and forth, and closes the stream. The numbers of goroutines
// that do so at once, and of other open streams, vary.
func BenchmarkCall(b *testing.B) {
	for _, tt := range []struct{ callers, idle int }{{1, 0}, {64, 0}, {1, 50_000}} { // fewer than DefaultMaxStreams
		b.Run(fmt.Sprintf("callers=%d/idle=%d", tt.callers, tt.idle), func(b *testing.B) {
			overSessions(b, []string{"tcp"}, func(b *testing.B, c, s *session.Session) {
				for range tt.idle / 1000 {
					openPairs(b, c, s, 1000)
				}
				go func() {
					for {
						st, err := s.AcceptStream(context.Background())
						if err != nil {
							return
						}
						go echo(st)
					}
				}()
				b.ResetTimer()
				var calling sync.WaitGroup
				for i := range tt.callers {
					n := (b.N + i) / tt.callers
					calling.Go(func() {
						p := make([]byte, 64)
						for range n {
							st, err := c.OpenStream(context.Background())
							if err != nil {
								b.Error(err)
								return
							}
							roundTrip(b, st, p)
							if err := st.Close(); err != nil {
								b.Error(err)
							}
						}
					})
				}
				calling.Wait()
			})
		})
	}
}

// echo sends back what it receives, and closes st at the end.
func echo(st *stream.Stream) {
	p := make([]byte, 64)
	for {
		n, err := st.Read(p)
		if err == nil {
			_, err = st.Write(p[:n])
		}
		if err != nil {
			_ = st.Close()
			return
		}
	}
}

func roundTrip(b *testing.B, st *stream.Stream, p []byte) {
	if _, err := st.Write(p); err != nil {
		b.Error(err)
	}
	if _, err := io.ReadFull(st, p); err != nil {
		b.Error(err)
	}
}

// BenchmarkWaitingStream measures the memory of a stream that waits for Accept, by the amount of its unread data
// (docs/flow-control.md).
func BenchmarkWaitingStream(b *testing.B) {
	const streams = 4000 // 8,000 bytes on each fit into MaxReceiveBuffer
	for _, size := range []int{0, 5, 700, 8000} {
		b.Run(fmt.Sprintf("unread=%d", size), func(b *testing.B) {
			var total int
			for b.Loop() {
				total += waitingMemory(b, streams, size)
			}
			b.ReportMetric(float64(total)/float64(streams)/float64(b.N), "B/stream")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// waitingMemory returns the bytes of memory that this number of streams take while they wait for Accept, each with
// one frame of this size.
func waitingMemory(b *testing.B, streams, size int) int {
	conn, peer := transport("tcp").Pair(b)
	s := server(b, conn, nil)
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	runtime.GC() // the second one empties the pools
	before := heapInUse()
	data := make([]byte, size)
	for n := range streams {
		id := uint32(2*n + 1)
		frames := testutil.SYN(wire.V1, id).Append(nil)
		if size > 0 {
			frames = testutil.PSH(wire.V1, id, data).Append(frames)
		}
		if _, err := peer.Write(frames); err != nil {
			b.Fatal(err)
		}
	}
	for st := s.Stats(); st.StreamsAccepted < uint64(streams) || st.Unread < streams*size; st = s.Stats() {
		runtime.Gosched()
	}
	used := heapInUse() - before
	_ = peer.Close()
	_ = s.Close()
	return used
}
