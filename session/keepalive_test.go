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

// keepAlive is a policy with figures that nothing else has by chance.
var keepAlive = ka.Periodic{Interval: 7 * time.Second, Timeout: 16 * time.Second}

// nops reads frames until d has passed and returns when NOPs came, since the call.
func nops(t *testing.T, p *testutil.Peer, d time.Duration) (at []time.Duration) {
	t.Helper()
	p.Ignore()
	elapsed := clock()
	for elapsed() < d {
		f, err := p.TryNext(d - elapsed())
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Command == wire.NOP {
			at = append(at, elapsed())
		}
	}
	return at
}

// chatter has the peer send a NOP every second, so that it is not given up.
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

func TestANOPIsSentWhenNothingWasSentForInterval(t *testing.T) {
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
		// Anything that is sent puts the next one off.
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

func TestReceivingDoesNotStandInForSending(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		go io.Copy(io.Discard, accept(t, s))
		stop := time.Now().Add(20 * time.Second)
		sent := background(func() (int, error) {
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
		if res := <-sent; res.err != nil {
			t.Error(res.err)
		}
	})
}

func TestAClientSendsANOPAtOnceAndAServerSendsNothing(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		_, p := r.start(t, session.Config{})
		p.Ignore()
		if !r.client {
			p.ExpectNothing(t, time.Hour)
			return
		}
		elapsed := clock()
		p.ExpectFrame(t, r.nop())
		wantTime(t, "the NOP came", elapsed(), 0)
		p.ExpectNothing(t, time.Hour)
	})
}

func TestAClientWithVersionZeroSendsANOPOfVersionTwo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		client(t, ours, nil)
		p := testutil.NewPeer(t, theirs)
		p.ExpectFrame(t, testutil.NOP(2))
	})
}

func TestANOPIsNotAnswered(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		nops(t, p, time.Second) // the client's first
		p.Send(t, r.nop(), r.nop(), r.nop())
		p.ExpectNothing(t, time.Hour)
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

func TestAPeerIsGivenUpAfterTimeoutWithoutReceiving(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		elapsed := clock()
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		time.Sleep(5 * time.Second)
		p.Send(t, r.nop()) // it counts from here
		_, err := st.Read(make([]byte, 10))
		wantTime(t, "the session ended", elapsed(), 5*time.Second+keepAlive.Timeout)
		wantErr(t, "Read", err, session.ErrKeepAlive)
		wantEnded(t, s, session.ErrKeepAlive)
		p.ExpectEnd(t)
	})
}

func TestAPeerThatNeverSaidAnythingIsGivenUpAfterTimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		for _, policy := range []ka.Policy{keepAlive, ka.Periodic{}} {
			elapsed := clock()
			s, _ := r.start(t, session.Config{KeepAlive: policy})
			wantEnded(t, s, session.ErrKeepAlive)
			want := keepAlive.Timeout
			if policy != keepAlive {
				want = 30 * time.Second // the default
			}
			wantTime(t, "the session ended", elapsed(), want)
		}
	})
}

func TestAnyByteThatIsReceivedKeepsThePeer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		for range 5 {
			for _, b := range r.nop().Append(nil) {
				time.Sleep(keepAlive.Timeout - time.Second)
				p.SendBytes(t, []byte{b})
			}
		}
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

func TestTwoIdleSessionsKeepEachOther(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		time.Sleep(3 * time.Hour)
		if c.Err() != nil || s.Err() != nil {
			t.Fatalf("they ended: %v, %v", c.Err(), s.Err())
		}
		openPair(t, c, s)
		// A probe an Interval, and nothing else.
		if most := uint64(3*60*6+10) * 8; c.Stats().BytesSent > most || s.Stats().BytesSent > most {
			t.Errorf("sent %d and %d bytes", c.Stats().BytesSent, s.Stats().BytesSent)
		}
	})
}

func TestAPeerIsNotGivenUpWhileTheBudgetIsFull(t *testing.T) {
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
		// When reading goes on, time counts again, from then.
		elapsed := clock()
		got, err := io.ReadAll(st)
		wantErr(t, "reading", err, session.ErrKeepAlive)
		if len(got) != len(data) {
			t.Errorf("read %d bytes, want %d", len(got), len(data))
		}
		wantTime(t, "the silent peer was given up", elapsed(), keepAlive.Timeout)
	})
}

