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
	"github.com/smuxkit/smuxkit/wire"
)

// After Close of a Listener, streams that wait and streams that arrive are refused. Accepted streams, streams that
// this side opens, and the session go on.
func TestListenerCloseRefusesStreamsAndEndsNone(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		l := s.Listener()
		p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("hello")))
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p.Send(t, r.syn(r.theirs(1)), r.psh(r.theirs(1), make([]byte, 10_000)),
			r.syn(r.theirs(2)), r.psh(r.theirs(2), make([]byte, 10_000)), r.fin(r.theirs(2)))
		synctest.Wait()
		testutil.WantErr(t, "Close", l.Close(), nil)
		p.ExpectClosed(t, "a stream that waits is refused", r.fin(r.theirs(1)))
		p.ExpectFrame(t, "one FIN refuses a stream that its peer has half-closed", r.fin(r.theirs(2)))
		p.Send(t, r.syn(r.theirs(3)), r.psh(r.theirs(1), make([]byte, 10_000)))
		p.ExpectClosed(t, "a stream that arrives later is refused", r.fin(r.theirs(3)))
		p.ExpectNothing(t, "nothing else is sent", time.Minute)
		if got := s.Stats(); got.StreamsRefused != 3 || got.Unread != len("hello") {
			t.Errorf("Stats has %d refused streams and %d unread bytes, want 3 and %d", got.StreamsRefused, got.Unread, len("hello"))
		}
		if n := s.NumStreams(); n != 1 {
			t.Errorf("%d streams are open, want the one that was accepted", n)
		}
		testutil.WantErr(t, "closing again", l.Close(), nil)
		testutil.WantErr(t, "closing another", s.Listener().Close(), nil)

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
			_, err := l.Accept()
			testutil.WantErr(t, "Accept after Close", err, net.ErrClosed)
		})
	})
}

// Each stream that arrives during Close of a Listener is either accepted and answered or refused.
func TestListenerCloseAnswersOrRefusesEachStream(t *testing.T) {
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
		var answered, refused atomic.Int64
		for i := range openers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 0))
				for range streams / openers {
					st, err := c.OpenStream(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					want := make([]byte, 1+rng.IntN(20_000))
					_, err = st.Write(want)
					_ = st.CloseWrite()
					got, rerr := io.ReadAll(st)
					switch {
					case rerr != nil:
						t.Errorf("read %d bytes of %d, %v", len(got), len(want), rerr)
					case err == nil && len(got) == len(want):
						answered.Add(1)
					case len(got) == 0:
						refused.Add(1)
					default:
						t.Errorf("read %d bytes of %d after a Write with %v", len(got), len(want), err)
					}
					_ = st.Close()
				}
			})
		}
		all.Wait()
		handlers.Wait()
		if answered.Load() != int64(accepted) || refused.Load() != int64(streams-accepted) {
			t.Errorf("%d streams were accepted, %d answered and %d refused", accepted, answered.Load(), refused.Load())
		}
		if n := s.Stats().StreamsRefused; n != uint64(refused.Load()) {
			t.Errorf("Stats has %d refused streams, want %d", n, refused.Load())
		}
		testutil.WantErr(t, "Close", c.Close(), nil)
	})
}
