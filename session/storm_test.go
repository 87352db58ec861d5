package session_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Concurrent Reads get each byte once.
func TestConcurrentReadsGetEachByteOnce(t *testing.T) {
	const size, readers = 512 << 10, 6
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		go func() {
			if _, err := testutil.Pattern(1).Send(a, size, 10_000); err != nil {
				t.Error(err)
			}
			a.Close()
		}()
		// Only the sum of all readers is known.
		var want, got [256]int
		for _, x := range testutil.Pattern(1).Bytes(size) {
			want[x]++
		}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range readers {
			all.Go(func() {
				var mine [256]int
				count := writerFunc(func(p []byte) (int, error) {
					for _, x := range p {
						mine[x]++
					}
					return len(p), nil
				})
				var err error
				if i%3 == 0 {
					_, err = b.WriteTo(count)
				} else {
					_, err = io.CopyBuffer(count, struct{ io.Reader }{b}, make([]byte, 1+i*5000))
				}
				testutil.WantErr(t, "reading", err, nil)
				mu.Lock()
				defer mu.Unlock()
				for x := range mine {
					got[x] += mine[x]
				}
			})
		}
		all.Wait()
		if got != want {
			t.Error("the bytes that were read are not those that were written")
		}
	})
}

// Any method of a stream may be called at any time from any goroutine. Nothing panics, races, hangs or leaks, and
// each call returns what it may return.
func TestStreamMethodsMayBeCalledAtOnce(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		allowed := []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, stream.ErrPeerClosed}
		check := func(what string, err error) {
			if err == nil {
				return
			}
			for _, a := range allowed {
				if errors.Is(err, a) {
					return
				}
			}
			t.Errorf("%s: %v", what, err)
		}
		for seed := range uint64(5) {
			a, b := openPair(t, c, s)
			var all sync.WaitGroup
			for i := range 12 {
				st := a
				if i%2 == 1 {
					st = b
				}
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(i)))
					for range 20 {
						var err error
						what := ""
						switch k := rng.IntN(60); {
						case k < 15:
							what = "Write"
							_, err = st.Write(make([]byte, rng.IntN(1<<(1+rng.IntN(17)))))
						case k < 30:
							what = "Read"
							st.SetReadDeadline(time.Now().Add(time.Millisecond))
							_, err = st.Read(make([]byte, rng.IntN(40_000)))
						case k < 40:
							what = "SetDeadline"
							err = st.SetDeadline(time.Now().Add(time.Duration(rng.IntN(1000)) * time.Microsecond))
						case k < 45:
							what = "ReadFrom"
							_, err = st.ReadFrom(testutil.Pattern(1).Reader(int64(rng.IntN(100_000))))
						case k < 50:
							what = "WriteTo"
							st.SetReadDeadline(time.Now().Add(time.Millisecond))
							_, err = st.WriteTo(io.Discard)
						case k < 52:
							what = "CloseWrite"
							err = st.CloseWrite()
						case k < 53:
							what = "CloseRead"
							err = st.CloseRead()
						case k < 54:
							what = "Close"
							err = st.Close()
						default:
							_, _, _ = st.ID(), st.LocalAddr(), st.RemoteAddr()
						}
						check(what, err)
					}
				})
			}
			all.Wait()
			check("Close", a.Close())
			check("Close", b.Close())
		}
		testutil.WantErr(t, "Err", c.Err(), nil)
		testutil.WantErr(t, "the peer's Err", s.Err(), nil)
		// The budget has all unread data back: the session still takes a full one.
		a, b := openPair(t, c, s)
		go func() {
			testutil.Pattern(1).Send(a, 1<<20, 30_000)
			a.Close()
		}()
		if err := testutil.Pattern(1).Receive(b, 1<<20); err != nil {
			t.Error(err)
		}
		b.Close()
		testutil.WantErr(t, "Shutdown", c.Shutdown(t.Context()), nil)
	})
}

// The same holds for the methods of a session.
func TestSessionMethodsMayBeCalledAtOnce(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for seed := range uint64(5) {
			c, s := sessions(t, tr, session.Config{Version: version, CloseTimeout: 100 * time.Millisecond})
			var all sync.WaitGroup
			for i := range 10 {
				side := c
				if i%2 == 1 {
					side = s
				}
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(i)))
					for {
						var st net.Conn
						var err error
						if i < 4 {
							st, err = side.Accept()
						} else {
							st, err = side.Open()
						}
						if err != nil {
							return
						}
						st.Write(make([]byte, rng.IntN(20_000)))
						if rng.IntN(3) > 0 {
							st.Close()
						}
						_, _, _ = side.NumStreams(), side.Stats(), side.Err()
						if i >= 4 && rng.IntN(40) == 0 {
							side.Close()
						}
					}
				})
			}
			all.Wait()
			testutil.WantErr(t, "Close", c.Close(), nil)
			testutil.WantErr(t, "Close", s.Close(), nil)
			if c, s := c.NumStreams(), s.NumStreams(); c != 0 || s != 0 {
				t.Errorf("%d and %d streams are left", c, s)
			}
		}
	})
}
