package session_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// Keep-alive toward peers that send nothing when they are idle, and toward those that hang.

// An acking is an end of a connection that knows when the host at the other end last acknowledged something, as the
// kernel knows of a TCP connection. The host acknowledges each Write at once while it is alive.
type acking struct {
	*simnet.Conn
	mu    sync.Mutex // guards the fields below
	dead  bool
	acked time.Time
}

func (a *acking) Write(p []byte) (int, error) {
	n, err := a.Conn.Write(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dead {
		a.acked = time.Now()
	}
	return n, err
}

func (a *acking) LastAcked() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acked
}

// kill ends the host: from now on, nothing arrives, and nothing is acknowledged.
func (a *acking) kill() {
	a.mu.Lock()
	a.dead = true
	a.mu.Unlock()
	a.In().Stall()
	a.Out().Stall()
}

// startAcking is start over a transport that knows what was acknowledged.
func (r role) startAcking(t *testing.T, cfg session.Config) (*session.Session, *testutil.Peer, *acking) {
	t.Helper()
	ours, theirs := testutil.SimPair(t, simnet.Link{})
	a := &acking{Conn: ours, acked: time.Now()}
	s, p := r.startOn(t, a, theirs, cfg)
	return s, p, a
}

// read makes the peer read and forget all that arrives.
func read(t *testing.T, p *testutil.Peer) {
	var over sync.WaitGroup
	over.Go(func() { _, _ = io.Copy(io.Discard, p.Conn) })
	t.Cleanup(func() { _ = p.Close(); over.Wait() })
}

// A peer that never sends a NOP and answers no ping is not given up while its host acknowledges probes. When the host
// dies, the session ends at most Timeout later.
func TestSilentPeerStaysWhileItsHostAcknowledges(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		for _, said := range []bool{false, true} {
			s, p, a := r.startAcking(t, session.Config{KeepAlive: keepAlive})
			if said { // the peer has opened a stream, and the session knows the version
				p.Send(t, r.syn(r.theirs(0)))
				accept(t, s)
			} else if !r.client {
				continue // a server with a Version of its own can send; see TestServerThatCannotProbeGivesUpASilentPeer
			}
			read(t, p)
			time.Sleep(time.Hour + 3*time.Second)
			if err := s.Err(); err != nil {
				t.Fatalf("ended: %v", err)
			}
			elapsed := testutil.Clock()
			a.kill()
			wantEnded(t, s, session.ErrKeepAlive)
			if d := elapsed(); d > keepAlive.Timeout || d < keepAlive.Timeout-keepAlive.Interval {
				t.Errorf("the dead host was found after %v", d)
			}
		}
	})
}

// A strict policy gives up such a peer after Timeout, whatever its host acknowledges.
func TestStrictPolicyGivesUpASilentPeer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		strict := keepAlive
		strict.Strict = true
		elapsed := testutil.Clock()
		s, p, _ := r.startAcking(t, session.Config{KeepAlive: strict})
		read(t, p)
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), keepAlive.Timeout)
	})
}

// A server that does not know the version cannot probe: it gives up a silent peer after Timeout.
func TestServerThatCannotProbeGivesUpASilentPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		elapsed := testutil.Clock()
		s := server(t, &acking{Conn: ours, acked: time.Now()}, &session.Config{KeepAlive: keepAlive})
		read(t, testutil.NewPeer(t, theirs))
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), keepAlive.Timeout+1) // LastAcked is 1 ns, because 0 is unknown
	})
}

// A peer that hangs while its host acknowledges everything is given up after Timeout of silence, if it has sent a NOP
// or answered a ping before.
func TestPeerThatHangsIsGivenUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		for _, speaks := range []string{"NOPs", "answers"} {
			s, p, _ := r.startAcking(t, session.Config{KeepAlive: keepAlive})
			p.Send(t, r.syn(r.theirs(0)))
			accept(t, s)
			elapsed := testutil.Clock()
			if speaks == "NOPs" {
				p.Send(t, r.nop())
			} else {
				p.ExpectFrame(t, "a peer that is unknown is asked after Interval", r.myPing())
				testutil.WantTime(t, "the ping came", elapsed(), keepAlive.Interval)
				p.Send(t, r.pingEcho())
				elapsed = testutil.Clock()
			}
			read(t, p)
			wantEnded(t, s, session.ErrKeepAlive)
			testutil.WantTime(t, "the session ended after the peer had spoken", elapsed(), keepAlive.Timeout)
		}
	})
}

