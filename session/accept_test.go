package session_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A SYN beyond the backlog is refused with two empty PSHs and two FINs. It does not block the session.
func TestSYNBeyondBacklogIsRefused(t *testing.T) {
	const backlog = 3
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{AcceptBacklog: backlog})
		p.Ignore(wire.NOP, wire.UPD)
		for n := range backlog {
			p.Send(t, r.syn(r.theirs(n)), r.psh(r.theirs(n), []byte("data")))
		}
		p.ExpectNothing(t, "a stream that fits into the backlog gets no answer", time.Second)
		for n := backlog; n < backlog+5; n++ {
			p.Send(t, r.syn(r.theirs(n)))
			p.ExpectRefused(t, "a stream beyond the backlog is refused", r.fin(r.theirs(n)))
		}
		if got := s.Stats(); got.StreamsRefused != 5 || got.StreamsAccepted != backlog {
			t.Errorf("Stats: %d streams refused, %d accepted", got.StreamsRefused, got.StreamsAccepted)
		}
		// Data for a refused stream gets no answer.
		id := r.theirs(backlog)
		p.Send(t, r.psh(id, []byte("data")), r.psh(id, []byte("data")), r.fin(id))
		p.ExpectNothing(t, "data for a refused stream gets no answer", time.Second)

		// The streams in the backlog are unaffected, and the session goes on.
		for n := range backlog {
			p.Send(t, r.psh(r.theirs(n), []byte(" and more")), r.fin(r.theirs(n)))
		}
		for n := range backlog {
			st := accept(t, s)
			got, err := io.ReadAll(st)
			if st.ID() != r.theirs(n) || string(got) != "data and more" || err != nil {
				t.Errorf("accepted stream %d, read %q, %v", st.ID(), got, err)
			}
		}
		wantAlive(t, r, s, p, r.theirs(100))
	})
}

// Accepting a stream makes room in the backlog for the next one.
func TestAcceptMakesRoomInTheBacklog(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{AcceptBacklog: 1})
		for n := range 10 {
			p.Send(t, r.syn(r.theirs(2*n)), r.syn(r.theirs(2*n+1)))
			p.ExpectRefused(t, "the second stream is beyond the backlog", r.fin(r.theirs(2*n+1)))
			if st := accept(t, s); st.ID() != r.theirs(2*n) {
				t.Errorf("accepted stream %d, want %d", st.ID(), r.theirs(2*n))
			}
		}
	})
}

// A refused stream is not open, and its data is charged to no window and no budget.
func TestRefusedStreamIsNoStream(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{AcceptBacklog: 1, MaxReceiveBuffer: 64 << 10})
		p.Send(t, r.syn(r.theirs(0)), r.syn(r.theirs(1)))
		p.Ignore(wire.NOP, wire.UPD)
		p.ExpectRefused(t, "the second stream is refused", r.fin(r.theirs(1)))
		// Its data is charged to no window and no budget.
		p.Send(t, r.pshs(r.theirs(1), make([]byte, 1<<20))...)
		p.ExpectNothing(t, "data of a refused stream gets no answer", time.Second)
		if n := s.NumStreams(); n != 1 {
			t.Errorf("%d streams are open", n)
		}
		if n := s.Stats().Unread; n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
		accept(t, s)
		wantAlive(t, r, s, p, r.theirs(2))
	})
}

