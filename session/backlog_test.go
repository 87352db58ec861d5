package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// sendMessages sends n messages, each on a stream of its own, from several goroutines.
func sendMessages(t *testing.T, c *session.Session, n, senders int) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				st, err := c.OpenStream(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.WriteString(st, "hello"); err != nil {
					t.Error(err)
				}
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// wantMessages accepts n streams and checks that each carries "hello". It calls after, unless that is nil, after
// each Accept.
func wantMessages(t *testing.T, s *session.Session, n int, after func()) {
	t.Helper()
	// Far longer than this takes if no stream is lost.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	accepted := 0
	var read atomic.Int64
	var all sync.WaitGroup
	for accepted < n {
		st, err := s.AcceptStream(ctx)
		if err != nil {
			t.Error(err)
			break
		}
		accepted++
		all.Go(func() {
			defer st.Close()
			got, err := io.ReadAll(st)
			if string(got) != "hello" || err != nil {
				t.Errorf("read %q, %v", got, err)
				return
			}
			read.Add(1)
		})
		if after != nil {
			after()
		}
	}
	all.Wait()
	if accepted != n || read.Load() != int64(n) {
		t.Errorf("%d streams were accepted and %d messages read, want %d", accepted, read.Load(), n)
	}
	if refused := s.Stats().StreamsRefused; refused != 0 {
		t.Errorf("%d streams were refused", refused)
	}
}

// A peer may open MaxStreams streams before the application accepts the first. Each is accepted and delivers its
// data.
func TestStreamsFasterThanAcceptAreNotLost(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		for _, c := range []struct{ messages, senders int }{{1100, 1}, {4000, 1}, {20_000, 1}, {20_000, 64}} {
			for _, name := range []string{"tcp", "bare"} {
				t.Run(fmt.Sprintf("%d processors/%d messages/%d senders/%s", procs, c.messages, c.senders, name), func(t *testing.T) {
					if testutil.Race && c.messages > 4000 {
						t.Skip("too slow with the race detector")
					}
					testutil.LeakCheck(t)
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					from, to := sessions(t, transport(name), session.Config{Version: 2})
					var sending sync.WaitGroup
					sending.Go(func() { sendMessages(t, from, c.messages, c.senders) })
					wantMessages(t, to, c.messages, nil)
					sending.Wait()
				})
			}
		}
	}
}

// An application that takes a millisecond for each stream before it accepts the next loses none.
func TestStreamsOfASlowAcceptLoopAreNotLost(t *testing.T) {
	for _, load := range []struct{ messages, senders int }{{3000, 1}, {20_000, 64}} {
		t.Run(fmt.Sprintf("%d messages/%d senders", load.messages, load.senders), func(t *testing.T) {
			if testutil.Race && load.messages > 3000 {
				t.Skip("too slow with the race detector")
			}
			eachVersion(t, func(t *testing.T, version int) {
				c, s := sessions(t, transport("sim"), session.Config{Version: version})
				var sending sync.WaitGroup
				sending.Go(func() { sendMessages(t, c, load.messages, load.senders) })
				wantMessages(t, s, load.messages, func() { time.Sleep(time.Millisecond) })
				sending.Wait()
			})
		})
	}
}

// A peer that opens ten times MaxStreams streams at once gets MaxStreams answers. Each other stream is refused:
// its opener reads ErrRefused, and both sessions count it.
func TestStreamsBeyondMaxStreamsAreRefusedAndTold(t *testing.T) {
	const most = 100
	for _, c := range []struct {
		name string
		cfg  session.Config
	}{
		{"MaxStreams", session.Config{MaxStreams: most}},
		{"AcceptBacklog", session.Config{AcceptBacklog: most}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				cfg := c.cfg
				cfg.Version = version
				from, s := sessionsOver(t, simnet.Link{}, &session.Config{Version: version}, &cfg)
				var answered, refused atomic.Int64
				var all sync.WaitGroup
				for range 10 * most {
					st := open(t, from)
					all.Go(func() {
						defer st.Close()
						_, _ = io.WriteString(st, "hello") // a stream may know already that it was refused
						_ = st.CloseWrite()
						switch got, err := io.ReadAll(st); {
						case errors.Is(err, stream.ErrRefused) && len(got) == 0:
							refused.Add(1)
						case err == nil && string(got) == "hello":
							answered.Add(1)
						default:
							t.Errorf("read %q, %v", got, err)
						}
					})
				}
				time.Sleep(time.Second) // all have arrived, and none was accepted
				if n := s.NumStreams(); n != most {
					t.Errorf("%d streams are open, want %d", n, most)
				}
				go func() {
					for {
						st, err := s.Accept()
						if err != nil {
							return
						}
						all.Go(func() { echoOnce(st) })
					}
				}()
				all.Wait()
				if answered.Load() != most || refused.Load() != 9*most {
					t.Errorf("%d streams were answered and %d refused, want %d and %d", answered.Load(), refused.Load(), most, 9*most)
				}
				if n := s.Stats().StreamsRefused; n != 9*most {
					t.Errorf("Stats has %d refused streams, want %d", n, 9*most)
				}
				if n := from.Stats().StreamsRefusedByPeer; n != 9*most {
					t.Errorf("the opener's Stats has %d refused streams, want %d", n, 9*most)
				}
				_ = from.Close()
			})
		})
	}
}

