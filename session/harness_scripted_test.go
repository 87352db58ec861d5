package session_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A scripted session has a testutil.Peer at its other end, which does only what the test tells it to do.

// A role is the end of a session under test.
type role struct {
	client    bool
	version   wire.Version
	transport testutil.Transport
}

func (r role) String() string {
	end := "server"
	if r.client {
		end = "client"
	}
	return fmt.Sprintf("%s/%s/%v", r.transport.Name, end, r.version)
}

// eachRole runs test for a client and a server, in both versions, over the named transports, or over the simulated
// one if none is named. The test runs in a bubble where the transport allows it.
func eachRole(t *testing.T, test func(t *testing.T, r role), transports ...string) {
	t.Helper()
	if len(transports) == 0 {
		transports = []string{"sim"}
	}
	for _, tr := range testutil.Transports() {
		if !slices.Contains(transports, tr.Name) {
			continue
		}
		for _, client := range []bool{false, true} {
			for v := wire.V1; v <= wire.V2; v++ {
				r := role{client, v, tr}
				t.Run(r.String(), func(t *testing.T) {
					if tr.Bubble {
						bubble(t, func(t *testing.T) { test(t, r) })
						return
					}
					testutil.LeakCheck(t)
					test(t, r)
				})
			}
		}
	}
}

// start starts the session and its peer. The peer ignores NOP frames. Keep-alive is off unless cfg sets it.
func (r role) start(t *testing.T, cfg session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	ours, theirs := r.transport.Pair(t)
	return r.startOn(t, ours, theirs, cfg)
}

// startLink is start over a simulated link that is the same in both directions.
func (r role) startLink(t *testing.T, link simnet.Link, cfg session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	ours, theirs := testutil.SimPair(t, link)
	return r.startOn(t, ours, theirs, cfg)
}

// startOn is start over these two ends of a transport.
func (r role) startOn(t *testing.T, ours, theirs io.ReadWriteCloser, cfg session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	cfg.Version = int(r.version)
	if cfg.KeepAlive == nil {
		cfg.KeepAlive = keepalive.Off{}
	}
	p := testutil.NewPeer(t, theirs)
	p.Ignore(wire.NOP)
	if r.transport.Name == "bare" {
		p.EchoSignals(r.client) // those of every session over this transport
	}
	if r.client {
		return client(t, ours, &cfg), p
	}
	return server(t, ours, &cfg), p
}

// hear reads the first NOP of a client. A peer that closes a socket with unread data would reset it, and over a
// pipe the client's Write waits for this Read.
func (r role) hear(t *testing.T, p *testutil.Peer) {
	t.Helper()
	if r.client {
		p.Ignore()
		p.ExpectFrame(t, "a client begins with a NOP", r.nop())
		p.Ignore(wire.NOP)
	}
}

// theirs returns the peer's stream id number n, counted from 0.
func (r role) theirs(n int) uint32 {
	if r.client {
		return uint32(2*n + 2)
	}
	return uint32(2*n + 1)
}

// ours returns the stream id number n of the session under test, counted from 0.
func (r role) ours(n int) uint32 {
	return role{client: !r.client}.theirs(n)
}

func (r role) syn(id uint32) testutil.Frame { return testutil.SYN(r.version, id) }
func (r role) fin(id uint32) testutil.Frame { return testutil.FIN(r.version, id) }
func (r role) nop() testutil.Frame          { return testutil.NOP(r.version) }
func (r role) psh(id uint32, data []byte) testutil.Frame {
	return testutil.PSH(r.version, id, data)
}

// pshs cuts data into frames of these sizes. The rest goes into frames of DefaultMaxFrameSize bytes.
func (r role) pshs(id uint32, data []byte, sizes ...int) (frames []testutil.Frame) {
	for _, n := range sizes {
		frames = append(frames, r.psh(id, data[:n]))
		data = data[n:]
	}
	for len(data) > 0 {
		n := min(len(data), session.DefaultMaxFrameSize)
		frames = append(frames, r.psh(id, data[:n]))
		data = data[n:]
	}
	return frames
}

// appendAll returns the bytes of the frames.
func appendAll(frames []testutil.Frame) (b []byte) {
	for _, f := range frames {
		b = f.Append(b)
	}
	return b
}