// A peer that does nothing but wait for the end of our long message, over a slow path, sends
// NOPs; and one that gets such a message does not miss ours.
func TestALargeTransferThatKeepsNOPsWaitingEndsNoSession(t *testing.T) {
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
					elapsed := clock()
					var writers []<-chan result[int64]
					readers := []<-chan result[any]{background(func() (any, error) {
						return nil, testutil.Pattern(1).Receive(b, size)
					})}
					writers = append(writers, background(func() (int64, error) {
						n, err := testutil.Pattern(1).Send(a, size, 64<<10)
						a.CloseWrite()
						return n, err
					}))
					if both {
						readers = append(readers, background(func() (any, error) {
							return nil, testutil.Pattern(2).Receive(a, size)
						}))
						writers = append(writers, background(func() (int64, error) {
							n, err := testutil.Pattern(2).Send(b, size, 64<<10)
							b.CloseWrite()
							return n, err
						}))
					}
					for _, w := range writers {
						if res := <-w; res.err != nil {
							t.Errorf("%d bytes were written: %v", res.value, res.err)
						}
					}
					for _, w := range readers {
						if res := <-w; res.err != nil {
							t.Error(res.err)
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

func TestOffNeverProbesAndNeverGivesUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: ka.Off{}})
		nops(t, p, time.Second) // the client's first
		p.ExpectNothing(t, 1000*time.Hour)
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// policy is a ka.Policy that is a function.
type policy func(ka.Activity) (ka.Action, time.Duration)

func (p policy) Next(a ka.Activity) (ka.Action, time.Duration) { return p(a) }

func TestAPolicyIsAskedAtTheStartAndThenWheneverItWants(t *testing.T) {
	type asked struct{ Now, Due, LastSent, LastReceived time.Duration }
	eachRole(t, func(t *testing.T, r role) {
		var got []asked
		var streams []int
		waits := []time.Duration{time.Second, time.Minute, time.Millisecond, 0}
		p := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			got = append(got, asked{a.Now, a.Due, a.LastSent, a.LastReceived})
			streams = append(streams, a.Streams)
			return ka.None, waits[len(got)-1]
		})
		s, peer := r.start(t, session.Config{KeepAlive: p})
		time.Sleep(500 * time.Millisecond)
		peer.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		time.Sleep(50 * time.Second)
		if _, err := st.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		peer.ExpectData(t, st.ID(), []byte("x"))
		time.Sleep(time.Hour)
		synctest.Wait()
		const ms = time.Millisecond
		want := []asked{
			{0, 0, 0, 0},
			{1000 * ms, 1000 * ms, 0, 500 * ms},
			{61_000 * ms, 61_000 * ms, 50_500 * ms, 500 * ms},
			{61_001 * ms, 61_001 * ms, 50_500 * ms, 500 * ms},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it was asked (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]int{0, 1, 1, 1}, streams); diff != "" {
			t.Errorf("streams (-want +got)\n%s", diff)
		}
		wantAlive(t, r, s, peer, r.theirs(1))
	})
}

func TestAPolicyOfOnesOwnProbesAndGivesUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		n := 0
		own := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			n++
			switch {
			case n == 1:
				return ka.None, 3 * time.Second
			case n < 5:
				return ka.Probe, time.Second
			}
			return ka.GiveUp, time.Hour // the time means nothing any more
		})
		elapsed := clock()
		s, p := r.start(t, session.Config{KeepAlive: own})
		want := []time.Duration{3 * time.Second, 4 * time.Second, 5 * time.Second}
		if r.client {
			want = append([]time.Duration{0}, want...)
		}
		if diff := cmp.Diff(want, nops(t, p, 5500*time.Millisecond)); diff != "" {
			t.Errorf("NOPs came (-want +got)\n%s", diff)
		}
		wantEnded(t, s, session.ErrKeepAlive)
		wantTime(t, "it gave up", elapsed(), 6*time.Second)
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n != 5 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

func TestAPolicyThatGivesUpAtOnceEndsTheSession(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
			return ka.GiveUp, 0
		})})
		wantEnded(t, s, session.ErrKeepAlive)
		p.ExpectEnd(t)
	})
}

func TestAPolicyIsNotAskedAfterTheEndOfTheSession(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(s *session.Session, p *testutil.Peer)
	}{
		{"Close", func(s *session.Session, p *testutil.Peer) { s.Close() }},
		{"the peer closes", func(s *session.Session, p *testutil.Peer) { p.Close() }},
	} {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				n := 0
				s, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
					n++
					return ka.Probe, time.Second
				})})
				time.Sleep(1500 * time.Millisecond)
				e.end(s, p)
				<-s.Done()
				synctest.Wait()
				before := n
				time.Sleep(time.Hour)
				synctest.Wait()
				if n != before || n != 2 {
					t.Errorf("it was asked %d times before the end and %d times after it", before, n-before)
				}
			})
		})
	}
}

func TestAPolicyIsAskedByOneGoroutineAtATime(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		asking, n := 0, 0
		_, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
			asking++ // the race detector watches
			defer func() { asking-- }()
			if asking > 1 {
				t.Error("two at once")
			}
			if n++; n > 1000 {
				return ka.None, 0
			}
			runtime.Gosched()
			return ka.Probe, time.Microsecond
		})})
		p.Ignore()
		for range 10 {
			p.Next(t)
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n != 1001 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

func TestAProbeThatCannotGoOutDoesNotPileUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 16, ReadBuffer: 16}, session.Config{KeepAlive: keepAlive})
		chatter(t, r, p)
		p.Conn.(*simnet.Conn).In().Stall()
		time.Sleep(time.Hour)
		p.Conn.(*simnet.Conn).In().Unstall()
		if got := nops(t, p, time.Second); len(got) > 8 { // 4 in the link, one under way, one that waits
			t.Errorf("%d NOPs came after an hour without a way for them", len(got))
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

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
			wantErr(t, what, err, session.ErrKeepAlive)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v is taken for a deadline of the stream's", what, err)
			}
		}
	})
}

func TestAnIdleSessionHoldsOneGoroutine(t *testing.T) {
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
		for range 1000 { // those that have just sent may still be ending
			if n = goroutines("smuxkit/session."); n == 2 {
				return
			}
			runtime.Gosched()
		}
		t.Errorf("two idle sessions have %d goroutines", n)
	})
}
