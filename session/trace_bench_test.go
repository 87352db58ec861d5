package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// What sight costs: Config.Trace, Stats, and an idle stream.

// traces are the values of Config.Trace that BenchmarkTrace compares: none, functions that do nothing for each event, the
// same with Frame, and a logger that drops its records.
func traces() map[string]*session.Trace {
	events := func() *session.Trace {
		return &session.Trace{
			SessionBegin:    func(*session.Session) {},
			SessionEnd:      func(*session.Session, error) {},
			StreamOpened:    func(*session.Session, *stream.Stream) {},
			StreamAccepted:  func(*session.Session, *stream.Stream) {},
			StreamRefused:   func(*session.Session, session.Refusal) {},
			StreamClosed:    func(*session.Session, session.StreamEnd) {},
			StreamStalled:   func(*session.Session, *stream.Stream, int) {},
			DataDropped:     func(*session.Session, int) {},
			ReadPaused:      func(*session.Session, session.Pause) {},
			ReadResumed:     func(*session.Session, session.Pause, time.Duration) {},
			KeepAliveProbe:  func(*session.Session, time.Duration) {},
			KeepAliveGiveUp: func(*session.Session, time.Duration) {},
			DrainBegin:      func(*session.Session) {},
			PeerDraining:    func(*session.Session) {},
		}
	}
	frames := events()
	frames.Frame = func(*session.Session, session.Direction, wire.Header) {}
	return map[string]*session.Trace{
		"none":   nil,
		"events": events(),
		"frames": frames,
		"log":    session.LogTrace(slog.New(slog.DiscardHandler)),
	}
}

// BenchmarkTrace is BenchmarkEcho, BenchmarkCall with one caller, and BenchmarkTransfer, by what Config.Trace is at both
// ends.
func BenchmarkTrace(b *testing.B) {
	for name, trace := range traces() {
		start := func(b *testing.B) (c, s *session.Session) {
			b.ReportAllocs()
			return sessions(b, transport("tcp"), session.Config{Trace: trace})
		}
		b.Run("echo/trace="+name, func(b *testing.B) {
			out, in := openPair2(b, start)
			go echo(in)
			p := make([]byte, 64)
			for b.Loop() {
				roundTrip(b, out, p)
			}
		})
		b.Run("call/trace="+name, func(b *testing.B) {
			c, s := start(b)
			go func() {
				for {
					st, err := s.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go echo(st)
				}
			}()
			p := make([]byte, 64)
			for b.Loop() {
				st := open(b, c)
				roundTrip(b, st, p)
				_ = st.Close()
			}
		})
		b.Run("transfer/trace="+name, func(b *testing.B) {
			out, in := openPair2(b, start)
			wait := discard(in)
			p := make([]byte, 128<<10)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := out.Write(p); err != nil {
					b.Fatal(err)
				}
			}
			if err := out.CloseWrite(); err != nil {
				b.Fatal(err)
			}
			wait(b, b.N*len(p))
		})
	}
}

// openPair2 starts two sessions and opens a stream.
func openPair2(b *testing.B, start func(*testing.B) (c, s *session.Session)) (opened, accepted *stream.Stream) {
	c, s := start(b)
	return openPair(b, c, s)
}

// BenchmarkStats calls Stats of a session with this many open streams, and of one stream.
func BenchmarkStats(b *testing.B) {
	for _, streams := range []int{1, 1000} {
		c, s := sessions(b, transport("tcp"), session.Config{})
		opened, _ := openPairs(b, c, s, streams)
		b.Run(fmt.Sprintf("session/streams=%d", streams), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = c.Stats()
			}
		})
		if streams == 1 {
			b.Run("stream", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = opened[0].Stats()
				}
			})
		}
	}
}

// BenchmarkIdleStream measures the memory of a stream that has carried a message each way and says nothing more, by what
// the session has set. It is the mean of both ends.
func BenchmarkIdleStream(b *testing.B) {
	const streams = 4000
	for name, cfg := range map[string]session.Config{
		"plain":             {},
		"StreamIdleTimeout": {StreamIdleTimeout: time.Hour},
		"Trace":             {Trace: traces()["events"]},
	} {
		b.Run(name, func(b *testing.B) {
			total := 0
			for b.Loop() {
				c, s := sessions(b, transport("tcp"), cfg)
				warm, _ := openPair(b, c, s)
				_ = warm.Close()
				runtime.GC()
				before := heapInUse()
				opened, accepted := openPairs(b, c, s, streams)
				var answering sync.WaitGroup
				p := make([]byte, 64)
				for i, st := range opened {
					answering.Go(func() { roundTrip(b, accepted[i], make([]byte, 64)) })
					roundTrip(b, st, p)
				}
				answering.Wait()
				total += heapInUse() - before
				_, _ = c.CloseNow(), s.CloseNow()
				runtime.KeepAlive(opened)
				runtime.KeepAlive(accepted)
			}
			b.ReportMetric(float64(total)/float64(2*streams)/float64(b.N), "B/stream")
			b.ReportMetric(0, "ns/op")
		})
	}
}
