package session_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// keepAlive is a policy with times that nothing else has by chance.
var keepAlive = ka.Periodic{Interval: 7 * time.Second, Timeout: 16 * time.Second}

// isProbe reports whether f is a probe: a NOP, or the ping of a client or a server.
func isProbe(f testutil.Frame) bool {
	return f.Command == wire.NOP || f.Command == wire.FIN && (f.StreamID == 0xfffffffd || f.StreamID == 0xfffffffc)
}

// nops reads frames for d. It returns the times, since the call, at which NOPs and other probes came.
func nops(t *testing.T, p *testutil.Peer, d time.Duration) (at []time.Duration) {
	t.Helper()
	p.Ignore()
	elapsed := testutil.Clock()
	for elapsed() < d {
		f, err := p.TryNext(d - elapsed())
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if isProbe(f) {
			at = append(at, elapsed())
		}
	}
	return at
}

// chatter makes the peer send a NOP every second, so that it is not given up.
func chatter(t *testing.T, r role, p *testutil.Peer) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := p.Conn.Write(r.nop().Append(nil)); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); done.Wait() })
}

// A NOP is sent when nothing was sent for Interval.
func TestNOPIsSentAfterIntervalWithoutSending(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		chatter(t, r, p)
		want := []time.Duration{7 * time.Second, 14 * time.Second, 21 * time.Second, 28 * time.Second}
		if r.client {
			want = append([]time.Duration{0}, want...) // see the next test
		}
		if diff := cmp.Diff(want, nops(t, p, 30*time.Second)); diff != "" {
			t.Errorf("NOPs came (-want +got)\n%s", diff)
		}
		// Anything that is sent delays the next NOP.
		p.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		time.Sleep(3 * time.Second) // 33 s
		if _, err := st.Write([]byte("data")); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]time.Duration{7 * time.Second}, nops(t, p, 8*time.Second)); diff != "" {
			t.Errorf("NOPs came after data (-want +got)\n%s", diff)
		}
		if err := s.Err(); err != nil {
			t.Errorf("Err = %v", err)
		}
	})
}

// A session that receives but sends nothing sends NOPs.
func TestNOPIsSentWhateverIsReceived(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		go io.Copy(io.Discard, accept(t, s))
		stop := time.Now().Add(20 * time.Second)
		sent := testutil.Background(func() (int, error) {
			for time.Now().Before(stop) {
				time.Sleep(100 * time.Millisecond)
				if _, err := p.Conn.Write(r.psh(id, []byte("x")).Append(nil)); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		want := 2
		if r.client {
			want++
		}
		if got := nops(t, p, 20*time.Second); len(got) != want {
			t.Errorf("NOPs came at %v", got)
		}
		if res := <-sent; res.Err != nil {
			t.Error(res.Err)
		}
	})
}

// A client sends a NOP when it starts, a server sends nothing.
func TestClientSendsANOPAtOnceAndServerNothing(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		_, p := r.start(t, session.Config{})
		p.Ignore()
		if !r.client {
			p.ExpectNothing(t, "a server sends nothing", time.Hour)
			return
		}
		elapsed := testutil.Clock()
		p.ExpectFrame(t, "a client begins with a NOP", r.nop())
		testutil.WantTime(t, "the NOP came", elapsed(), 0)
		p.ExpectNothing(t, "without keep-alive the client sends no other frame", time.Hour)
	})
}

// The first NOP of a client with Version 0 has version 2.
func TestClientOfVersion0SendsANOPOfVersion2(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		client(t, ours, nil)
		p := testutil.NewPeer(t, theirs)
		p.ExpectFrame(t, "the NOP has version 2", testutil.NOP(2))
	})
}

// A NOP gets no answer.
func TestNOPIsNotAnswered(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		nops(t, p, time.Second) // the client's first
		p.Send(t, r.nop(), r.nop(), r.nop())
		p.ExpectNothing(t, "a NOP gets no answer", time.Hour)
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// A session ends with ErrKeepAlive when nothing was received for Timeout.
func TestPeerIsGivenUpAfterTimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		elapsed := testutil.Clock()
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		time.Sleep(5 * time.Second)
		p.Send(t, r.nop()) // it counts from here
		_, err := st.Read(make([]byte, 10))
		testutil.WantTime(t, "the session ended", elapsed(), 5*time.Second+keepAlive.Timeout)
		testutil.WantErr(t, "Read", err, session.ErrKeepAlive)
		wantEnded(t, s, session.ErrKeepAlive)
		p.ExpectEnd(t, "giving up the peer ends the transport")
	})
}

// A session whose peer never sent anything ends with ErrKeepAlive after Timeout.
func TestPeerThatNeverSentIsGivenUpAfterTimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		for _, policy := range []ka.Policy{keepAlive, ka.Periodic{}} {
			elapsed := testutil.Clock()
			s, _ := r.start(t, session.Config{KeepAlive: policy})
			wantEnded(t, s, session.ErrKeepAlive)
			want := keepAlive.Timeout
			if policy != keepAlive {
				want = 30 * time.Second // the default
			}
			testutil.WantTime(t, "the session ended", elapsed(), want)
		}
	})
}

