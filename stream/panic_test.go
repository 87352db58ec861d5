package stream_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A session that panics when a stream calls it, as with a scheduler that panics, leaves no lock of the stream
// held.
func TestSessionPanicLeavesTheStreamUnlocked(t *testing.T) {
	write := func(n int) func(s *stream.Stream) {
		return func(s *stream.Stream) { _, _ = s.Write(make([]byte, n)) }
	}
	for name, call := range map[string]func(s *stream.Stream){
		"a short Write":       write(1),
		"a long Write":        write(100_000),
		"Read":                func(s *stream.Stream) { _, _ = s.Read(make([]byte, 1)) },
		"WriteTo":             func(s *stream.Stream) { _, _ = s.WriteTo(io.Discard) },
		"Close":               func(s *stream.Stream) { _ = s.Close() },
		"CloseWrite":          func(s *stream.Stream) { _ = s.CloseWrite() },
		"CloseRead":           func(s *stream.Stream) { _, _ = s.Read(make([]byte, 1)); _ = s.CloseRead() },
		"SetWeight":           func(s *stream.Stream) { s.SetWeight(2) },
		"a Write with a rate": func(s *stream.Stream) { s.SetSendRate(flow.Rate{BytesPerSecond: 1e9, Burst: 1e6}); write(100_000)(s) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, true)
				f.panics = true
				func() {
					defer func() {
						if value := recover(); value != "boom" {
							t.Errorf("it panics with %v, want boom", value)
						}
					}()
					call(f.stream())
				}()
				f.panics = false
				f.core.HasUnsent() // blocks if the lock is held
				f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
				_, err := f.stream().Write([]byte("x"))
				_, rerr := f.stream().Read(make([]byte, 1))
				if err == nil || rerr == nil {
					t.Errorf("then Write: %v, Read: %v", err, rerr)
				}
				_ = f.stream().SetDeadline(time.Now())
				_ = f.stream().Close()
				synctest.Wait()
			})
		})
	}
}
