package session_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// wantDraining wants the channel of Draining to be closed, or open.
func wantDraining(t testing.TB, s *session.Session, want bool) {
	t.Helper()
	got := false
	select {
	case <-s.Draining():
		got = true
	default:
	}
	if got != want {
		t.Errorf("Draining is closed: %v, want %v", got, want)
	}
}

// The peer's drain signal ends OpenStream at once. Open streams and the peer's new ones go on.
func TestDrainOfThePeerEndsOpenStream(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		st := open(t, s)
		p.ExpectFrame(t, "the stream is opened", r.syn(st.ID()))
		before := s.Draining()
		wantDraining(t, s, false)
		p.Send(t, r.drainSignal())
		p.ExpectFrame(t, "the signal is echoed", r.drainSignal())
		<-before
		wantDraining(t, s, true)
		_, err := s.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
		p.Send(t, r.syn(r.theirs(0)), r.psh(st.ID(), []byte("hello")), r.fin(st.ID()))
		accept(t, s)
		if got, err := io.ReadAll(st); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		p.Send(t, r.drainSignal(), r.drainSignal())
		p.ExpectFrame(t, "a signal that comes again is echoed again", r.drainSignal())
	})
}

// The echo of a drain signal follows the SYNs of all streams that OpenStream had returned.
func TestDrainEchoFollowsTheLastSYN(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		p.Send(t, r.nop())
		synctest.Wait()
		const streams = 100
		for range streams {
			open(t, s) // its SYN may wait for a millisecond
		}
		p.Send(t, r.drainSignal())
		seen := 0
		for {
			f := p.Next(t, "the SYNs and then the echo")
			if f.Command == wire.FIN {
				break
			}
			seen++
		}
		if seen != streams {
			t.Errorf("%d SYNs came before the echo, want %d", seen, streams)
		}
		p.ExpectNothing(t, "nothing follows the echo", time.Minute)
	})
}

// A call of OpenStream that waits when the drain signal comes fails.
func TestDrainOfThePeerEndsAWaitingOpenStream(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				s := server(t, ours, &session.Config{KeepAlive: off})
				p := testutil.NewPeer(t, theirs)
				opening := testutil.BackgroundErr(func() error { return second(s.OpenStream(context.Background())) })
				time.Sleep(time.Hour)
				wantPending(t, "OpenStream", opening)
				p.Send(t, testutil.FIN(v, 0xffffffff))
				// It may be faster than the signal, once the version is known.
				if err := (<-opening).Err; err != nil {
					testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
				}
				synctest.Wait() // the signal has been handled
				testutil.WantErr(t, "another", second(s.OpenStream(context.Background())), session.ErrPeerShutdown)
			})
		})
	}
}

// A server that does not know the version yet sends the drain signal once it does.
func TestDrainWaitsForTheVersion(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				s := server(t, ours, &session.Config{KeepAlive: off, CloseTimeout: time.Hour})
				p := testutil.NewPeer(t, theirs)
				down := shutdown(s, context.Background())
				p.ExpectNothing(t, "the version is not known", 59*time.Minute)
				p.Send(t, testutil.SYN(v, 1))
				p.ExpectFrame(t, "the version is known", testutil.FIN(v, 0xfffffffe))
				p.Send(t, testutil.FIN(v, 0xfffffffe))
				st := accept(t, s)
				wantPending(t, "Shutdown", down)
				_ = st.Close()
				p.ExpectClosed(t, "the stream is closed", testutil.FIN(v, 1))
				go func() { _, _ = io.Copy(io.Discard, theirs); _ = theirs.Close() }()
				testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
			})
		})
	}
}

// Toward a peer that sends no echo, Shutdown of a session without streams takes CloseTimeout; with an echo, a
// round trip.
func TestShutdownWaitsForTheEchoOrCloseTimeout(t *testing.T) {
	for _, echo := range []bool{false, true} {
		t.Run(fmt.Sprintf("echo %v", echo), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{CloseTimeout: time.Minute})
				p.Send(t, r.nop())
				synctest.Wait()
				elapsed := testutil.Clock()
				down := shutdown(s, context.Background())
				p.ExpectFrame(t, "the peer is told", r.myDrain())
				want := time.Minute
				if echo {
					time.Sleep(time.Second)
					p.Send(t, r.drainEcho())
					want = time.Second
				}
				go func() { _, _ = io.Copy(io.Discard, p.Conn); _ = p.Close() }()
				testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
				testutil.WantTime(t, "Shutdown returned", elapsed(), want)
			})
		})
	}
}

// Both sides may shut down at the same time. The one whose peer is faster may not learn that its last FIN arrived.
func TestShutdownByBothSides(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		one, other := shutdown(c, context.Background()), shutdown(s, context.Background())
		<-c.Draining()
		<-s.Draining()
		_, _ = a.Close(), b.Close()
		for _, down := range []<-chan testutil.Result[struct{}]{one, other} {
			if err := (<-down).Err; err != nil {
				testutil.WantErr(t, "Shutdown", err, session.ErrNotFlushed)
			}
		}
	})
}
