package session_test

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Streams of version 2 that nobody reads, and what they cost other streams. stall_test.go has version 1.

// A crowd is streams that nobody reads.
type crowd struct{ out, in []*stream.Stream }

// openCrowd opens n streams and fills them. If early is set, each is filled before its peer's first update can
// arrive, up to the first window. Otherwise it is filled as far as the updates allow.
func openCrowd(t *testing.T, c, s *session.Session, n int, early bool, patience time.Duration) crowd {
	t.Helper()
	var u crowd
	for range n {
		out := open(t, c)
		u.out = append(u.out, out)
		size := 1
		if early {
			size = flow.InitialWindow
		}
		if _, err := out.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		u.in = append(u.in, accept(t, s))
	}
	time.Sleep(patience)
	for _, out := range u.out {
		fillUp(t, out, patience)
	}
	return u
}

// fillUp writes to st until it takes nothing more within patience. It returns the number of bytes.
func fillUp(t testing.TB, st *stream.Stream, patience time.Duration) (n int64) {
	t.Helper()
	buf := make([]byte, 32*testutil.KiB)
	for {
		if err := st.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		k, err := st.Write(buf)
		n += int64(k)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := st.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// aMoment returns a time in which everything that a test here sends has arrived.
func aMoment(link simnet.Link) time.Duration { return 2*link.Delay + 3*time.Second }

// Beside 64 streams that nobody reads, each filled as far as its peer may, a 65th gets at least 0.9 of what it
// gets alone. The unread bytes of all never exceed the budget.
func TestThe65thStreamRunsBeside64UnreadOnes(t *testing.T) {
	for _, tt := range []struct {
		name string
		link simnet.Link
		size int64
	}{
		{"8 Gbit/s and no distance", path(8*simnet.Gbit, 0), scaled(32*testutil.MiB, 4)},
		{"1 Gbit/s and 10 ms", path(scaled(simnet.Gbit, 8), 10*time.Millisecond), scaled(64*testutil.MiB, 8)},
		{"1 Gbit/s and 100 ms", path(scaled(simnet.Gbit, 8), 100*time.Millisecond), scaled(256*testutil.MiB, 8)},
		{"10 Mbit/s and 300 ms", path(10*simnet.Mbit, 300*time.Millisecond), 16 * testutil.MiB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := func(n int, early bool) (took time.Duration) {
				bubble(t, func(t *testing.T) {
					budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
					c, s := sessionsOver(t, tt.link, v2(), &session.Config{Version: 2, Budget: budget})
					openCrowd(t, c, s, n, early, aMoment(tt.link))
					held := budget.Used()
					elapsed := testutil.Clock()
					go writeN(open(t, c), tt.size, 64*testutil.KiB)
					most := 0
					readN(t, accept(t, s), tt.size, func(int64) { most = max(most, budget.Used()) })
					took = elapsed()
					t.Logf("beside %d that hold %d KiB: %.3f of the link; at most %d KiB unread",
						n, held/testutil.KiB, share(tt.size, took, tt.link.Rate), most/testutil.KiB)
					if most > budget.Size() {
						t.Errorf("%d bytes were unread, more than the budget of %d", most, budget.Size())
					}
				})
				return took
			}
			alone := run(0, false)
			for _, early := range []bool{false, true} {
				if ratio := alone.Seconds() / run(64, early).Seconds(); ratio < 0.9 {
					t.Errorf("filled early %v: %.3f of what it reaches alone, want 0.9", early, ratio)
				}
			}
		})
	}
}

// Beside 64 streams that nobody reads, either side can open, answer and close a stream. Readers can close the
// streams that hold data, and their peer is told.
func TestStreamsOpenAndCloseBeside64UnreadOnes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		link := path(simnet.Gbit, 10*time.Millisecond)
		c, s := sessionsOver(t, link, v2(), v2())
		u := openCrowd(t, c, s, 64, true, aMoment(link))
		for _, ends := range [][2]*session.Session{{c, s}, {s, c}} {
			out, in := openPair(t, ends[0], ends[1])
			sendMessage(t, out, in, 10_000)
			sendMessage(t, in, out, 10_000)
			if err := out.Close(); err != nil {
				t.Error(err)
			}
			if _, err := in.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("after Close the peer reads %v, want EOF", err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		}
		// Half of them are closed by the end that does not read them. A Write that waits for the window fails.
		const reset = 32
		var writes []<-chan testutil.Result[int]
		for i := range reset {
			writes = append(writes, testutil.Background(func() (int, error) { return u.out[i].Write(make([]byte, testutil.MiB)) }))
		}
		synctest.Wait()
		before := s.Stats().Unread
		for i := range reset {
			if err := u.in[i].Close(); err != nil {
				t.Error(err)
			}
		}
		for i := range reset {
			r := <-writes[i]
			testutil.WantErr(t, "Write to a stream that its reader has closed", r.Err, stream.ErrPeerClosed)
			if err := u.out[i].Close(); err != nil && !errors.Is(err, stream.ErrPeerClosed) {
				t.Error(err)
			}
		}
		time.Sleep(aMoment(link))
		if after := s.Stats().Unread; after > before/2+testutil.MiB {
			t.Errorf("%d bytes are unread, %d before half of the streams were closed", after, before)
		}
		for _, end := range []*session.Session{c, s} {
			if n := end.NumStreams(); n != 64-reset {
				t.Errorf("%d streams are open, want %d", n, 64-reset)
			}
		}
		// The others have lost nothing.
		for i := reset; i < 64; i++ {
			readN(t, u.in[i], flow.InitialWindow, nil)
		}
	})
}