// wantAlive checks that the session goes on: the peer opens stream id, and data passes in both directions.
func wantAlive(t testing.TB, r role, s *session.Session, p *testutil.Peer, id uint32) {
	t.Helper()
	p.Send(t, r.syn(id), r.psh(id, []byte("ping")))
	st := accept(t, s)
	if st.ID() != id {
		t.Fatalf("the session goes on: accepted stream %d, want %d", st.ID(), id)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(st, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("the session goes on: read %q, %v", buf, err)
	}
	if _, err := st.Write([]byte("pong")); err != nil {
		t.Fatalf("the session goes on: %v", err)
	}
	p.ExpectData(t, "the session goes on", id, []byte("pong"))
	if err := s.Err(); err != nil {
		t.Fatalf("the session goes on: Err = %v", err)
	}
}

// narrowSize is about the size of each buffer of a narrow transport.
const narrowSize = 16 << 10

// narrow returns a pair of transports with small buffers, which are soon full if nobody reads.
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
		// Read buffers stay as they are: with small ones TCP takes long to resume.
		if s, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
			if err := s.SetWriteBuffer(narrowSize); err != nil {
				t.Fatal(err)
			}
		}
	}
	return client, server
}

// scripted starts a client session over a narrow transport to a scripted peer that ignores NOP frames and answers
// signals.
func scripted(t testing.TB, tr testutil.Transport, cfg *session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	ca, cb := narrow(t, tr)
	return scriptedOver(t, ca, cb, cfg)
}

// scriptedOver is scripted over these two ends of a transport.
func scriptedOver(t testing.TB, ca, cb io.ReadWriteCloser, cfg *session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	peer := testutil.NewPeer(t, cb)
	peer.Ignore(wire.NOP)
	peer.EchoSignals(true)
	return client(t, ca, cfg), peer
}

// unproven returns what Close returns toward a peer that does not answer, if the transport has taken all data.
func unproven(tr testutil.Transport) error {
	if tr.Name == "bare" {
		return session.ErrNotFlushed
	}
	return nil
}

// openWide opens a stream to a scripted peer. In version 2 the peer opens its window so far that it stops no Write.
func openWide(t testing.TB, c *session.Session, peer *testutil.Peer, version int) *stream.Stream {
	t.Helper()
	st := open(t, c)
	peer.ExpectFrame(t, "OpenStream sends SYN", testutil.SYN(wire.Version(version), st.ID()))
	if version == 2 {
		// A session that has counted the NOP has handled the update.
		seen := c.Stats().FramesReceived
		peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, 1<<30), testutil.NOP(wire.V2))
		for c.Stats().FramesReceived < seen+2 {
			runtime.Gosched()
		}
	}
	return st
}

// sentFrames holds what a peer received from a session.
type sentFrames struct {
	frames []testutil.Frame
	data   map[uint32][]byte
}

// commands returns the commands of stream id's frames, PSH frames in a row as one.
func (s sentFrames) commands(id uint32) (list []wire.Command) {
	for _, f := range s.frames {
		if f.StreamID != id || f.Command == wire.PSH && len(list) > 0 && list[len(list)-1] == wire.PSH {
			continue
		}
		list = append(list, f.Command)
	}
	return list
}

// readFrames reads until the transport ends, which must be between two frames, and then closes the peer.
func readFrames(t testing.TB, peer *testutil.Peer) sentFrames {
	t.Helper()
	all := sentFrames{data: map[uint32][]byte{}}
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

// A source writes a Pattern. It uses one buffer, which it overwrites as soon as Write has returned.
type source struct {
	pattern testutil.Pattern
	off     int64
	buf     []byte
	// patience is how long fill waits until a Write takes a byte. A transport with room needs far less, but TCP on
	// the loopback interface may wait for an acknowledgement.
	patience time.Duration
}

func newSource(pattern testutil.Pattern, size int) *source {
	return &source{pattern: pattern, buf: make([]byte, size), patience: 5 * time.Millisecond}
}

// write writes the next len(buf) bytes of the pattern.
func (s *source) write(w io.Writer) (int, error) {
	s.pattern.Fill(s.buf, s.off)
	n, err := w.Write(s.buf)
	clear(s.buf)
	s.off += int64(n)
	return n, err
}

// fill writes until a Write takes nothing within patience.
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
			break // not the first deadlines: on a busy machine they may pass before a byte is taken
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