// The peer may have MaxStreams streams open. A stream counts until both directions have ended and all its data was
// read, or until it is closed.
func TestMaxStreamsBoundsWhatThePeerOpens(t *testing.T) {
	const most = 5
	for _, c := range []struct {
		name string
		// close closes the stream, or a part of it. room says whether that makes room for another stream.
		close func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer)
		room  bool
	}{
		{"nothing is closed", func(*testing.T, role, *stream.Stream, *testutil.Peer) {}, false},
		{"the peer has sent FIN", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			p.Send(t, r.fin(st.ID()))
		}, false},
		{"the peer has closed, and data is unread", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			p.Send(t, r.psh(st.ID(), []byte("data")), r.fin(st.ID()), r.fin(st.ID()))
		}, false},
		{"CloseWrite", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_ = st.CloseWrite()
			p.ExpectFrame(t, "CloseWrite sends one FIN", r.fin(st.ID()))
		}, false},
		{"Close", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_ = st.Close()
			p.ExpectClosed(t, "Close sends two FINs", r.fin(st.ID()))
		}, true},
		{"FIN and CloseWrite, and all was read", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			p.Send(t, r.fin(st.ID()))
			wantEOF(t, st)
			_ = st.CloseWrite()
			p.ExpectFrame(t, "CloseWrite sends one FIN", r.fin(st.ID()))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{MaxStreams: most})
				p.Ignore(wire.NOP, wire.UPD)
				var last *stream.Stream
				for n := range most {
					p.Send(t, r.syn(r.theirs(n)))
					last = accept(t, s)
				}
				p.Send(t, r.syn(r.theirs(most)))
				p.ExpectRefused(t, "one stream more than MaxStreams is refused", r.fin(r.theirs(most)))
				for range 3 { // streams that this side opens do not count
					mine := open(t, s)
					p.ExpectFrame(t, "a stream of this side does not count", r.syn(mine.ID()))
				}
				c.close(t, r, last, p)
				p.Send(t, r.syn(r.theirs(most+1)))
				if c.room {
					if st := accept(t, s); st.ID() != r.theirs(most+1) {
						t.Errorf("accepted stream %d", st.ID())
					}
					p.Send(t, r.syn(r.theirs(most+2)))
					p.ExpectRefused(t, "the closed stream makes room for one stream only", r.fin(r.theirs(most+2)))
				} else {
					p.ExpectRefused(t, "the stream still counts", r.fin(r.theirs(most+1)))
				}
				if err := s.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Any stream id of the peer's parity is accepted, in any order.
func TestStreamIDOfThePeersParityIsAccepted(t *testing.T) {
	for _, c := range []struct {
		name         string
		server, clnt []uint32 // ids that a server accepts, and that a client accepts
	}{
		{"first ids as the Rust crates have them", []uint32{1, 3, 5}, []uint32{2, 4, 6}},
		{"first ids as xtaci/smux has them", []uint32{3, 5, 7}, []uint32{2, 4, 6}},
		{"with gaps", []uint32{9, 101, 65537}, []uint32{10, 102, 65536}},
		{"falling", []uint32{101, 9, 1}, []uint32{102, 10, 2}},
		{"the last ones", []uint32{math.MaxUint32, math.MaxInt32}, []uint32{math.MaxUint32 - 1, math.MaxInt32 + 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				p.Ignore(wire.NOP, wire.UPD)
				ids := c.server
				if r.client {
					ids = c.clnt
				}
				for _, id := range ids {
					p.Send(t, r.syn(id), r.psh(id, []byte("data")), r.fin(id))
				}
				for _, id := range ids {
					st := accept(t, s)
					got, err := io.ReadAll(st)
					if st.ID() != id || string(got) != "data" || err != nil {
						t.Errorf("stream %d, want %d: read %q, %v", st.ID(), id, got, err)
					}
					if _, err := st.Write([]byte("answer")); err != nil {
						t.Error(err)
					}
					p.ExpectData(t, "the answer is sent on the peer's stream", id, []byte("answer"))
				}
			})
		})
	}
}

// Each side opens ids of its own parity. They grow by two, and the id of a closed stream is not used again.
func TestStreamIDsGrowByTwoAndAreNotUsedAgain(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		for n := range 10 {
			st := open(t, s)
			want := st.ID()
			if first := r.ours(0); want != first+uint32(2*n) {
				t.Errorf("stream %d has id %d", n, want)
			}
			p.ExpectFrame(t, "ids grow by two", r.syn(want))
			if n%3 == 0 { // the id of a closed stream is not used again
				_ = st.Close()
				p.ExpectClosed(t, "Close sends two FINs", r.fin(want))
				p.Send(t, r.fin(want))
			}
		}
	})
}

// When its ids are used up, a session opens no stream. Its open streams go on, and the peer can open streams.
func TestOpenFailsWhenIDsAreUsedUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		last := r.lastID(true) - 16 // the last eight are reserved
		session.SetNextID(s, last-2)
		var streams []*stream.Stream
		for _, id := range []uint32{last - 2, last} {
			st := open(t, s)
			if st.ID() != id {
				t.Errorf("opened stream %d, want %d", st.ID(), id)
			}
			p.ExpectFrame(t, "the last ids can be opened", r.syn(id))
			streams = append(streams, st)
		}
		for range 3 {
			if _, err := s.OpenStream(t.Context()); !errors.Is(err, session.ErrIDsExhausted) {
				t.Errorf("OpenStream: %v", err)
			}
			if c, err := s.Open(); c != nil || !errors.Is(err, session.ErrIDsExhausted) {
				t.Errorf("Open: %v, %v", c, err)
			}
		}
		for _, st := range streams {
			if _, err := st.Write([]byte("still here")); err != nil {
				t.Error(err)
			}
			p.ExpectData(t, "open streams go on without ids", st.ID(), []byte("still here"))
			_ = st.Close()
			p.ExpectClosed(t, "open streams can be closed without ids", r.fin(st.ID()))
			p.Send(t, r.fin(st.ID()))
		}
		if _, err := s.Open(); !errors.Is(err, session.ErrIDsExhausted) {
			t.Errorf("Open with nothing open: %v", err)
		}
		wantAlive(t, r, s, p, r.theirs(0)) // the peer has ids of its own
	})
}

