package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// The end of a stream.

func TestNothingIsAcknowledgedAndDataFlowsAtOnceBothWays(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		p.ExpectNothing(t, time.Second)
		if _, err := st.Write([]byte("before any data of yours")); err != nil {
			t.Error(err)
		}
		p.ExpectData(t, id, []byte("before any data of yours"))
		mine := open(t, s)
		if _, err := mine.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		p.ExpectFrame(t, r.syn(mine.ID()))
		p.ExpectData(t, mine.ID(), []byte("hello"))
		p.Send(t, r.psh(mine.ID(), []byte("at once")))
		buf := make([]byte, 7)
		if _, err := io.ReadFull(mine, buf); err != nil || string(buf) != "at once" {
			t.Errorf("read %q, %v", buf, err)
		}
	})
}

func TestFINClosesOneDirection(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id), r.fin(id))
		st := accept(t, s)
		wantEOF(t, st)
		data := testutil.Pattern(1).Bytes(9_000)
		for range 2 { // the peer cannot be told from one that has closed: writing goes on
			if _, err := st.Write(data); err != nil {
				t.Error(err)
			}
			p.ExpectData(t, id, data)
		}
		if err := st.CloseWrite(); err != nil {
			t.Error(err)
		}
		p.ExpectFrame(t, r.fin(id))
	})
}

func TestASecondFINSaysThatThePeerHasClosedBothDirections(t *testing.T) {
	for _, c := range []struct {
		name string
		// with is done between the two FINs.
		with func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer)
	}{
		{"when nothing was written", func(*testing.T, role, *stream.Stream, *testutil.Peer) {}},
		{"as the answer to data", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_, _ = st.Write([]byte("data"))
			p.ExpectData(t, st.ID(), []byte("data"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				p.Ignore(wire.NOP, wire.UPD)
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("last words")), r.fin(id))
				st := accept(t, s)
				c.with(t, r, st, p)
				p.Send(t, r.fin(id))
				synctest.Wait()
				for range 2 {
					if n, err := st.Write([]byte("x")); n != 0 || !errors.Is(err, stream.ErrPeerClosed) {
						t.Errorf("Write = %d, %v", n, err)
					}
				}
				if got, err := io.ReadAll(st); string(got) != "last words" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				_ = st.Close()
				p.ExpectFrame(t, r.fin(id))
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
			})
		})
	}
}

func TestASecondFINEndsABlockedWrite(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 1000, ReadBuffer: 1000}, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id), r.fin(id))
		st := accept(t, s)
		wrote := background(func() (int, error) { return st.Write(make([]byte, 1<<20)) })
		synctest.Wait()
		elapsed := clock()
		p.Send(t, r.fin(id))
		res := <-wrote
		wantErr(t, "Write", res.err, stream.ErrPeerClosed)
		wantTime(t, "Write returned", elapsed(), 0)
		if res.value == 0 || res.value > 300_000 {
			t.Errorf("Write = %d", res.value)
		}
	})
}

func TestAStreamIsForgottenWhenBothDirectionsHaveEnded(t *testing.T) {
	for _, c := range []struct {
		name string
		// closing is what the peer and this side do, in turns.
		closing func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer)
	}{
		{"the peer's FIN, then Close", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			p.Send(t, r.fin(st.ID()))
			_ = st.Close()
		}},
		{"Close, then the peer's FIN", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_ = st.Close()
			p.ExpectFrame(t, r.fin(st.ID()))
			p.Send(t, r.fin(st.ID()))
		}},
		{"CloseWrite, the peer's FIN, and io.EOF", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_ = st.CloseWrite()
			p.Send(t, r.fin(st.ID()))
			wantEOF(t, st)
		}},
		{"the peer's FIN, unread data, and Close", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			p.Send(t, r.psh(st.ID(), make([]byte, 50_000)), r.fin(st.ID()))
			synctest.Wait()
			_ = st.Close()
		}},
		{"CloseRead, CloseWrite and the peer's FIN", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_ = st.CloseRead()
			_ = st.CloseWrite()
			p.Send(t, r.fin(st.ID()))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				p.Ignore(wire.NOP, wire.UPD)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				if n := s.NumStreams(); n != 1 {
					t.Errorf("%d streams are open, want 1", n)
				}
				c.closing(t, r, st, p)
				time.Sleep(10 * time.Millisecond) // a FIN that nobody waits for may take one
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
				if n := s.Stats().Unread; n != 0 {
					t.Errorf("%d bytes are kept", n)
				}
			})
		})
	}
}

