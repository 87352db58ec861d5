package session_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
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

// After Close of a Listener, streams that the peer opened before its echo are accepted. Streams that come after it
// are refused. Accepted streams, streams that this side opens, and the session go on.
func TestListenerCloseDrainsAndEndsNoStream(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		l := s.Listener()
		p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("hello")), r.syn(r.theirs(1)))
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Close", l.Close(), nil)
		p.ExpectFrame(t, "the peer is told", r.myDrain())
		p.Send(t, r.syn(r.theirs(2)), r.psh(r.theirs(2), make([]byte, 10_000)), r.fin(r.theirs(2)), r.drainEcho())
		for n := 1; n <= 2; n++ {
			st, err := l.Accept()
			if err != nil || st.(*stream.Stream).ID() != r.theirs(n) {
				t.Fatalf("Accept = %v, %v, want stream %d", st, err, r.theirs(n))
			}
			_ = st.Close()
		}
		p.ExpectClosed(t, "the stream that waited was accepted and closed", r.fin(r.theirs(1)))
		p.ExpectFrame(t, "so was the one that came before the echo", r.fin(r.theirs(2)))
		_, err = l.Accept()
		testutil.WantErr(t, "Accept after the echo", err, net.ErrClosed)
		p.Send(t, r.syn(r.theirs(3)), r.psh(r.theirs(1), make([]byte, 10_000)))
		p.ExpectRefused(t, "a stream that comes after the echo is refused", r.fin(r.theirs(3)))
		testutil.WantErr(t, "closing again", l.Close(), nil)
		testutil.WantErr(t, "closing another", s.Listener().Close(), nil)
		p.ExpectNothing(t, "nothing else is sent", time.Minute)
		if got := s.Stats(); got.StreamsRefused != 1 || got.Unread != len("hello") {
			t.Errorf("Stats has %d refused streams and %d unread bytes, want 1 and %d", got.StreamsRefused, got.Unread, len("hello"))
		}

		testutil.WantErr(t, "Err", s.Err(), nil)
		mine := open(t, s)
		p.ExpectFrame(t, "this side can open a stream", r.syn(mine.ID()))
		p.Send(t, r.psh(r.theirs(0), []byte(" again")), r.fin(r.theirs(0)), r.fin(mine.ID()))
		if got, err := io.ReadAll(accepted); string(got) != "hello again" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := accepted.Write([]byte("answer")); err != nil {
			t.Error(err)
		}
		p.ExpectData(t, "the accepted stream goes on", r.theirs(0), []byte("answer"))

		down := shutdown(s, context.Background())
		time.Sleep(time.Minute)
		wantPending(t, "Shutdown", down)
		_, _ = accepted.Close(), mine.Close()
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
	})
}

// A peer that sends no echo can open streams for CloseTimeout after Close of a Listener.
func TestListenerCloseGivesOtherPeersCloseTimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{CloseTimeout: time.Minute})
		p.Send(t, r.nop())
		synctest.Wait()
		l := s.Listener()
		_ = l.Close()
		p.ExpectFrame(t, "the peer is told", r.myDrain())
		time.Sleep(59 * time.Second)
		p.Send(t, r.syn(r.theirs(0)))
		if _, err := l.Accept(); err != nil {
			t.Error(err)
		}
		elapsed := testutil.Clock()
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
		testutil.WantTime(t, "Accept failed", elapsed(), time.Second)
		p.Send(t, r.syn(r.theirs(1)))
		p.ExpectRefused(t, "later streams are refused", r.fin(r.theirs(1)))
	})
}

// Streams that wait after Close of a Listener are refused once no stream was accepted for CloseTimeout. One that
// accepts slowly loses none.
func TestListenerCloseRefusesWhatNobodyAccepts(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{CloseTimeout: time.Minute})
		p.Ignore(wire.NOP, wire.UPD)
		const streams = 10
		for n := range streams {
			p.Send(t, r.syn(r.theirs(n)), r.psh(r.theirs(n), make([]byte, 1000)))
		}
		synctest.Wait()
		l := s.Listener()
		_ = l.Close()
		p.ExpectFrame(t, "the peer is told", r.myDrain())
		p.Send(t, r.drainEcho())
		for range streams / 2 {
			time.Sleep(59 * time.Second)
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		for range streams / 2 {
			f := p.Next(t, "a stream that nobody accepts is refused")
			p.ExpectFrame(t, "with two empty PSHs", f)
			p.ExpectClosed(t, "and two FINs", r.fin(f.StreamID))
		}
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
		if got := s.Stats(); got.StreamsRefused != streams/2 || got.Unread != 1000*streams/2 {
			t.Errorf("Stats has %d refused streams and %d unread bytes", got.StreamsRefused, got.Unread)
		}
	})
}

// A stream that was accepted before Close of a Listener gives those that wait no more time.
func TestListenerCloseIgnoresWhatWasAcceptedBefore(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{CloseTimeout: time.Minute})
		p.Ignore(wire.NOP, wire.UPD)
		p.Send(t, r.syn(r.theirs(0)), r.syn(r.theirs(1)))
		accept(t, s)
		synctest.Wait()
		_ = s.Listener().Close()
		p.ExpectFrame(t, "the peer is told", r.myDrain())
		p.Send(t, r.drainEcho())
		p.ExpectNothing(t, "the other stream waits", 59*time.Second)
		p.Timeout = 2 * time.Second
		p.ExpectRefused(t, "nobody has accepted it for a minute", r.fin(r.theirs(1)))
	})
}