// Each stream is accepted once, in the order of arrival, by any number of goroutines.
func TestAcceptReturnsEachStreamOnceAndInOrder(t *testing.T) {
	const streams, accepters = 1000, 10
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		var mu sync.Mutex
		seen := map[uint32]int{}
		var done []<-chan testutil.Result[int]
		for range accepters {
			done = append(done, testutil.Background(func() (n int, err error) {
				before := uint32(0)
				for {
					st, err := s.AcceptStream(context.Background())
					if err != nil {
						return n, err
					}
					if st.ID() <= before {
						t.Errorf("stream %d came after %d", st.ID(), before)
					}
					before = st.ID()
					mu.Lock()
					seen[before]++
					mu.Unlock()
				}
			}))
		}
		var frames []testutil.Frame
		for n := range streams {
			frames = append(frames, r.syn(r.theirs(n)))
			if len(frames) == 1+n%17 {
				p.Send(t, frames...)
				frames = nil
			}
		}
		p.Send(t, frames...)
		_ = p.Close()
		for _, d := range done {
			if res := <-d; res.Err != io.EOF {
				t.Error(res.Err)
			}
		}
		want := map[uint32]int{}
		for n := range streams {
			want[r.theirs(n)] = 1
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("accepted (-want +got)\n%s", diff)
		}
	})
}

// Stats counts bytes, frames and streams exactly.
func TestStatsCountFramesBytesAndStreams(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{AcceptBacklog: 2})
		p.Ignore(wire.NOP, wire.UPD)
		frames := []testutil.Frame{r.syn(r.theirs(0)), r.syn(r.theirs(1)), r.syn(r.theirs(2)), r.psh(r.theirs(0), make([]byte, 500)), r.nop()}
		p.Send(t, frames...)
		p.ExpectRefused(t, "the third stream is beyond the backlog", r.fin(r.theirs(2)))
		mine := open(t, s)
		_, _ = mine.Write(make([]byte, 100))
		p.ExpectFrame(t, "a stream is opened", r.syn(mine.ID()))
		p.ExpectData(t, "its data is sent", mine.ID(), make([]byte, 100))
		want := session.Stats{
			Version: int(r.version), BytesSent: 4*8 + 8 + 108, BytesReceived: uint64(len(appendAll(frames))), FramesReceived: 5,
			FramesSent: 4 + 2, StreamsOpened: 1, StreamsAccepted: 2, StreamsRefused: 1, StreamsOpen: 3, Unread: 500,
		}
		if r.client {
			want.BytesSent += 8 // the first NOP
			want.FramesSent++
		}
		if r.version == wire.V2 {
			want.ReceiveWindows = 3 * flow.InitialWindow
		}
		synctest.Wait()
		if diff := cmp.Diff(want, s.Stats()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// After Close, Accept returns net.ErrClosed, even if streams wait in the backlog.
func TestAcceptAfterCloseIsErrClosed(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, r.syn(r.theirs(0)), r.syn(r.theirs(1)))
		synctest.Wait()
		_ = s.Close()
		for range 2 {
			if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
		}
		p.ExpectEnd(t, "Close ends the transport")
	})
}

// The error of Accept is never temporary: net/http.Server would accept again after a temporary error.
func TestAcceptErrorIsNeverTemporary(t *testing.T) {
	for _, cause := range append(transportErrors, nil) {
		name := "Close"
		if cause != nil {
			name = cause.Error()
		}
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				f := newFaulty(ours)
				s, _ := r.startOn(t, f, theirs, session.Config{})
				if cause != nil {
					f.fail(func(f *faulty) { f.readErr = cause })
				} else {
					_ = s.Close()
				}
				_, err := s.Accept()
				if cause != nil {
					testutil.WantErr(t, "Accept", err, cause)
				}
				var temporary interface{ Temporary() bool }
				if errors.As(err, &temporary) && temporary.Temporary() {
					t.Errorf("Accept: %v is temporary: a net/http server would go on for ever", err)
				}
			})
		})
	}
}