// Any byte from the peer counts as a sign of life, even a part of a header.
func TestPeerIsKeptByAnyByte(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Ignore(wire.NOP, wire.FIN) // FIN: a ping
		for range 5 {
			for _, b := range r.nop().Append(nil) {
				time.Sleep(keepAlive.Timeout - time.Second)
				p.SendBytes(t, []byte{b})
			}
		}
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// Two idle sessions stay open. Each sends a NOP every Interval and nothing else.
func TestIdleSessionsKeepEachOther(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		time.Sleep(3 * time.Hour)
		if c.Err() != nil || s.Err() != nil {
			t.Fatalf("they ended: %v, %v", c.Err(), s.Err())
		}
		openPair(t, c, s)
		// One probe an Interval is sent, and nothing else.
		if most := uint64(3*60*6+10) * 8; c.Stats().BytesSent > most || s.Stats().BytesSent > most {
			t.Errorf("sent %d and %d bytes", c.Stats().BytesSent, s.Stats().BytesSent)
		}
	})
}

// Timeout does not count while the session does not read because its budget is full.
func TestPeerIsNotGivenUpWhileTheBudgetIsFull(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive, MaxReceiveBuffer: 64 << 10})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		data := testutil.Pattern(1).Bytes(200_000)
		p.Send(t, append([]testutil.Frame{r.syn(id)}, r.pshs(id, data)...)...)
		st := accept(t, s)
		time.Sleep(time.Hour)
		if err := s.Err(); err != nil {
			t.Fatalf("ended: %v", err)
		}
		if got := nops(t, p, time.Minute); len(got) == 0 {
			t.Error("no probes are sent while reading is paused")
		}
		p.Ignore(wire.NOP, wire.UPD)
		// When reading goes on, Timeout counts again.
		elapsed := testutil.Clock()
		got, err := io.ReadAll(st)
		testutil.WantErr(t, "reading", err, session.ErrKeepAlive)
		if len(got) != len(data) {
			t.Errorf("read %d bytes, want %d", len(got), len(data))
		}
		testutil.WantTime(t, "the silent peer was given up", elapsed(), keepAlive.Timeout)
	})
}

// Neither end of a long transfer over a slow path gives up its peer: the receiver sends NOPs, and the sender's
// data keeps the receiver.
func TestLargeTransferThatDelaysNOPsEndsNoSession(t *testing.T) {
	const size = 3 << 20
	for _, both := range []bool{false, true} {
		for _, link := range []simnet.Link{
			{Rate: 20_000, Delay: 100 * time.Millisecond, Segment: 4096},
			{Rate: 20_000, Delay: 100 * time.Millisecond, Buffer: 2 << 20, ReadBuffer: 8 << 10, Segment: 4096}, // a hundred seconds of queue
		} {
			name := "one way"
			if both {
				name = "both ways"
			}
			if link.Buffer != 0 {
				name += " through a large buffer"
			}
			t.Run(name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					ca, cb := testutil.SimPair(t, link)
					cfg := &session.Config{Version: version}
					c, s := client(t, ca, cfg), server(t, cb, cfg)
					a, b := openPair(t, c, s)
					elapsed := testutil.Clock()
					var writers []<-chan testutil.Result[int64]
					readers := []<-chan testutil.Result[any]{testutil.Background(func() (any, error) {
						return nil, testutil.Pattern(1).Receive(b, size)
					})}
					writers = append(writers, testutil.Background(func() (int64, error) {
						n, err := testutil.Pattern(1).Send(a, size, 64<<10)
						a.CloseWrite()
						return n, err
					}))
					if both {
						readers = append(readers, testutil.Background(func() (any, error) {
							return nil, testutil.Pattern(2).Receive(a, size)
						}))
						writers = append(writers, testutil.Background(func() (int64, error) {
							n, err := testutil.Pattern(2).Send(b, size, 64<<10)
							b.CloseWrite()
							return n, err
						}))
					}
					for _, w := range writers {
						if res := <-w; res.Err != nil {
							t.Errorf("%d bytes were written: %v", res.Value, res.Err)
						}
					}
					for _, w := range readers {
						if res := <-w; res.Err != nil {
							t.Error(res.Err)
						}
					}
					if d := elapsed(); d < 150*time.Second {
						t.Errorf("it took %v: that proves nothing", d)
					}
				})
			})
		}
	}
}

// ErrKeepAlive is a net.Error whose Timeout is true, and is not os.ErrDeadlineExceeded.
func TestErrKeepAliveIsATimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		<-s.Done()
		for what, err := range map[string]error{
			"Err": s.Err(), "Read": second(st.Read(make([]byte, 1))), "Write": second(st.Write([]byte("x"))),
			"Accept": second(s.Accept()), "Open": second(s.Open()),
		} {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s: %v is no net.Error that is a timeout", what, err)
			}
			testutil.WantErr(t, what, err, session.ErrKeepAlive)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v is taken for a deadline of the stream's", what, err)
			}
		}
	})
}

// An idle session holds one goroutine, and its streams none.
func TestIdleSessionHoldsOneGoroutine(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s) // streams cost none
		for _, st := range []io.ReadWriter{a, b} {
			if _, err := st.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
		}
		for _, st := range []io.ReadWriter{a, b} {
			if _, err := io.ReadFull(st, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		if tr.Bubble {
			synctest.Wait()
		}
		n := 0
		for range 1000 { // goroutines that have just sent may still be ending
			if n = goroutines("smuxkit/session."); n == 2 {
				return
			}
			runtime.Gosched()
		}
		t.Errorf("two idle sessions have %d goroutines", n)
	})
}
