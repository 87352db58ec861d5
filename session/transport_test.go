package session_test

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A session whose transport is closed by others, or does not close.

// soon returns what arrives on done. It fails after a time far longer than needed.
func soon[T any](t testing.TB, what string, done <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-done:
	case <-time.After(5 * time.Second):
		t.Errorf("%s: nothing for 5 s", what)
	}
	return v
}

// Closing the socket of a session that does not read, because its budget is used up, returns at once and ends the
// session.
func TestSocketCloseEndsASessionThatDoesNotRead(t *testing.T) {
	const budget = 64 << 10
	sockets := func(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "unix" }
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, p := scriptedOver(t, ca, cb, &session.Config{Version: version, MaxReceiveBuffer: budget, KeepAlive: off})
		p.Ignore(wire.NOP, wire.UPD)
		list := []*stream.Stream{openWide(t, c, p, version), openWide(t, c, p, version), openWide(t, c, p, version)}
		for range 2 {
			for _, st := range list {
				p.Send(t, testutil.PSH(wire.Version(version), st.ID(), make([]byte, 20_000)))
			}
		}
		for c.Stats().Unread < budget {
			runtime.Gosched()
		}
		closed := testutil.BackgroundErr(ca.Close)
		testutil.WantErr(t, "closing the socket", soon(t, "closing the socket", closed).Err, nil)
		if !portable {
			soon(t, "the end of the session", c.Done())
			testutil.WantErr(t, "Err", c.Err(), net.ErrClosed)
		}
		// Data that had arrived can still be read.
		var unread int64
		for _, st := range list {
			n, err := io.Copy(io.Discard, st)
			unread += n
			testutil.WantErr(t, "reading", err, net.ErrClosed)
		}
		if unread < budget {
			t.Errorf("%d bytes were left to read", unread)
		}
		soon(t, "the end of the session", c.Done())
	})
}

// Closing the socket of a session that is flooded returns at once and ends the session.
func TestSocketCloseEndsASessionThatIsFlooded(t *testing.T) {
	sockets := func(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "unix" }
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, p := scriptedOver(t, ca, cb, &session.Config{Version: version})
		openWide(t, c, p, version)
		flood(t, tr, p, version)
		for c.Stats().FramesReceived < 100_000 {
			runtime.Gosched()
		}
		closed := testutil.BackgroundErr(ca.Close)
		testutil.WantErr(t, "closing the socket", soon(t, "closing the socket", closed).Err, nil)
		soon(t, "the end of the session", c.Done())
		testutil.WantErr(t, "Err", c.Err(), net.ErrClosed)
	})
}

// stuck is a transport whose Close blocks until the test releases it.
type stuck struct {
	io.ReadWriteCloser
	let chan struct{}
}

func (s stuck) Close() error {
	<-s.let
	return s.ReadWriteCloser.Close()
}

// A transport whose Close blocks delays the session's Close by CloseTimeout at most.
func TestTransportWhoseCloseBlocksDelaysClose(t *testing.T) {
	for _, c := range []struct {
		name string
		full bool // the transport takes nothing, either
		want error
		at   time.Duration
	}{
		{"idle", false, os.ErrDeadlineExceeded, 3 * time.Second},
		{"full", true, session.ErrNotFlushed, 3*time.Second + 100*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				ours, theirs := testutil.SimPair(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize})
				conn := stuck{simnet.Bare(ours), make(chan struct{})}
				release := sync.OnceFunc(func() { close(conn.let) })
				defer release()
				s, err := session.Client(conn, &session.Config{Version: version, CloseTimeout: 3 * time.Second, KeepAlive: off})
				if err != nil {
					t.Fatal(err)
				}
				p := testutil.NewPeer(t, theirs)
				p.Ignore(wire.NOP)
				p.EchoSignals(true)
				st := openWide(t, s, p, version)
				if c.full {
					newSource(1, 1000).fill(t, st)
				}
				closed := testutil.BackgroundErr(s.Close)
				if !c.full {
					p.ExpectNothing(t, "the peer answers signals, and gets nothing else", time.Second)
				}
				r := <-closed
				testutil.WantErr(t, "Close", r.Err, c.want)
				testutil.WantTime(t, "Close returned", r.After, c.at)
				<-s.Done()
				release()
			})
		})
	}
}
