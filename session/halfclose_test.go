package session_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// How Close ends a transport that has a CloseWrite method, as TCP, TLS and Unix connections have. (On Linux a
// socket reports what the peer's host has received, and is closed once that is everything.)

// Close half-closes the transport, reads what the peer still sends, and closes the transport once the peer has
// closed.
func TestCloseHalfClosesTheTransportAndReadsToItsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *testutil.Peer, remote *simnet.Conn)
		at   time.Duration
		want error
	}{
		{"the peer closes", func(p *testutil.Peer, _ *simnet.Conn) { p.Close() }, 3 * time.Second, nil},
		{"in the middle of a frame", func(p *testutil.Peer, _ *simnet.Conn) {
			p.Conn.Write([]byte{1, 2, 3})
			p.Close()
		}, 3 * time.Second, nil},
		{"the peer resets", func(_ *testutil.Peer, remote *simnet.Conn) { remote.Break(errCut) }, 3 * time.Second, session.ErrNotFlushed},
		{"the peer does nothing", func(*testutil.Peer, *simnet.Conn) {}, 20 * time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				v := wire.Version(version)
				ca, cb := testutil.SimPair(t, simnet.Link{})
				// No probe is sent after the half-close.
				cfg := &session.Config{Version: version, CloseTimeout: 20 * time.Second, KeepAlive: keepalive.Periodic{Interval: time.Second, Timeout: time.Hour}}
				s, p := scriptedOver(t, ca, cb, cfg)
				p.Timeout = time.Minute
				st := open(t, s)
				if _, err := st.Write([]byte("the end")); err != nil {
					t.Fatal(err)
				}
				elapsed := testutil.Clock()
				closed := testutil.BackgroundErr(s.Close)
				p.ExpectFrame(t, "SYN is sent before the half-close", testutil.SYN(v, st.ID()))
				p.ExpectData(t, "data is sent before the half-close", st.ID(), []byte("the end"))
				p.ExpectEOF(t, "Close half-closes the transport")
				for range 100 {
					p.Send(t, testutil.PSH(v, st.ID(), make([]byte, 1000)))
				}
				time.Sleep(3 * time.Second)
				wantPending(t, "Close", closed)
				c.end(p, cb)
				testutil.WantErr(t, "Close", (<-closed).Err, c.want)
				testutil.WantTime(t, "Close returned", elapsed(), c.at)
			})
		})
	}
}

// A session whose peer closes ends at once: Close takes one round trip, also if both ends close.
func TestCloseTakesOneRoundTripTowardAnotherSession(t *testing.T) {
	const rtt = 200 * time.Millisecond
	for _, both := range []bool{false, true} {
		t.Run(map[bool]string{false: "one closes", true: "both close"}[both], func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				cfg := &session.Config{Version: version}
				c, s := sessionsOver(t, simnet.Link{Delay: rtt / 2}, cfg, cfg)
				a, b := openPair(t, c, s)
				if _, err := b.Write(make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				elapsed := testutil.Clock()
				ends := []*session.Session{c}
				if both {
					ends = append(ends, s)
				}
				var closed []<-chan testutil.Result[struct{}]
				for _, end := range ends {
					closed = append(closed, testutil.BackgroundErr(end.Close))
				}
				for _, r := range closed {
					testutil.WantErr(t, "Close", (<-r).Err, nil)
				}
				if d := elapsed(); d > rtt+time.Millisecond {
					t.Errorf("Close returned after %v", d)
				}
				<-s.Done()
			})
		})
	}
}

// A budget that other sessions have used up does not delay Close: data that nobody will read needs no room.
func TestCloseReadsToTheEndWithAFullBudget(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const size = 1 << 20
		budget := flow.NewBudget(size)
		v := wire.Version(version)
		ca, cb := testutil.SimPair(t, simnet.Link{})
		s, p := scriptedOver(t, ca, cb, &session.Config{Version: version, Budget: budget, KeepAlive: off})
		st := openWide(t, s, p, version)
		other := budget.NewAccount()
		defer other.Close()
		other.Charge(size)
		defer other.Release(size)
		for range 10 {
			p.Send(t, testutil.PSH(v, st.ID(), make([]byte, 1000)))
		}
		synctest.Wait() // it has taken one frame, and waits
		if n := s.Stats().Unread; n != 1000 {
			t.Fatalf("%d bytes are unread", n)
		}
		elapsed := testutil.Clock()
		closed := testutil.BackgroundErr(s.Close)
		readFrames(t, p) // and close
		testutil.WantErr(t, "Close", (<-closed).Err, nil)
		testutil.WantTime(t, "Close returned", elapsed(), 0)
	})
}

// stuckHalf is a transport whose CloseWrite blocks until the test releases it.
type stuckHalf struct {
	*simnet.Conn
	let chan struct{}
}

func (s stuckHalf) CloseWrite() error {
	<-s.let
	return io.ErrClosedPipe
}

// A transport whose CloseWrite blocks, as that of TLS may, delays Close by CloseTimeout at most.
func TestCloseWriteThatBlocksDelaysCloseForABoundedTime(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		conn := stuckHalf{ours, make(chan struct{})}
		defer close(conn.let)
		s, _ := scriptedOver(t, conn, theirs, &session.Config{Version: version, CloseTimeout: 3 * time.Second, KeepAlive: off})
		elapsed := testutil.Clock()
		testutil.WantErr(t, "Close", s.Close(), nil)
		testutil.WantTime(t, "Close returned", elapsed(), 3*time.Second)
	})
}
