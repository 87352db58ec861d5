package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// The signals that the peer sends, and with which this side answers, are FINs of the peer's last ids.

func (r role) drainSignal() testutil.Frame { return r.fin(r.lastID(false)) }
func (r role) drainEcho() testutil.Frame   { return r.fin(r.lastID(true)) }
func (r role) pingSignal() testutil.Frame  { return r.fin(r.lastID(false) - 2) }
func (r role) pingEcho() testutil.Frame    { return r.fin(r.lastID(true) - 2) }
func (r role) closeSignal() testutil.Frame { return r.fin(r.lastID(false) - 4) }

// lastID is the last id of this side, or of the peer.
func (r role) lastID(ours bool) uint32 {
	if r.client == ours {
		return 0xffffffff
	}
	return 0xfffffffe
}

// The signals that this side sends have the ids of its own, and so have the echoes that it waits for.
func (r role) myDrain() testutil.Frame { return r.drainEcho() }
func (r role) myPing() testutil.Frame  { return r.pingEcho() }
func (r role) myClose() testutil.Frame { return r.fin(r.lastID(true) - 4) }

// Each signal of the peer is answered by a FIN with the same id.
func TestSignalIsAnsweredByItsEcho(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		_, p := r.start(t, session.Config{})
		p.Send(t, r.pingSignal())
		p.ExpectFrame(t, "a ping is echoed", r.pingSignal())
		p.Send(t, r.drainSignal())
		p.ExpectFrame(t, "a drain signal is echoed", r.drainSignal())
		p.Send(t, r.pingSignal())
		p.ExpectFrame(t, "a ping is echoed", r.pingSignal())
		if r.transport.Bubble {
			p.ExpectNothing(t, "each signal has one echo", time.Hour)
		}
	}, "sim", "tcp")
}

// The other ten reserved ids, and echoes that nobody asked for, change nothing.
func TestSignalThatIsUnknownChangesNothing(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		for _, ours := range []bool{false, true} {
			for n := range uint32(8) {
				if n >= 3 || ours {
					p.Send(t, r.fin(r.lastID(ours)-2*n))
				}
			}
		}
		p.ExpectNothing(t, "it has no answer", time.Minute)
		select {
		case <-s.Draining():
			t.Error("Draining is closed")
		default:
		}
		st := open(t, s)
		p.ExpectFrame(t, "streams can be opened", r.syn(st.ID()))
		_ = st.Close()
	})
}

// A stream with a reserved id that another implementation has opened is a stream like any other.
func TestSignalIsNoFINOfAnOpenStream(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.lastID(false)
		p.Send(t, r.syn(id), r.psh(id, []byte("hello")), r.fin(id))
		st := accept(t, s)
		if got, err := io.ReadAll(st); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		p.ExpectNothing(t, "it has no answer", time.Minute)
		open(t, s)
	})
}

// A flood of signals gets no more echoes than the transport takes, and they never pile up: after a million
// of them that were read while nothing could be sent, two go out.
func TestSignalFloodLeavesTwoEchoes(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		ours, theirs := testutil.SimPair(t, simnet.Link{Buffer: 1, ReadBuffer: 1})
		s, p := r.startOn(t, ours, theirs, session.Config{})
		flood := 1000
		var frames []byte
		for range flood {
			frames = r.drainSignal().Append(r.pingSignal().Append(frames))
		}
		seen := s.Stats().FramesReceived
		go func() {
			if _, err := theirs.Write(frames); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		if n := s.Stats().FramesReceived - seen; n != uint64(2*flood) {
			t.Fatalf("%d frames were read, want %d", n, 2*flood)
		}
		// One of each kind waits, and what was on its way before.
		echoes := 0
		for {
			f, err := p.TryNext(time.Minute)
			if err != nil {
				break
			}
			if f.Header.Command == wire.FIN {
				echoes++
			}
		}
		if echoes < 2 || echoes > 6 {
			t.Errorf("%d echoes, want one of each kind, and what was sent before", echoes)
		}
	})
}

// A session that is closing pings no more and answers no signal but a ping, for which the peer's Flush may wait, over a
// transport with a half-close. Over TCP on Linux it answers none: there, a peer that pings all the time would hold up Close,
// which waits until the peer's host has everything.
func TestClosingSessionAnswersPingsAlone(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize}, session.Config{})
		p.Send(t, r.nop())
		synctest.Wait()
		p.Ignore(wire.NOP)
		for range 2 { // the second one waits for the first
			go func() { _, _ = s.Ping(context.Background()) }()
		}
		synctest.Wait()
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		const size = 4 * narrowSize // more than the transport takes
		st := open(t, s)
		for range size / 1024 {
			if _, err := st.Write(make([]byte, 1024)); err != nil {
				t.Fatal(err)
			}
		}
		closing := testutil.BackgroundErr(s.Close)
		synctest.Wait()
		wantPending(t, "Close", closing)
		p.Send(t, r.pingSignal(), r.drainSignal(), r.pingEcho())
		synctest.Wait()
		sent := readFrames(t, p)
		echoes := 0
		for _, f := range sent.frames {
			switch {
			case f.Command != wire.FIN:
			case f.StreamID == r.pingSignal().StreamID:
				echoes++
			default:
				t.Errorf("%v was sent", f.Header)
			}
		}
		if echoes != 1 {
			t.Errorf("%d echoes of a ping were sent, want 1", echoes)
		}
		if got := len(sent.data[r.ours(0)]); got != size {
			t.Errorf("%d bytes arrived, want %d", got, size)
		}
		testutil.WantErr(t, "Close", (<-closing).Err, nil)
	})
}