// A silent peer gets one ping and then NOPs, one probe each Interval.
func TestSilentPeerGetsOnePing(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p, _ := r.startAcking(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.nop()) // a server knows the version now; the session knows that the peer speaks
		p.Ignore()
		if r.client {
			p.ExpectFrame(t, "a client begins with a NOP", r.nop())
		}
		if err := s.SetKeepAlive(ka.Periodic{Interval: time.Second, Timeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		var got []testutil.Frame
		for {
			f, err := p.TryNext(time.Hour)
			if err != nil {
				break
			}
			got = append(got, f)
		}
		want := []testutil.Frame{
			r.nop(), r.nop(), r.nop(), r.nop(), r.nop(), r.nop(), r.nop(), r.nop(), r.myPing(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("probes of 10 s of silence (-want +got)\n%s", diff)
		}
		wantEnded(t, s, session.ErrKeepAlive)
	})
}

// A peer of this package with keepalive.Off sends nothing on its own, and is kept by its answers, over any transport.
func TestSmuxkitPeerWithoutKeepAliveStays(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		for _, silent := range []string{"client", "server"} {
			ca, cb := tr.Pair(t)
			cc, sc := &session.Config{Version: version, KeepAlive: keepAlive}, &session.Config{Version: version, KeepAlive: off}
			if silent == "client" {
				cc, sc = sc, cc
			}
			c, s := client(t, ca, cc), server(t, cb, sc)
			openPair(t, c, s)
			time.Sleep(time.Hour)
			if c.Err() != nil || s.Err() != nil {
				t.Errorf("the %s is silent: the sessions ended: %v, %v", silent, c.Err(), s.Err())
			}
			// It is asked after Timeout less Interval of silence at the most, and a probe each Interval keeps this side.
			probes := uint64(time.Hour/(keepAlive.Timeout-keepAlive.Interval)) + uint64(time.Hour/keepAlive.Interval)
			if n := c.Stats().BytesSent + s.Stats().BytesSent; n > 16*probes {
				t.Errorf("%d bytes were sent in an hour", n)
			}
		}
	})
}

// An upload that nobody answers keeps a peer of this package with keepalive.Off: it is asked although data is being sent.
func TestSilentReaderOfThisPackageIsAsked(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{Delay: 50 * time.Millisecond})
		c := client(t, a, &session.Config{Version: version, KeepAlive: keepAlive})
		s := server(t, b, &session.Config{Version: version, KeepAlive: off})
		up, down := openPair(t, c, s)
		drained := testutil.BackgroundErr(func() error { _, err := io.Copy(io.Discard, down); return err })
		for range 600 {
			time.Sleep(time.Second)
			if _, err := up.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
		_ = up.Close()
		testutil.WantErr(t, "reading", (<-drained).Err, nil)
	})
}

