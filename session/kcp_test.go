package session_test

import (
	"io"
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

// If both ends close over KCP, and KCP's time-outs are long, as on a busy machine, the second Close does not wait for them:
// what it has sent is acknowledged.
func TestSecondCloseOverKCPEndsWithTheAcknowledgement(t *testing.T) {
	for _, lag := range []time.Duration{0, time.Millisecond, forgetRTT / 2, forgetRTT * 3 / 4, forgetRTT, time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				a, b := testutil.SimPair(t, simnet.Link{Delay: forgetRTT / 2})
				cfg := session.Config{Version: version, CloseTimeout: time.Minute}
				over := func(c *simnet.Conn) *kcp { return &kcp{Conn: simnet.Datagrams(c), conn: c, rto: 10_000} }
				c, s := client(t, over(a), &cfg), server(t, over(b), &cfg)
				x, y := openPair(t, c, s)
				time.Sleep(time.Second)
				for _, st := range []*stream.Stream{x, y} {
					if _, err := st.Write([]byte("the end")); err != nil {
						t.Error(err)
					}
				}
				first := testutil.BackgroundErr(c.Close)
				time.Sleep(lag)
				elapsed := testutil.Clock()
				testutil.WantErr(t, "the second Close", s.Close(), nil)
				if d := elapsed(); d > forgetRTT+60*time.Millisecond {
					t.Errorf("the second Close returned after %v", d)
				}
				testutil.WantErr(t, "the first Close", (<-first).Err, nil)
			})
		})
	}
}

// Once the data is known to have arrived, Close waits for no frame that the transport does not take.
func TestCloseDoesNotWaitForATransportAfterDelivery(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		a, b := testutil.SimPair(t, simnet.Link{})
		conn := &stops{ReadWriteCloser: simnet.Bare(a), closed: make(chan struct{})}
		s, p := r.startOn(t, conn, b, session.Config{})
		st := open(t, s)
		if _, err := st.Write([]byte("the end")); err != nil {
			t.Fatal(err)
		}
		closed := testutil.BackgroundErr(s.Close)
		p.Ignore(wire.SYN, wire.PSH, wire.UPD, wire.NOP)
		p.ExpectFrame(t, "it begins with a ping", r.myPing())
		p.ExpectFrame(t, "the close signal is last", r.myClose())
		synctest.Wait()
		conn.stopped.Store(true)
		p.Send(t, r.pingSignal())
		synctest.Wait() // the echo is being written
		p.Send(t, r.myClose())
		got := <-closed
		testutil.WantErr(t, "Close", got.Err, nil)
		if got.After > time.Second {
			t.Errorf("Close returned after %v", got.After)
		}
	})
}

// A stops is a transport that takes nothing any more once it has stopped.
type stops struct {
	io.ReadWriteCloser
	stopped atomic.Bool
	once    sync.Once
	closed  chan struct{}
}

func (c *stops) Write(p []byte) (int, error) {
	if c.stopped.Load() {
		<-c.closed
		return 0, io.ErrClosedPipe
	}
	return c.ReadWriteCloser.Write(p)
}

func (c *stops) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.ReadWriteCloser.Close()
}