// The end of the transport.

func TestTheEndOfTheTransportReachesEverybodyAtOnce(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				// So small that Writes block, and that streams that were opened wait.
				s, p := r.startLink(t, simnet.Link{Buffer: 100, ReadBuffer: 100}, e.cfg)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				other, third := open(t, s), open(t, s)
				calls := map[string]<-chan result[any]{
					"Read":          background(func() (any, error) { return st.Read(make([]byte, 10)) }),
					"WriteTo":       background(func() (any, error) { return other.WriteTo(io.Discard) }),
					"a large Write": background(func() (any, error) { return st.Write(make([]byte, 1<<20)) }),
					"small Writes": background(func() (any, error) {
						for {
							if _, err := third.Write(make([]byte, 100)); err != nil {
								return nil, err
							}
						}
					}),
					"Open": background(func() (any, error) {
						for {
							if _, err := s.Open(); err != nil {
								return nil, err
							}
						}
					}),
					"Accept":       background(func() (any, error) { return s.Accept() }),
					"AcceptStream": background(func() (any, error) { return s.AcceptStream(t.Context()) }),
					"Done": background(func() (any, error) {
						<-s.Done()
						return nil, s.Err()
					}),
				}
				synctest.Wait()
				if err := s.Err(); err != nil {
					t.Errorf("Err of the living session = %v", err)
				}
				for what, c := range calls {
					select {
					case res := <-c:
						t.Fatalf("%s has returned: %v, %v", what, res.value, res.err)
					default:
					}
				}
				e.end(t, r, s, p)
				at, first := time.Duration(0), ""
				for what, c := range calls {
					res := <-c
					switch {
					case e.accept != nil && (what == "Accept" || what == "AcceptStream" || what == "Done"):
						if res.err != e.accept {
							t.Errorf("%s: %v, want a bare %v", what, res.err, e.accept)
						}
					case errors.Is(res.err, syscall.EPIPE) && e.want == io.ErrUnexpectedEOF && what != "Accept" && what != "Done":
						// The session was writing, and may have found out by that.
					case what == "Open" && e.accept != nil:
						wantErr(t, what, res.err, e.accept)
					default:
						wantErr(t, what, res.err, e.want)
					}
					if first == "" {
						at, first = res.at, what
					}
					if d := (res.at - at).Abs(); d > 0 {
						t.Errorf("%s returned %v earlier or later than %s", what, d, first)
					}
				}
				// And to those who come later.
				for what, err := range map[string]error{
					"Read": second(st.Read(make([]byte, 1))), "Write": second(st.Write([]byte("x"))),
				} {
					if err == nil || err == io.EOF {
						t.Errorf("a later %s: %v", what, err)
					}
				}
				_, err := s.AcceptStream(context.Background())
				if e.accept == nil {
					wantErr(t, "a later Accept", err, e.want)
				} else if err != e.accept {
					t.Errorf("a later Accept: %v, want a bare %v", err, e.accept)
				}
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
			})
		})
	}
}

func TestAResetLeavesNoReadBehind(t *testing.T) {
	const streams = 500
	eachRole(t, func(t *testing.T, r role) {
		for range 10 {
			s, p := r.startLink(t, simnet.Link{Buffer: 100, ReadBuffer: 100}, session.Config{})
			var reads []<-chan result[int]
			for n := range streams {
				p.Send(t, r.syn(r.theirs(n)))
				st := accept(t, s)
				reads = append(reads, background(func() (int, error) { return st.Read(make([]byte, 10)) }))
				if n == 0 {
					// The writer and the reader find out at the same time.
					go st.Write(make([]byte, 100_000))
				}
			}
			synctest.Wait()
			p.Conn.(*simnet.Conn).Break(syscall.ECONNRESET)
			for _, read := range reads {
				wantErr(t, "Read", (<-read).err, syscall.ECONNRESET)
			}
			wantEnded(t, s, syscall.ECONNRESET)
		}
	})
}