// A new stream is granted less the more there are, down to 16 KiB: the default budget holds a thousand streams
// that nobody reads, and another still runs.
func TestThousandUnreadStreamsFitTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		link := path(simnet.Gbit/4, 10*time.Millisecond)
		budget := flow.NewBudget(session.DefaultMaxReceiveBuffer)
		c, s := sessionsOver(t, link, v2(), &session.Config{Version: 2, Budget: budget})
		openCrowd(t, c, s, 1000, false, time.Second)
		held := budget.Used()
		const size = 16 * testutil.MiB
		elapsed := testutil.Clock()
		go writeN(open(t, c), size, 64*testutil.KiB)
		readN(t, accept(t, s), size, nil)
		got := share(size, elapsed(), link.Rate)
		t.Logf("1000 streams hold %d KiB; another gets %.3f of the link", held/testutil.KiB, got)
		if held > budget.Size() {
			t.Errorf("%d bytes are unread, more than the budget of %d", held, budget.Size())
		}
		if got < 0.5 {
			t.Errorf("another stream gets %.3f of the link, want 0.5", got)
		}
	})
}

// Unread streams can use up the budget (docs/flow-control.md): a peer may send 262,144 bytes on a stream before it
// learns that it has less, and 24 such streams exceed 4 MiB. The transport is then not read, and all streams wait,
// as in version 1, until the unread ones are read or closed. Nothing is lost, and the budget is exceeded by one
// frame at most.
func TestStreamsBeyondTheBudgetAllWait(t *testing.T) {
	for _, how := range []string{"read", "closed"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				link := path(8*simnet.Gbit, 100*time.Millisecond)
				budget := flow.NewBudget(4 * testutil.MiB)
				c, s := sessionsOver(t, link, v2(), &session.Config{Version: 2, Budget: budget})
				const n, size = 24, flow.InitialWindow
				var u crowd
				var wg sync.WaitGroup
				for range n {
					out := open(t, c)
					u.out = append(u.out, out)
					go func() {
						_, _ = testutil.Pattern(out.ID()).Send(out, size, size)
						_ = out.CloseWrite()
					}()
				}
				for range n / 2 {
					u.in = append(u.in, accept(t, s))
				}
				time.Sleep(time.Minute)
				if used := budget.Used(); used < budget.Size() || used > budget.Size()+session.DefaultMaxFrameSize {
					t.Errorf("%d bytes are unread, want the budget of %d and less than a frame more", used, budget.Size())
				}
				// A stream that is opened now waits, for any time.
				late := open(t, c)
				if _, err := late.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				before := s.Stats().FramesReceived
				time.Sleep(time.Hour)
				if after := s.Stats().FramesReceived; after != before {
					t.Fatalf("%d frames were received while the budget was full", after-before)
				}
				if err := s.Err(); err != nil {
					t.Fatalf("the session ended: %v", err)
				}

				// Closing half of the streams makes room as reading does.
				readAll := func(in *stream.Stream) {
					wg.Go(func() {
						if err := testutil.Pattern(in.ID()).Receive(in, size); err != nil {
							t.Errorf("stream %d: %v", in.ID(), err)
						}
					})
				}
				for i, in := range u.in {
					if how == "closed" && i%2 == 0 {
						_ = in.Close()
						continue
					}
					readAll(in)
				}
				for in := accept(t, s); in.ID() != late.ID(); in = accept(t, s) {
					readAll(in)
				}
				wg.Wait()
			})
		})
	}
}
