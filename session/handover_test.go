package session_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// The state of a transport that a session takes over.

// A deadline that was set on the transport before, for a handshake perhaps, does not end the session.
func TestClientAndServerClearTheTransportsDeadlines(t *testing.T) {
	deadlines := func(tr testutil.Transport) bool { return tr.Deadlines }
	eachTransport(t, deadlines, func(t *testing.T, tr testutil.Transport, version int) {
		at := map[string]time.Time{"passed": time.Unix(1, 0)}
		if tr.Bubble {
			at["to come"] = time.Now().Add(time.Second)
		}
		for name, at := range at {
			ca, cb := tr.Pair(t)
			for _, conn := range []io.ReadWriteCloser{ca, cb} {
				if err := conn.(net.Conn).SetDeadline(at); err != nil {
					t.Fatal(err)
				}
			}
			cfg := &session.Config{Version: version}
			c, s := client(t, ca, cfg), server(t, cb, cfg)
			if tr.Bubble {
				time.Sleep(time.Minute)
			}
			a, b := openPair(t, c, s)
			go a.Write([]byte("hello"))
			if _, err := io.ReadFull(b, make([]byte, 5)); err != nil {
				t.Errorf("with a deadline that has %s: %v", name, err)
			}
		}
	})
}

// Reads of the transport that return nothing end the session only if they return at once. Some transports poll,
// and return nothing if there is no data.
func TestEmptyReadsAreNoEndUnlessTheyComeAtOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		f := newFaulty(ours)
		f.read = func(p []byte) (int, error) {
			ours.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			n, err := ours.Read(p)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				err = nil
			}
			return n, err
		}
		c := client(t, f, &session.Config{Version: version})
		s := server(t, theirs, &session.Config{Version: version})
		time.Sleep(time.Minute)
		a, b := openPair(t, s, c)
		if _, err := a.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(b, make([]byte, 5)); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Err", c.Err(), nil)

		f.fail(func(f *faulty) { f.read = forEver(f) })
		elapsed := testutil.Clock()
		<-c.Done()
		testutil.WantErr(t, "Err", c.Err(), io.ErrNoProgress)
		if d := elapsed(); d > 30*time.Millisecond {
			t.Errorf("the session ended after %v of Reads that return nothing at once", d)
		}
	})
}