// echoOnce reads to the end and sends everything back.
func echoOnce(st net.Conn) {
	defer st.Close()
	got, _ := io.ReadAll(st)
	_, _ = st.Write(got)
}

// A stream that its peer closed in both directions before Accept still delivers its data. It counts against
// MaxStreams until the application closes it.
func TestStreamClosedBeforeAcceptDeliversItsData(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{MaxStreams: 2})
		for n := range 2 {
			id := r.theirs(n)
			p.Send(t, r.syn(id), r.psh(id, []byte("hello")), r.fin(id), r.fin(id))
		}
		time.Sleep(time.Hour)
		p.Send(t, r.syn(r.theirs(2)))
		time.Sleep(time.Second)
		if n := s.Stats().StreamsRefused; n != 1 {
			t.Errorf("%d streams were refused, want 1", n)
		}
		for n := range 2 {
			st := accept(t, s)
			got, err := io.ReadAll(st)
			if st.ID() != r.theirs(n) || string(got) != "hello" || err != nil {
				t.Errorf("stream %d: read %q, %v", st.ID(), got, err)
			}
			_ = st.Close()
		}
		time.Sleep(time.Second)
		p.Send(t, r.syn(r.theirs(3)))
		if st := accept(t, s); st.ID() != r.theirs(3) {
			t.Errorf("accepted stream %d, want %d", st.ID(), r.theirs(3))
		}
	})
}

// Streams that wait for Accept take at most 1 KiB for each of MaxStreams, and twice MaxReceiveBuffer. This holds
// for frames of any size, and for a peer that sends ten times as much.
func TestWaitingStreamsStayWithinTheDocumentedMemory(t *testing.T) {
	const most, buffer = 3000, 1 << 20
	for _, size := range []int{0, 1, 512, 513, 2049, 8193, 32_769, 65_535} {
		t.Run(fmt.Sprintf("frames of %d bytes", size), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.startLink(t, simnet.Link{Buffer: 64 << 10}, session.Config{MaxStreams: most, MaxReceiveBuffer: buffer})
				go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
				data := make([]byte, size)
				runtime.GC() // the second one empties the pools
				before := heapInUse()
				flood := testutil.Background(func() (struct{}, error) {
					for n := range 10 * most {
						frames := r.syn(r.theirs(n)).Append(nil)
						if size > 0 {
							frames = r.psh(r.theirs(n), data).Append(frames)
						}
						if _, err := p.Conn.Write(frames); err != nil {
							return struct{}{}, err
						}
					}
					return struct{}{}, nil
				})
				synctest.Wait()
				limit := most<<10 + 2*buffer + 256<<10 // the last term is for the transport and the session itself
				if got := heapInUse() - before; got > limit {
					t.Errorf("%d streams with %d unread bytes take %d bytes, want at most %d", s.NumStreams(), s.Stats().Unread, got, limit)
				}
				_ = p.Close()
				<-flood
			})
		})
	}
}

// OpenStream waits while 1,024 new streams wait for a transport that takes nothing. Ten times as many callers go
// on when the transport does.
func TestOpenStreamWaitsWhile1024SYNsWait(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const callers, buffer, batch = 10 * 1024, 1000, 64 << 10
		conn, peer := testutil.SimPair(t, simnet.Link{Buffer: buffer})
		c := client(t, conn, &session.Config{Version: version, KeepAlive: off})
		conn.Out().Stall()
		var all []<-chan testutil.Result[*stream.Stream]
		for range callers {
			all = append(all, testutil.Background(func() (*stream.Stream, error) { return c.OpenStream(context.Background()) }))
		}
		time.Sleep(time.Minute)
		// The batch that is being written has some of them, and so has the transport.
		if n, most := c.NumStreams(), 1024+(batch+buffer)/wire.HeaderSize; n < 1024 || n > most {
			t.Errorf("%d streams were opened, want from 1,024 to %d", n, most)
		}
		conn.Out().Unstall()
		go func() { _, _ = io.Copy(io.Discard, peer) }()
		for _, open := range all {
			testutil.WantErr(t, "OpenStream", (<-open).Err, nil)
		}
	})
}
