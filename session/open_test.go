package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
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

// What ends a call that waits for the session.
var sessionEndings = []struct {
	name string
	end  func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn)
	err  error
}{
	{"its context is cancelled", func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn) { cancel() }, context.Canceled},
	{"Close", func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn) { go s.Close() }, net.ErrClosed},
	{"the transport breaks", func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn) { peer.Break(errCut) }, errCut},
	{"the peer closes the transport", func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn) { peer.Close() }, io.EOF},
	{"the peer breaks the protocol", func(cancel context.CancelFunc, s *session.Session, peer *simnet.Conn) {
		peer.Write([]byte("GET / HTTP/1.1\r\n"))
	}, wire.ErrVersion},
}

var errCut = errors.New("cable cut")

// AcceptStream waits for a stream, for its context, or for the end of the session.
func TestAcceptStreamWaitsForStreamContextOrEnd(t *testing.T) {
	for _, e := range sessionEndings {
		t.Run(e.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				ca, cb := testutil.SimPair(t, simnet.Link{})
				s := client(t, ca, &session.Config{Version: version, KeepAlive: off})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var all []<-chan testutil.Result[*stream.Stream]
				for range 5 {
					all = append(all, testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(ctx) }))
				}
				time.Sleep(time.Hour)
				e.end(cancel, s, cb)
				for _, accept := range all {
					r := <-accept
					testutil.WantErr(t, "AcceptStream", r.Err, e.err)
					testutil.WantTime(t, "AcceptStream returned", r.After, time.Hour)
					if op := new(net.OpError); r.Err != io.EOF && (!errors.As(r.Err, &op) || op.Op != "accept") {
						t.Errorf("%#v is no *net.OpError of accept", r.Err)
					}
				}
			})
		})
	}
	t.Run("a stream", func(t *testing.T) {
		eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
			c, s := sessions(t, tr, session.Config{Version: version})
			for _, dir := range [][2]*session.Session{{c, s}, {s, c}} {
				accept := testutil.Background(func() (net.Conn, error) { return dir[1].Accept() })
				settle(tr)
				opened := open(t, dir[0])
				r := <-accept
				if r.Err != nil || r.Value.(*stream.Stream).ID() != opened.ID() {
					t.Errorf("Accept = %v, %v", r.Value, r.Err)
				}
			}
		})
	})
}

// With a context that has ended, nothing is accepted or opened.
func TestEndedContextAcceptsAndOpensNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, transport("sim"), session.Config{Version: version})
		open(t, c)
		synctest.Wait()
		time.Sleep(time.Second)
		ctx, cancel := context.WithDeadline(context.Background(), time.Now())
		defer cancel()
		_, err := s.AcceptStream(ctx)
		testutil.WantErr(t, "AcceptStream", err, context.DeadlineExceeded)
		_, err = c.OpenStream(ctx)
		testutil.WantErr(t, "OpenStream", err, context.DeadlineExceeded)
		if c, s := c.NumStreams(), s.NumStreams(); c != 1 || s != 1 {
			t.Errorf("%d and %d streams, want the one", c, s)
		}
		// The stream is still there.
		if _, err := s.AcceptStream(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A stream that arrives when the context of an AcceptStream ends goes to that call or to another one, even if that
// call was woken for it.
func TestStreamIsNotLostToAnAcceptThatEnds(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, transport("sim"), session.Config{Version: version})
		got := map[error]int{}
		for n := range 1000 {
			ctx, cancel := context.WithCancel(context.Background())
			first := testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(ctx) })
			synctest.Wait()
			second := testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(context.Background()) })
			synctest.Wait()
			out := open(t, c)
			go func() {
				for range n % 50 {
					runtime.Gosched()
				}
				cancel()
			}()
			go out.Write([]byte("x")) // SYN goes with it
			time.Sleep(time.Minute)
			err := errors.Unwrap((<-first).Err)
			got[err]++
			if err == nil {
				open(t, c) // for the second
			}
			time.Sleep(time.Minute)
			select {
			case r := <-second:
				testutil.WantErr(t, "the second AcceptStream", r.Err, nil)
			default:
				t.Fatal("a stream waits and so does the second AcceptStream")
			}
		}
		t.Logf("the first AcceptStream: %v", got)
	})
}

// OpenStream does not wait for the peer.
func TestOpenStreamDoesNotWaitForThePeer(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, _ := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		elapsed := testutil.Clock()
		for i := range 1000 {
			st, err := c.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if want := uint32(2*i + 1); st.ID() != want {
				t.Fatalf("stream %d, want %d", st.ID(), want)
			}
		}
		testutil.WantTime(t, "1000 streams were opened", elapsed(), 0)
		if n := c.NumStreams(); n != 1000 {
			t.Errorf("%d streams are open", n)
		}
	})
}