// Close of one Listener ends every Accept on the session with net.ErrClosed, whether it waits or is called later.
func TestListenerCloseEndsEveryAccept(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		_, s := sessions(t, transport("sim"), session.Config{Version: version})
		one, other := s.Listener(), s.Listener()
		if one == other {
			t.Error("two Listeners are one value: a server may keep them in a map")
		}
		accepts := []func() (net.Conn, error){one.Accept, other.Accept, s.Accept, func() (net.Conn, error) {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				return nil, err
			}
			return st, nil
		}}
		var waiting []<-chan testutil.Result[net.Conn]
		for _, accept := range append(accepts, accepts...) {
			waiting = append(waiting, testutil.Background(accept))
		}
		time.Sleep(time.Hour)
		_ = one.Close()
		for _, accept := range accepts {
			waiting = append(waiting, testutil.Background(accept))
		}
		for _, accept := range waiting {
			r := <-accept
			op := new(net.OpError)
			if r.Value != nil || !errors.Is(r.Err, net.ErrClosed) || !errors.As(r.Err, &op) || op.Op != "accept" {
				t.Errorf("Accept = %v, %v, want net.ErrClosed of accept", r.Value, r.Err)
			}
		}
		testutil.WantErr(t, "Err", s.Err(), nil)
	})
}

// A Listener's Accept ends with its session as Session.Accept does, after the streams that had arrived.
func TestListenerAcceptEndsWithTheSession(t *testing.T) {
	for _, e := range sessionEndings {
		if e.err == context.Canceled {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				conn, peer := testutil.SimPair(t, simnet.Link{})
				s := client(t, conn, &session.Config{Version: version, KeepAlive: off})
				l := s.Listener()
				if l.Addr() != s.Addr() {
					t.Errorf("Addr = %v, want %v", l.Addr(), s.Addr())
				}
				accept := testutil.Background(l.Accept)
				time.Sleep(time.Hour)
				e.end(nil, s, peer)
				testutil.WantErr(t, "the Listener's Accept", (<-accept).Err, e.err)
				_, err := s.Accept()
				_, lerr := l.Accept()
				if lerr.Error() != err.Error() {
					t.Errorf("the Listener's Accept: %v, the session's: %v", lerr, err)
				}
				testutil.WantErr(t, "Close", l.Close(), nil)
			})
		})
	}
	t.Run("streams had arrived", func(t *testing.T) {
		eachRole(t, func(t *testing.T, r role) {
			s, p := r.start(t, session.Config{})
			p.Send(t, r.syn(r.theirs(0)), r.syn(r.theirs(1)))
			_ = p.Close()
			<-s.Done()
			l := s.Listener()
			if _, err := l.Accept(); err != nil {
				t.Error(err)
			}
			testutil.WantErr(t, "Close", l.Close(), nil)
			if _, err := l.Accept(); err != nil {
				t.Error(err)
			}
			_, err := l.Accept()
			testutil.WantErr(t, "Accept after Close", err, net.ErrClosed)
		})
	})
}

// During Close of a Listener no stream is lost: each that was opened is accepted and answered, and then no more
// can be opened.
func TestListenerCloseLosesNoStream(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		const streams, openers = 400, 20
		c, s := sessions(t, tr, session.Config{Version: version})
		l := s.Listener()
		var handlers, all sync.WaitGroup
		accepted := 0
		handlers.Go(func() {
			for {
				st, err := l.Accept()
				if err != nil {
					testutil.WantErr(t, "Accept", err, net.ErrClosed)
					return
				}
				if accepted++; accepted == streams/2 {
					handlers.Go(func() { _ = l.Close() })
				}
				handlers.Go(func() { echoOnce(st) })
			}
		})
		var opened, answered atomic.Int64
		for i := range openers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 0))
				for range streams / openers {
					st, err := c.OpenStream(context.Background())
					if err != nil {
						testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
						return
					}
					opened.Add(1)
					want := make([]byte, 1+rng.IntN(20_000))
					_, err = st.Write(want)
					_ = st.CloseWrite()
					got, rerr := io.ReadAll(st)
					switch {
					case rerr != nil:
						t.Errorf("read %d bytes of %d, %v", len(got), len(want), rerr)
					case err == nil && len(got) == len(want):
						answered.Add(1)
					default:
						t.Errorf("read %d bytes of %d after a Write with %v", len(got), len(want), err)
					}
					_ = st.Close()
				}
			})
		}
		all.Wait()
		handlers.Wait()
		if answered.Load() != int64(accepted) || answered.Load() != opened.Load() {
			t.Errorf("%d streams were opened, %d accepted and %d answered", opened.Load(), accepted, answered.Load())
		}
		if n := s.Stats().StreamsRefused; n != 0 {
			t.Errorf("%d streams were refused, want none", n)
		}
		testutil.WantErr(t, "Close", c.Close(), nil)
	})
}