// Ping returns the round trip of the link, and a session that has answered is known to be of this package.
func TestPingMeasuresTheRoundTrip(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{Delay: 30 * time.Millisecond})
		cfg := &session.Config{Version: version, KeepAlive: off}
		c, s := client(t, a, cfg), server(t, b, cfg)
		for _, s := range []*session.Session{c, s} {
			rtt, err := s.Ping(context.Background())
			if err != nil || rtt != 60*time.Millisecond {
				t.Errorf("Ping = %v, %v, want 60ms", rtt, err)
			}
			if got := s.Stats().RTT; got != rtt {
				t.Errorf("Stats.RTT = %v, want %v", got, rtt)
			}
		}
	})
}

// A round trip that is shorter than the clock's step is a nanosecond, and so known.
func TestPingIsNeverZero(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{})
		cfg := &session.Config{Version: version, KeepAlive: off}
		c, _ := client(t, a, cfg), server(t, b, cfg)
		if rtt, err := c.Ping(context.Background()); err != nil || rtt != 1 {
			t.Errorf("Ping = %v, %v, want 1ns", rtt, err)
		}
		if got := c.Stats().RTT; got != 1 {
			t.Errorf("Stats.RTT = %v, want 1ns", got)
		}
	})
}

// Calls at the same time share a ping; one that comes later gets one of its own. So two pings at most
// are on their way or due.
func TestPingsAtTheSameTimeShareOne(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{Version: 2})
		p.Send(t, r.nop()) // a server knows the version now
		synctest.Wait()
		ping := func() <-chan testutil.Result[time.Duration] {
			return testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
		}
		first := ping()
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		time.Sleep(time.Second)
		var later []<-chan testutil.Result[time.Duration]
		for range 100 {
			later = append(later, ping())
		}
		synctest.Wait()
		p.ExpectNothing(t, "one ping at a time is on its way", time.Second)
		p.Send(t, r.pingEcho())
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		if got := <-first; got.Err != nil || got.Value != 2*time.Second {
			t.Errorf("the first Ping = %v, %v", got.Value, got.Err)
		}
		for _, l := range later {
			wantPending(t, "a later Ping", l)
		}
		time.Sleep(3 * time.Second)
		p.Send(t, r.pingEcho())
		for _, l := range later {
			if got := <-l; got.Err != nil || got.Value != 3*time.Second {
				t.Errorf("a later Ping = %v, %v", got.Value, got.Err)
			}
		}
		p.ExpectNothing(t, "nothing is sent unasked", time.Hour)
	})
}

// Ping ends with its context and says that the peer may be of another kind; the next Ping works.
func TestPingEndsWithItsContext(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, r.nop())
		for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
			ctx, cancel := context.WithCancel(context.Background())
			if cause == context.DeadlineExceeded {
				cancel()
				ctx, cancel = context.WithTimeout(context.Background(), time.Second)
			} else {
				time.AfterFunc(time.Second, cancel)
			}
			_, err := s.Ping(ctx)
			cancel()
			testutil.WantErr(t, "Ping", err, session.ErrPingUnanswered)
			testutil.WantErr(t, "Ping", err, cause)
			if op := new(net.OpError); !errors.As(err, &op) || op.Op != "ping" {
				t.Errorf("%v is no net.OpError of ping", err)
			}
		}
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		p.Send(t, r.pingEcho()) // late
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		p.Send(t, r.pingEcho())
		synctest.Wait()
		ping := testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		p.Send(t, r.pingEcho())
		testutil.WantErr(t, "Ping", (<-ping).Err, nil)
	})
}

// Ping ends with the session, and fails after that.
func TestPingEndsWithTheSession(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, r.nop())
		synctest.Wait()
		ping := testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
		time.Sleep(time.Hour)
		wantPending(t, "Ping", ping)
		go func() { _, _ = io.Copy(io.Discard, p.Conn); _ = p.Close() }()
		_ = s.Close()
		testutil.WantErr(t, "Ping", (<-ping).Err, net.ErrClosed)
		_, err := s.Ping(context.Background())
		testutil.WantErr(t, "Ping of a closed session", err, net.ErrClosed)
	})
}

// Echoes that come before the ping was sent make no round trip negative.
func TestPingIsNeverNegative(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		var echoes []byte
		for range 1000 {
			echoes = r.pingEcho().Append(echoes)
		}
		var over sync.WaitGroup
		defer over.Wait()
		defer s.Close()
		over.Go(func() { _, _ = io.Copy(io.Discard, p.Conn) })
		over.Go(func() {
			for err := error(nil); err == nil; {
				_, err = p.Conn.Write(echoes)
			}
		})
		for range 20 {
			if rtt, err := s.Ping(context.Background()); rtt < 0 || err != nil {
				t.Fatalf("Ping = %v, %v", rtt, err)
			}
		}
	}, "tcp")
}

// A server that learns the version from its peer pings once it has.
func TestPingWaitsForTheVersion(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				s := server(t, ours, &session.Config{KeepAlive: off})
				p := testutil.NewPeer(t, theirs)
				ping := testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
				p.ExpectNothing(t, "nothing is sent unasked", time.Hour)
				p.Send(t, testutil.NOP(v))
				p.ExpectFrame(t, "Ping sends a ping once the version is known", testutil.FIN(v, 0xfffffffc))
				p.Send(t, testutil.FIN(v, 0xfffffffc))
				testutil.WantErr(t, "Ping", (<-ping).Err, nil)
			})
		})
	}
}

// Pings from many goroutines on every transport all return.
func TestPingFromManyGoroutines(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		var all sync.WaitGroup
		for _, s := range []*session.Session{c, s} {
			for range 8 {
				all.Go(func() {
					for range 50 {
						if _, err := s.Ping(context.Background()); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
	})
}
