package session_test

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Helpers of the tests that look at what a session sends, or that stop it from sending.

// narrowSize is about how much a narrow transport holds in each place where it can.
const narrowSize = 16 << 10

// narrow returns a pair of transports that are soon full when nobody reads.
func narrow(t testing.TB, tr testutil.Transport) (client, server io.ReadWriteCloser) {
	t.Helper()
	link := simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize}
	switch tr.Name {
	case "sim":
		return testutil.SimPair(t, link)
	case "bare":
		a, b := testutil.SimPair(t, link)
		return simnet.Bare(a), simnet.Bare(b)
	}
	client, server = tr.Pair(t)
	for _, c := range []io.ReadWriteCloser{client, server} {
		// Not the read buffers: a TCP with small ones takes its time to go on.
		if s, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
			if err := s.SetWriteBuffer(narrowSize); err != nil {
				t.Fatal(err)
			}
		}
	}
	return client, server
}

// scripted starts a client session over a narrow transport to a peer that reads only
// when it is asked to.
func scripted(t testing.TB, tr testutil.Transport, cfg *session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	ca, cb := narrow(t, tr)
	return scriptedOver(t, ca, cb, cfg)
}

func scriptedOver(t testing.TB, ca, cb io.ReadWriteCloser, cfg *session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	peer := testutil.NewPeer(t, cb)
	peer.Ignore(wire.NOP)
	return client(t, ca, cfg), peer
}

// openWide opens a stream to a scripted peer whose window, in version 2, is not what
// stops it.
func openWide(t testing.TB, c *session.Session, peer *testutil.Peer, version int) *stream.Stream {
	t.Helper()
	st := mustOpen(t, c)
	peer.ExpectFrame(t, testutil.SYN(wire.Version(version), st.ID()))
	if version == 2 {
		// When the NOP has been seen, so has the update.
		seen := c.Stats().FramesReceived
		peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, 1<<30), testutil.NOP(wire.V2))
		for c.Stats().FramesReceived < seen+2 {
			runtime.Gosched()
		}
	}
	return st
}

// sent is what a session sent, as its peer saw it.
type sent struct {
	frames []testutil.Frame
	data   map[uint32][]byte
}

// readAll reads all that still comes, until the transport ends, which must be between
// two frames, and then closes it.
func readAll(t testing.TB, peer *testutil.Peer) sent {
	t.Helper()
	all := sent{data: map[uint32][]byte{}}
	for {
		f, err := peer.TryNext(peer.Timeout)
		if err == io.EOF {
			peer.Close()
			return all
		}
		if err != nil {
			t.Errorf("after %d frames: %v", len(all.frames), err)
			return all
		}
		all.frames = append(all.frames, f)
		if f.Command == wire.PSH {
			all.data[f.StreamID] = append(all.data[f.StreamID], f.Data...)
		}
	}
}

// expectPattern reads frames until they have brought bytes from to to of a Pattern to
// stream id, and nothing else.
func expectPattern(t testing.TB, peer *testutil.Peer, id uint32, pattern testutil.Pattern, from, to int) {
	t.Helper()
	for from < to {
		f := peer.Next(t)
		if f.Command != wire.PSH || f.StreamID != id || from+len(f.Data) > to {
			t.Fatalf("%v, want data of stream %d, at most %d bytes", f, id, to-from)
		}
		if err := pattern.Check(f.Data, int64(from)); err != nil {
			t.Fatal(err)
		}
		from += len(f.Data)
	}
}

// commands returns the commands of stream id's frames, PSH frames in a row as one.
func (s sent) commands(id uint32) (list []wire.Command) {
	for _, f := range s.frames {
		if f.StreamID != id || f.Command == wire.PSH && len(list) > 0 && list[len(list)-1] == wire.PSH {
			continue
		}
		list = append(list, f.Command)
	}
	return list
}

// source writes a Pattern, each time from the same buffer, which it overwrites as soon
// as Write has returned.
type source struct {
	pattern testutil.Pattern
	off     int64
	buf     []byte
	// patience is how long fill waits for a transport to take something. A transport that has room
	// takes far less; but a TCP on the loopback interface may wait for an acknowledgement.
	patience time.Duration
}

func newSource(pattern testutil.Pattern, size int) *source {
	return &source{pattern: pattern, buf: make([]byte, size), patience: 5 * time.Millisecond}
}

// write writes the next buffer full.
func (s *source) write(w io.Writer) (int, error) {
	s.pattern.Fill(s.buf, s.off)
	n, err := w.Write(s.buf)
	clear(s.buf)
	s.off += int64(n)
	return n, err
}

// fill writes until nothing at all is taken for a while.
func (s *source) fill(t testing.TB, st *stream.Stream) {
	t.Helper()
	timed := writerFunc(func(p []byte) (int, error) {
		if err := st.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
			t.Fatal(err)
		}
		return st.Write(p)
	})
	for {
		n, err := s.write(timed)
		if n == 0 && s.off > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			break // a busy machine may let the first deadlines pass before anything was taken
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := st.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// settle waits in a bubble until everybody waits; elsewhere it cannot be known when
// that is, and the test must hold either way.
func settle(tr testutil.Transport) {
	if tr.Bubble {
		synctest.Wait()
	}
}

// off is the keep-alive policy of tests that let much time pass.
var off = keepalive.Off{}

// transport returns the transport of that name.
func transport(name string) testutil.Transport {
	for _, tr := range testutil.Transports() {
		if tr.Name == name {
			return tr
		}
	}
	panic("no transport " + name)
}

// mustOpen opens a stream.
func mustOpen(t testing.TB, s *session.Session) *stream.Stream {
	t.Helper()
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// goroutines returns how many goroutines are in a function whose name contains name.
func goroutines(name string) (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, name) {
			n++
		}
	}
	return n
}