// With ProbeOnly, a session probes each Interval and gives up no peer.
func TestProbeOnlyGivesUpNoPeer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: ka.ProbeOnly{Interval: time.Minute}})
		want := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}
		if r.client {
			want = append([]time.Duration{0}, want...)
		}
		if diff := cmp.Diff(want, nops(t, p, 200*time.Second)); diff != "" {
			t.Errorf("NOPs came (-want +got)\n%s", diff)
		}
		read(t, p)
		time.Sleep(10 * time.Hour)
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A policy learns of the peer's NOPs and answers, and of what was acknowledged.
func TestPolicyLearnsWhatThePeerHasSaid(t *testing.T) {
	type said struct{ Now, LastNOP, NOPGap, PingSent, LastEcho, RTT, LastAcked time.Duration }
	eachRole(t, func(t *testing.T, r role) {
		var got []said
		own := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			got = append(got, said{a.Now, a.LastNOP, a.NOPGap, a.PingSent, a.LastEcho, a.RTT, a.LastAcked})
			action := ka.None
			if a.Now == 4*time.Second {
				action = ka.Ping
			}
			return action, 2 * time.Second
		})
		s, p, a := r.startAcking(t, session.Config{KeepAlive: own})
		a.mu.Lock()
		a.acked = time.Time{} // not known yet
		a.mu.Unlock()
		time.Sleep(time.Second)
		p.Send(t, r.nop()) // 1 s
		time.Sleep(2 * time.Second)
		p.Send(t, r.nop()) // 3 s
		p.ExpectFrame(t, "the policy pings", r.myPing())
		time.Sleep(3 * time.Second)
		p.Send(t, r.pingEcho()) // 7 s
		time.Sleep(2 * time.Second)
		synctest.Wait()
		const s1 = time.Second
		first := time.Duration(0)
		if r.client {
			first = 1 // the first NOP was acknowledged when it was sent
		}
		want := []said{
			{Now: 0, LastAcked: 1},
			{Now: 2 * s1, LastNOP: s1, NOPGap: s1, LastAcked: max(first, 1)},
			{Now: 4 * s1, LastNOP: 3 * s1, NOPGap: 2 * s1, LastAcked: max(first, 1)},
			{Now: 6 * s1, LastNOP: 3 * s1, NOPGap: 2 * s1, PingSent: 4*s1 + 1, LastAcked: 4 * s1},
			{Now: 8 * s1, LastNOP: 3 * s1, NOPGap: 2 * s1, LastEcho: 7 * s1, RTT: 3 * s1, LastAcked: 4 * s1},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the policy was told (-want +got)\n%s", diff)
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A policy's Ping is a NOP while an earlier ping is unanswered, that of Session.Ping included.
func TestPolicyPingsOneAtATime(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		own := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			if a.Now == 0 {
				return ka.None, time.Second
			}
			return ka.Ping, time.Second
		})
		s, p := r.start(t, session.Config{KeepAlive: own})
		p.Send(t, r.nop())
		if r.client {
			r.hear(t, p)
		}
		p.Ignore()
		p.ExpectFrame(t, "the first is a ping", r.myPing())
		p.ExpectFrame(t, "it is unanswered", r.nop())
		p.ExpectFrame(t, "it is unanswered", r.nop())
		p.Send(t, r.pingEcho())
		p.ExpectFrame(t, "it was answered", r.myPing())
		p.Send(t, r.pingEcho())
		synctest.Wait()
		ping := testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		p.ExpectFrame(t, "it is unanswered", r.nop())
		p.Send(t, r.pingEcho())
		testutil.WantErr(t, "Ping", (<-ping).Err, nil)
		p.ExpectFrame(t, "it was answered", r.myPing())
		// A Ping that begins now waits for an answer to a ping of its own.
		ping = testutil.Background(func() (time.Duration, error) { return s.Ping(context.Background()) })
		synctest.Wait()
		p.Send(t, r.pingEcho())
		p.ExpectFrame(t, "Ping sends a ping", r.myPing())
		wantPending(t, "Ping", ping)
		p.Send(t, r.pingEcho())
		testutil.WantErr(t, "Ping", (<-ping).Err, nil)
	})
}

// A flood of echoes that nobody asked for tells a policy nothing.
func TestUnaskedEchoesTellAPolicyNothing(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var last ka.Activity
		s, p := r.start(t, session.Config{KeepAlive: policy(func(a ka.Activity) (ka.Action, time.Duration) {
			last = a
			return ka.None, time.Second
		})})
		var flood []byte
		for range 1000 {
			flood = r.pingEcho().Append(flood)
		}
		time.Sleep(time.Millisecond)
		for range 10 {
			p.SendBytes(t, flood)
		}
		read(t, p)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if last.LastEcho != 0 || last.PingSent != 0 || last.RTT != 0 || last.LastReceived == 0 {
			t.Errorf("the policy was told %+v", last)
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A flood of NOPs costs no more than reading it, and tells when the last one came.
func TestNOPFloodTellsWhenTheLastCame(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var last ka.Activity
		_, p := r.start(t, session.Config{KeepAlive: policy(func(a ka.Activity) (ka.Action, time.Duration) {
			last = a
			return ka.None, time.Second
		})})
		read(t, p)
		var flood []byte
		for range 100 {
			flood = r.nop().Append(flood)
		}
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			p.SendBytes(t, flood)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if last.LastNOP != time.Second || last.NOPGap > 10*time.Millisecond {
			t.Errorf("the policy was told %+v", last)
		}
	})
}

// A ping of the keep-alive that is on its way does not hold up Close, and its answer is not waited for.
func TestKeepAlivePingDoesNotHoldUpClose(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.syn(r.theirs(0)))
		accept(t, s)
		p.ExpectFrame(t, "a peer that is unknown is asked after Interval", r.myPing())
		read(t, p)
		elapsed := testutil.Clock()
		go func() { time.Sleep(time.Millisecond); _ = p.Close() }()
		if err := s.Close(); err != nil && !errors.Is(err, session.ErrNotFlushed) {
			t.Error(err)
		}
		if d := elapsed(); d > time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}