func TestStreamsThatArrivedBeforeTheTransportEndedCanStillBeAcceptedAndRead(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, e.cfg)
				const streams = 20
				for n := range streams {
					id := r.theirs(n)
					p.Send(t, r.syn(id), r.psh(id, testutil.Pattern(n).Bytes(n*1000)))
					if n%2 == 0 {
						p.Send(t, r.fin(id))
					}
				}
				synctest.Wait()
				e.end(t, r, s, p)
				<-s.Done()
				for n := range streams {
					st := accept(t, s)
					if st.ID() != r.theirs(n) {
						t.Errorf("accepted stream %d, want %d", st.ID(), r.theirs(n))
					}
					got, err := io.ReadAll(st)
					if !bytes.Equal(got, testutil.Pattern(n).Bytes(n*1000)) {
						t.Errorf("stream %d: read %d bytes, want %d", n, len(got), n*1000)
					}
					if n%2 == 0 {
						if err != nil {
							t.Errorf("stream %d has a FIN, but: %v", n, err)
						}
						wantEOF(t, st)
					} else {
						wantErr(t, "reading a stream without FIN", err, e.want)
					}
					if err := st.SetDeadline(time.Now()); err != nil {
						t.Error(err)
					}
					_ = st.Close()
				}
				for range 2 {
					_, err := s.Accept()
					if e.accept != nil {
						if err != e.accept {
							t.Errorf("Accept: %v, want a bare %v", err, e.accept)
						}
					} else {
						wantErr(t, "Accept", err, e.want)
						if err == io.EOF {
							t.Error("Accept: a clean end")
						}
					}
				}
			})
		})
	}
}

func TestAnAcceptThatWaitsGetsTheStreamsThatArrivedWithTheEnd(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		accepted := background(func() (n int, err error) {
			for {
				if _, err := s.Accept(); err != nil {
					return n, err
				}
				n++
			}
		})
		synctest.Wait()
		p.Send(t, r.syn(r.theirs(0)), r.syn(r.theirs(1)), r.syn(r.theirs(2)))
		p.Close()
		if res := <-accepted; res.value != 3 || res.err != io.EOF {
			t.Errorf("%d streams were accepted, and then %v", res.value, res.err)
		}
	})
}

func TestTheEndReachesASessionThatDoesNotReadAsItsBudgetIsFull(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(t *testing.T, s *session.Session, st *stream.Stream, p *testutil.Peer)
	}{
		{"Close", func(t *testing.T, s *session.Session, st *stream.Stream, p *testutil.Peer) { _ = s.Close() }},
		{"a Write that fails", func(t *testing.T, s *session.Session, st *stream.Stream, p *testutil.Peer) {
			p.Conn.(*simnet.Conn).Break(syscall.ECONNRESET)
			_, _ = st.Write([]byte("x"))
		}},
		{"reading", func(t *testing.T, s *session.Session, st *stream.Stream, p *testutil.Peer) {
			_ = p.Close()
			if n, err := io.Copy(io.Discard, st); n != 200_000 {
				t.Errorf("read %d bytes, %v", n, err)
			} else {
				checkStreamEnd(t, "reading", err, nil)
			}
		}},
	} {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 << 10})
				p.Ignore(wire.NOP, wire.UPD)
				id := r.theirs(0)
				p.Send(t, append([]testutil.Frame{r.syn(id)}, r.pshs(id, make([]byte, 200_000))...)...)
				st := accept(t, s)
				synctest.Wait()
				elapsed := clock()
				e.end(t, s, st, p)
				<-s.Done()
				// After a failed write, the reader has CloseTimeout to make room for what
				// the peer had sent.
				if d := elapsed(); d > session.DefaultCloseTimeout+time.Second {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

func TestTheEndReachesASessionOnASocketThatIsNotReadAsTheBudgetIsFull(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(s *session.Session, st *stream.Stream, p *testutil.Peer)
	}{
		{"Close", func(s *session.Session, st *stream.Stream, p *testutil.Peer) { _ = s.Close() }},
		{"Close of the transport", func(s *session.Session, st *stream.Stream, p *testutil.Peer) {
			_ = p.Conn.Close()
			_, _ = st.Write([]byte("to be reset by"))
			for s.Err() == nil {
				if _, err := st.Write([]byte("x")); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}},
	} {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 << 10, CloseTimeout: 100 * time.Millisecond})
				unread, other := r.theirs(0), r.theirs(1)
				p.Send(t, r.syn(other), r.syn(unread))
				p.Send(t, r.pshs(unread, make([]byte, 200_000))...)
				st := accept(t, s)
				accept(t, s)
				calls := []<-chan result[any]{
					background(func() (any, error) { return st.Read(make([]byte, 10)) }),
					background(func() (any, error) { return s.AcceptStream(context.Background()) }),
					background(func() (any, error) { <-s.Done(); return nil, s.Err() }),
				}
				e.end(s, st, p)
				for _, c := range calls {
					if res := <-c; res.err == nil {
						t.Error("a call returned no error")
					}
				}
			}, "tcp", "unix")
		})
	}
}

