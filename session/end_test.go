package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// How a session ends with its transport.

// ends are the ways in which a session ends without the FIN of a stream.
var ends = []struct {
	name string
	cfg  session.Config
	end  func(t *testing.T, r role, s *session.Session, p *testutil.Peer)
	want error // what readers get, and Accept and Err as well unless accept is set
	// accept is what Accept and Err return at the end.
	accept error
}{
	{name: "the transport ends between two frames", end: endBetweenFrames, want: io.ErrUnexpectedEOF, accept: io.EOF},
	{name: "the transport ends in a header", end: endInHeader, want: io.ErrUnexpectedEOF},
	{name: "the transport ends behind a header that announces data", end: endBehindHeader, want: io.ErrUnexpectedEOF},
	{name: "the transport is reset", end: resetTransport, want: syscall.ECONNRESET},
	{name: "the peer breaks the protocol", end: breakProtocol, want: wire.ErrVersion},
	{
		name: "the peer is silent for too long", end: doNothing, want: session.ErrKeepAlive,
		cfg: session.Config{KeepAlive: keepalive.Periodic{}},
	},
}

func endBetweenFrames(t *testing.T, r role, s *session.Session, p *testutil.Peer) {
	p.Close()
}

func endInHeader(t *testing.T, r role, s *session.Session, p *testutil.Peer) {
	p.SendBytes(t, r.nop().Append(nil)[:5])
	p.Close()
}

func endBehindHeader(t *testing.T, r role, s *session.Session, p *testutil.Peer) {
	p.SendBytes(t, r.psh(r.theirs(7), []byte("for no stream")).Append(nil)[:8])
	p.Close()
}

func resetTransport(t *testing.T, r role, s *session.Session, p *testutil.Peer) {
	p.Conn.(*simnet.Conn).Break(syscall.ECONNRESET)
}

func breakProtocol(t *testing.T, r role, s *session.Session, p *testutil.Peer) {
	p.SendBytes(t, []byte("HTTP/1.1 400 Bad Request\r\n"))
}

func doNothing(t *testing.T, r role, s *session.Session, p *testutil.Peer) {}

// When the transport ends, all blocked calls return at the same time, and later calls fail.
func TestTransportEndReachesAllCallsAtOnce(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				// Buffers so small that Writes block, and that new streams wait for the transport.
				s, p := r.startLink(t, simnet.Link{Buffer: 100, ReadBuffer: 100}, e.cfg)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				other, third := open(t, s), open(t, s)
				calls := map[string]<-chan testutil.Result[any]{
					"Read":          testutil.Background(func() (any, error) { return st.Read(make([]byte, 10)) }),
					"WriteTo":       testutil.Background(func() (any, error) { return other.WriteTo(io.Discard) }),
					"a large Write": testutil.Background(func() (any, error) { return st.Write(make([]byte, 1<<20)) }),
					"small Writes": testutil.Background(func() (any, error) {
						for {
							if _, err := third.Write(make([]byte, 100)); err != nil {
								return nil, err
							}
						}
					}),
					"Open": testutil.Background(func() (any, error) {
						for {
							if _, err := s.Open(); err != nil {
								return nil, err
							}
						}
					}),
					"Accept":       testutil.Background(func() (any, error) { return s.Accept() }),
					"AcceptStream": testutil.Background(func() (any, error) { return s.AcceptStream(t.Context()) }),
					"Done": testutil.Background(func() (any, error) {
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
						t.Fatalf("%s has returned: %v, %v", what, res.Value, res.Err)
					default:
					}
				}
				e.end(t, r, s, p)
				at, first := time.Duration(0), ""
				for what, c := range calls {
					res := <-c
					switch {
					case e.accept != nil && (what == "Accept" || what == "AcceptStream" || what == "Done"):
						if res.Err != e.accept {
							t.Errorf("%s: %v, want a bare %v", what, res.Err, e.accept)
						}
					case errors.Is(res.Err, syscall.EPIPE) && e.want == io.ErrUnexpectedEOF && what != "Accept" && what != "Done":
						// The session was writing, and may have learned of the end by that.
					case what == "Open" && e.accept != nil:
						testutil.WantErr(t, what, res.Err, e.accept)
					default:
						testutil.WantErr(t, what, res.Err, e.want)
					}
					if first == "" {
						at, first = res.After, what
					}
					if d := (res.After - at).Abs(); d > 0 {
						t.Errorf("%s returned %v earlier or later than %s", what, d, first)
					}
				}
				// Later calls fail as well.
				for what, err := range map[string]error{
					"Read": second(st.Read(make([]byte, 1))), "Write": second(st.Write([]byte("x"))),
				} {
					if err == nil || err == io.EOF {
						t.Errorf("a later %s: %v", what, err)
					}
				}
				_, err := s.AcceptStream(context.Background())
				if e.accept == nil {
					testutil.WantErr(t, "a later Accept", err, e.want)
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

// A reset of the transport leaves no Read blocked, even if reader and writer find it at the same time.
func TestTransportResetLeavesNoReadBlocked(t *testing.T) {
	const streams = 500
	eachRole(t, func(t *testing.T, r role) {
		for range 10 {
			s, p := r.startLink(t, simnet.Link{Buffer: 100, ReadBuffer: 100}, session.Config{})
			var reads []<-chan testutil.Result[int]
			for n := range streams {
				p.Send(t, r.syn(r.theirs(n)))
				st := accept(t, s)
				reads = append(reads, testutil.Background(func() (int, error) { return st.Read(make([]byte, 10)) }))
				if n == 0 {
					// Writer and reader find the reset at the same time.
					go st.Write(make([]byte, 100_000))
				}
			}
			synctest.Wait()
			p.Conn.(*simnet.Conn).Break(syscall.ECONNRESET)
			for _, read := range reads {
				testutil.WantErr(t, "Read", (<-read).Err, syscall.ECONNRESET)
			}
			wantEnded(t, s, syscall.ECONNRESET)
		}
	})
}

// Streams that arrived before the end of the transport can be accepted and read after it.
func TestTransportEndLeavesWaitingStreamsReadable(t *testing.T) {
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
						testutil.WantErr(t, "reading a stream without FIN", err, e.want)
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
						testutil.WantErr(t, "Accept", err, e.want)
						if err == io.EOF {
							t.Error("Accept: a clean end")
						}
					}
				}
			})
		})
	}
}

// An Accept that waits gets the streams that arrive together with the end of the transport.
func TestAcceptGetsStreamsThatArriveWithTheEnd(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		accepted := testutil.Background(func() (n int, err error) {
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
		if res := <-accepted; res.Value != 3 || res.Err != io.EOF {
			t.Errorf("%d streams were accepted, and then %v", res.Value, res.Err)
		}
	})
}

// The end reaches a session that does not read because its budget is full.
func TestTransportEndReachesAFullSession(t *testing.T) {
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
				elapsed := testutil.Clock()
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

// The end reaches a session on a socket that does not read because its budget is full.
func TestTransportEndReachesAFullSessionOnASocket(t *testing.T) {
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
				calls := []<-chan testutil.Result[any]{
					testutil.Background(func() (any, error) { return st.Read(make([]byte, 10)) }),
					testutil.Background(func() (any, error) { return s.AcceptStream(context.Background()) }),
					testutil.Background(func() (any, error) { <-s.Done(); return nil, s.Err() }),
				}
				e.end(s, st, p)
				for _, c := range calls {
					if res := <-c; res.Err == nil {
						t.Error("a call returned no error")
					}
				}
			}, "tcp", "unix")
		})
	}
}