// unanswered starts a session whose OpenStream has to wait.
var unanswered = []struct {
	name  string
	start func(t testing.TB, conn *simnet.Conn, version int) *session.Session
	goOn  func(t testing.TB, s *session.Session, conn, peer *simnet.Conn, version int)
}{
	{
		"a server that waits for the version",
		func(t testing.TB, conn *simnet.Conn, version int) *session.Session {
			return server(t, conn, &session.Config{KeepAlive: off})
		},
		func(t testing.TB, s *session.Session, conn, peer *simnet.Conn, version int) {
			if _, err := peer.Write(testutil.NOP(wire.Version(version)).Append(nil)); err != nil {
				t.Error(err)
			}
		},
	},
	{
		"a transport that takes no SYN",
		func(t testing.TB, conn *simnet.Conn, version int) *session.Session {
			s := server(t, conn, &session.Config{Version: version, KeepAlive: off})
			conn.Out().Stall()
			for {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				_, err := s.OpenStream(ctx)
				cancel()
				if err != nil {
					testutil.WantErr(t, "OpenStream", err, context.DeadlineExceeded)
					return s
				}
			}
		},
		func(t testing.TB, s *session.Session, conn, peer *simnet.Conn, version int) { conn.Out().Unstall() },
	},
}

// An OpenStream that has to wait ends with its context or the session.
func TestOpenStreamThatWaitsEndsWithContextOrSession(t *testing.T) {
	for _, u := range unanswered {
		t.Run(u.name, func(t *testing.T) {
			for _, e := range sessionEndings {
				t.Run(e.name, func(t *testing.T) {
					eachVersion(t, func(t *testing.T, version int) {
						conn, peer := testutil.SimPair(t, simnet.Link{Buffer: 1000})
						s := u.start(t, conn, version)
						ctx, cancel := context.WithCancel(context.Background())
						defer cancel()
						var all []<-chan testutil.Result[*stream.Stream]
						for range 5 {
							all = append(all, testutil.Background(func() (*stream.Stream, error) { return s.OpenStream(ctx) }))
						}
						time.Sleep(time.Second)
						e.end(cancel, s, peer)
						for _, open := range all {
							r := <-open
							if e.err == io.EOF && errors.Is(r.Err, syscall.EPIPE) {
								r.Err = e.err // the session may find either first
							}
							testutil.WantErr(t, "OpenStream", r.Err, e.err)
							testutil.WantTime(t, "OpenStream returned", r.After, time.Second)
						}
					})
				})
			}
			t.Run("it goes on", func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					conn, peer := testutil.SimPair(t, simnet.Link{Buffer: 1000})
					s := u.start(t, conn, version)
					var all []<-chan testutil.Result[*stream.Stream]
					for range 50 {
						all = append(all, testutil.Background(func() (*stream.Stream, error) { return s.OpenStream(context.Background()) }))
					}
					time.Sleep(time.Second)
					u.goOn(t, s, conn, peer, version)
					ids := map[uint32]bool{}
					for _, open := range all {
						r := <-open
						testutil.WantErr(t, "OpenStream", r.Err, nil)
						testutil.WantTime(t, "OpenStream returned", r.After, time.Second)
						if r.Err == nil {
							ids[r.Value.ID()] = true
						}
					}
					if len(ids) != len(all) {
						t.Errorf("%d streams have %d ids", len(all), len(ids))
					}
				})
			})
		})
	}
}

// Both sides may open and accept streams at the same time.
func TestBothSidesOpenAndAcceptAtOnce(t *testing.T) {
	const streams = 100
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		var all sync.WaitGroup
		for _, side := range [][2]*session.Session{{c, s}, {s, c}} {
			for range streams {
				all.Go(func() {
					st, err := side[0].Open()
					if err != nil {
						t.Error(err)
						return
					}
					defer st.Close()
					want := fmt.Sprint("this is stream ", st.(*stream.Stream).ID())
					if _, err := st.Write([]byte(want)); err != nil {
						t.Error(err)
					}
					if err := st.(*stream.Stream).CloseWrite(); err != nil {
						t.Error(err)
					}
					if got, err := io.ReadAll(st); err != nil || string(got) != want {
						t.Errorf("the answer is %q, %v, want %q", got, err, want)
					}
				})
				all.Go(func() {
					st, err := side[1].Accept()
					if err != nil {
						t.Error(err)
						return
					}
					defer st.Close()
					if _, err := io.Copy(st, st); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if c, s := c.Stats(), s.Stats(); c.StreamsOpened != streams || c.StreamsAccepted != streams ||
			s.StreamsOpened != streams || s.StreamsAccepted != streams || c.StreamsRefused+s.StreamsRefused != 0 {
			t.Errorf("%+v, %+v", c, s)
		}
	})
}

// A stream reports the addresses of its transport.
func TestStreamReportsItsTransportsAddresses(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, s := client(t, ca, nil), server(t, cb, nil)
		local, remote := "smux", "smux"
		if conn, ok := ca.(net.Conn); ok {
			local, remote = conn.LocalAddr().String(), conn.RemoteAddr().String()
		}
		st, _ := openPair(t, c, s)
		for what, got := range map[string]net.Addr{"session": c.LocalAddr(), "listener": c.Addr(), "stream": st.LocalAddr()} {
			if got.String() != local {
				t.Errorf("the local address of the %s is %v, want %v", what, got, local)
			}
		}
		for what, got := range map[string]net.Addr{"session": c.RemoteAddr(), "stream": st.RemoteAddr()} {
			if got.String() != remote {
				t.Errorf("the remote address of the %s is %v, want %v", what, got, remote)
			}
		}
	})
}