// A conversation over a transport that may be cut after any byte. Each end opens streams and accepts
// the other's; there is data of several sizes and shapes, half-close and Close.
type conversation struct {
	mu   sync.Mutex
	read map[uint32]*readStream
	errs []error
}

type readStream struct {
	data []byte
	err  error // what reading ended with, nil for io.EOF
}

// talk takes part as the end s and returns when all of its calls have.
func (c *conversation) talk(s *session.Session, first uint32) {
	var wg sync.WaitGroup
	defer wg.Wait()
	read := func(st *stream.Stream) {
		data, err := io.ReadAll(struct{ io.Reader }{st})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.read[st.ID()] = &readStream{data, err}
	}
	wg.Go(func() { // answers
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				c.mu.Lock()
				c.errs = append(c.errs, err)
				c.mu.Unlock()
				return
			}
			wg.Go(func() {
				_, _ = st.Write([]byte("re:"))
				read(st)
				_, _ = st.Write([]byte("bye"))
				_ = st.Close()
			})
		}
	})
	for n := range 2 { // asks
		st, err := s.OpenStream(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() {
			_, _ = st.Write(fmt.Appendf(nil, "question %d of %d", n, first))
			if n == 1 {
				_ = st.CloseWrite()
			}
			if n == 0 {
				_, _ = st.Write([]byte("!"))
				_ = st.CloseWrite()
			}
			read(st)
			_ = st.Close()
		})
	}
}

// tap keeps what was read from a transport.
type tap struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, p[:n]...)
	return n, err
}

// heard is what a session must have made of the bytes it has read.
type heard struct {
	data  map[uint32][]byte // of streams that exist
	ended map[uint32]bool   // FIN came
	clean bool              // they end between two frames
}

// hears takes the bytes apart.
func hears(b []byte) heard {
	h := heard{data: map[uint32][]byte{}, ended: map[uint32]bool{}}
	d := wire.NewDecoder(bytes.NewReader(b))
	for {
		f, err := d.Next()
		if err != nil {
			h.clean = err == io.EOF
			return h
		}
		body, err := d.AppendPayload(nil)
		if f.Command == wire.SYN {
			h.data[f.StreamID] = nil
		}
		if f.Command == wire.PSH && !h.ended[f.StreamID] {
			h.data[f.StreamID] = append(h.data[f.StreamID], body...)
		}
		if err != nil {
			return h
		}
		if f.Command == wire.FIN {
			h.ended[f.StreamID] = true
		}
	}
}

func TestTheTransportCutAtEveryByteOffsetOfAConversationEndsBothSidesWithAnError(t *testing.T) {
	for _, way := range []string{"client to server", "server to client"} {
		for _, err := range []error{nil, syscall.ECONNRESET} {
			kind := "ended"
			if err != nil {
				kind = "reset"
			}
			for version := 1; version <= 2; version++ {
				t.Run(fmt.Sprintf("%s/%s/v%d", way, kind, version), func(t *testing.T) {
					testutil.LeakCheck(t)
					after := int64(0)
					for ; ; after++ {
						if cutConversation(t, version, way, err, after) < after {
							break // it never got so far
						}
						if t.Failed() {
							t.Fatalf("with the cut after byte %d", after)
						}
					}
					if after < 100 {
						t.Errorf("the conversation had %d bytes", after)
					}
				})
			}
		}
	}
}

