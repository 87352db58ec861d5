//go:build !386 && !portable

package session_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A peer whose bytes lie in the socket because the reader gets no processor is not given up, however long that takes.
func TestUnreadBytesKeepThePeer(t *testing.T) {
	for _, over := range []string{"tcp", "unix"} {
		t.Run(over, func(t *testing.T) {
			testutil.LeakCheck(t)
			ours, theirs := transport(over).Pair(t)
			asked := make(chan ka.Activity)
			periodic := ka.Periodic{Interval: time.Millisecond, Timeout: 2 * time.Millisecond, Strict: true}
			s := client(t, ours, &session.Config{KeepAlive: off})
			look, _, _ := starve(t, s)
			if _, err := theirs.Write(testutil.NOP(wire.V2).Append(nil)); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return true }, func() bool { return session.HasUnread(s) })
			// From now on, the policy is asked many times what it gives the peer up for.
			over := make(chan struct{})
			defer close(over)
			err := s.SetKeepAlive(policy(func(a ka.Activity) (ka.Action, time.Duration) {
				select {
				case asked <- a:
				case <-over:
				}
				return periodic.Next(a)
			}))
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				if a := <-asked; a.LastReceived != a.Now {
					t.Fatalf("the policy was told %+v", a)
				}
			}
			if err := s.Err(); err != nil {
				t.Errorf("ended: %v", err)
			}
			// What was read counts from when it was read.
			look()
			<-asked
			if a := <-asked; a.LastReceived == a.Now || a.LastNOP == 0 {
				t.Errorf("after it was read, the policy was told %+v", a)
			}
		})
	}
}

// A session whose reader is renewed again and again, also while data arrives and while it waits for room, loses nothing.
func TestRenewedReaderLosesNothing(t *testing.T) {
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 64 << 10})
		a, b := openPair(t, c, s)
		const size = 4 << 20
		sent := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(1).Send(a, size, 10_000)
			_ = a.CloseWrite()
			return n, err
		})
		received := testutil.Background(func() (any, error) { return nil, testutil.Pattern(1).Receive(b, size) })
		for len(received) == 0 {
			session.RenewReader(s)
			session.RenewReader(c)
			runtime.Gosched()
		}
		if r := <-received; r.Err != nil {
			t.Error(r.Err)
		}
		if r := <-sent; r.Err != nil {
			t.Error(r.Err)
		}
		// The reader that was renewed last notices the end of the transport.
		session.RenewReader(s)
		_ = c.CloseNow()
		<-s.Done()
		session.RenewReader(s)
	})
}
