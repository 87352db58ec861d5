package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Everything at once: both ends use streams in every way until the session ends.

// Both ends use their streams from several goroutines in every way. All calls return when the session ends.
func TestAllCallsAtOnceReturnAtTheEnd(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(s *session.Session, conn io.Closer)
	}{
		{"Close", func(s *session.Session, conn io.Closer) { _ = s.Close() }},
		{"the transport is closed", func(s *session.Session, conn io.Closer) { _ = conn.Close() }},
		{"Shutdown", func(s *session.Session, conn io.Closer) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			_ = s.Shutdown(ctx)
			_ = s.Close()
		}},
	} {
		t.Run(e.name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				for seed := range uint64(2) {
					ca, cb := tr.Pair(t)
					cfg := &session.Config{Version: version, MaxReceiveBuffer: 64 << 10, CloseTimeout: 20 * time.Millisecond, AcceptBacklog: 8}
					c, s := client(t, ca, cfg), server(t, cb, cfg)
					var wg sync.WaitGroup
					busy := make(chan struct{})
					var streams atomic.Int64
					count := func() {
						if streams.Add(1) == int64(10+20*seed) {
							close(busy)
						}
					}
					for i, end := range []*session.Session{c, s} {
						for n := range 3 {
							wg.Go(func() { muddle(end, rand.New(rand.NewPCG(seed, uint64(10*i+n))), count) })
						}
					}
					<-busy
					if seed%2 == 0 {
						e.end(c, ca)
					} else {
						e.end(s, cb)
					}
					wg.Wait()
					<-c.Done()
					<-s.Done()
					if c.Err() == nil || s.Err() == nil {
						t.Errorf("Err = %v, %v", c.Err(), s.Err())
					}
					if a, b := c.NumStreams(), s.NumStreams(); a+b != 0 {
						t.Errorf("%d and %d streams are open", a, b)
					}
				}
			})
		})
	}
}

// muddle uses a session in every way until it ends. It calls count for each stream that it opens or accepts.
func muddle(s *session.Session, rng *rand.Rand, count func()) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for s.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(5000))*time.Microsecond)
		var st *stream.Stream
		var err error
		if rng.IntN(2) == 0 {
			st, err = s.OpenStream(ctx)
		} else {
			st, err = s.AcceptStream(ctx)
		}
		cancel()
		if errors.Is(err, net.ErrClosed) {
			return // Err is nil until the data that was written is sent
		}
		if err != nil {
			time.Sleep(10 * time.Microsecond)
			continue
		}
		count()
		for range 1 + rng.IntN(3) {
			rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
			wg.Go(func() { muddleStream(st, rng) })
		}
		_ = s.Stats()
		_ = s.NumStreams()
	}
}

func muddleStream(st *stream.Stream, rng *rand.Rand) {
	defer st.Close()
	buf := make([]byte, 40_000)
	for range rng.IntN(30) {
		n := []int{0, 1, 100, 8191, 8192, 40_000}[rng.IntN(6)]
		switch rng.IntN(12) {
		case 0, 1, 2:
			_, _ = st.Write(buf[:n])
		case 3, 4, 5:
			_, _ = st.Read(buf[:n])
		case 6:
			_ = st.SetDeadline(time.Now().Add(time.Duration(rng.IntN(3000)-500) * time.Microsecond))
		case 7:
			_ = st.SetDeadline(time.Time{})
		case 8:
			_ = st.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, _ = st.WriteTo(io.Discard)
		case 9:
			_, _ = st.ReadFrom(io.LimitReader(bytes.NewReader(buf), int64(n)))
		case 10:
			if rng.IntN(3) == 0 {
				_ = st.CloseWrite()
			}
		case 11:
			if rng.IntN(3) == 0 {
				_ = st.CloseRead()
			}
		}
	}
}