// cutConversation holds the conversation with a cut after so many bytes in one
// direction, and returns how many came there.
func cutConversation(t *testing.T, version int, way string, cause error, after int64) (arrived int64) {
	synctest.Test(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{Delay: time.Millisecond, Segment: 64})
		cut := ca.Out()
		if way != "client to server" {
			cut = cb.Out()
		}
		cut.Cut(simnet.Cut{After: after, Err: cause})
		ends := [2]*tap{{Conn: ca}, {Conn: cb}}
		// With a budget this small there are window updates, too.
		cfg := &session.Config{Version: version, MaxReceiveBuffer: 64 << 10}
		sides := [2]*session.Session{client(t, ends[0], cfg), server(t, ends[1], cfg)}
		var talks [2]conversation
		var wg sync.WaitGroup
		for i, s := range sides {
			talks[i].read = map[uint32]*readStream{}
			wg.Go(func() { talks[i].talk(s, uint32(i)) })
		}
		// If nothing was cut, the end comes all the same.
		time.Sleep(time.Second)
		arrived = cut.Counters().Delivered
		if arrived < after {
			ca.Break(cause)
		}
		wg.Wait()
		synctest.Wait()
		for i, s := range sides {
			side := []string{"client", "server"}[i]
			select {
			case <-s.Done():
			default:
				t.Fatalf("the %s goes on", side)
			}
			h := hears(ends[i].seen)
			checkEnd(t, side, s.Err(), cause, h.clean)
			if n := len(talks[i].errs); n != 1 {
				t.Errorf("%s: Accept ended %d times", side, n)
			} else {
				checkEnd(t, side+"'s Accept", talks[i].errs[0], cause, h.clean)
			}
			for id, got := range talks[i].read {
				want := h.data[id]
				if !bytes.Equal(got.data, want) {
					t.Errorf("%s read %q of stream %d, want what had arrived: %q", side, got.data, id, want)
				}
				if h.ended[id] != (got.err == nil) {
					t.Errorf("%s: stream %d ended with %v, FIN had come: %v", side, id, got.err, h.ended[id])
				}
				if got.err != nil {
					checkStreamEnd(t, fmt.Sprintf("%s's stream %d", side, id), got.err, cause)
				}
			}
			for id := range h.data {
				if _, ok := talks[i].read[id]; !ok {
					t.Errorf("%s: stream %d had arrived and was not read", side, id)
				}
			}
		}
	})
	return arrived
}

// checkEnd wants the error of a session whose transport was cut. A side that writes into the cut may
// learn of it from there.
func checkEnd(t *testing.T, what string, err, cause error, clean bool) {
	t.Helper()
	switch {
	case cause != nil:
		wantErr(t, what, err, cause)
	case clean && errors.Is(err, io.EOF), !clean && errors.Is(err, io.ErrUnexpectedEOF):
	default:
		t.Errorf("%s: %v, clean %v", what, err, clean)
	}
}

func checkStreamEnd(t *testing.T, what string, err, cause error) {
	t.Helper()
	switch {
	case cause != nil:
		wantErr(t, what, err, cause)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
	default:
		t.Errorf("%s: %v", what, err)
	}
}

// The same with a scripted peer, over every transport, so that what is read at once varies.
func TestASessionWhoseTransportEndsAfterAnyByteHasReadWhatCameBefore(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		a, b := r.theirs(0), r.theirs(1)
		var script []byte
		for _, f := range []testutil.Frame{
			r.nop(), r.syn(a), r.psh(a, []byte("hello")), r.syn(b), r.psh(b, nil), r.psh(a, []byte(", world")),
			r.fin(a), r.psh(b, []byte("more")), r.nop(), r.fin(b), r.fin(b),
		} {
			script = f.Append(script)
		}
		for n := range len(script) + 1 {
			ours, theirs := r.transport.Pair(t)
			s, p := r.startOn(t, ours, theirs, session.Config{})
			r.hear(t, p)
			p.SendBytes(t, script[:n])
			_ = p.Close()
			h := hears(script[:n])
			accepted := 0
			for {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					if err == io.EOF != h.clean {
						t.Errorf("after %d bytes Accept: %v", n, err)
					}
					break
				}
				accepted++
				got, err := io.ReadAll(st)
				if !bytes.Equal(got, h.data[st.ID()]) || h.ended[st.ID()] != (err == nil) {
					t.Errorf("after %d bytes: read %q, %v of stream %d, want %q", n, got, err, st.ID(), h.data[st.ID()])
				}
				_ = st.Close()
			}
			if accepted != len(h.data) {
				t.Errorf("after %d bytes: accepted %d streams, want %d", n, accepted, len(h.data))
			}
			checkEnd(t, fmt.Sprintf("after %d bytes Err", n), s.Err(), nil, h.clean)
			_ = s.Close()
		}
	}, "sim", "tcp", "unix", "pipe", "bare")
}

// Both ends do everything at once, with streams that several goroutines use, until the session ends.
func TestWhateverHappensAtOnceEverybodyReturnsAtTheEnd(t *testing.T) {
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

// muddle uses a session in every way until it ends, and calls count for each stream that it has got.
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
			return // Err may be nil until what was written is sent
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
