package testutil

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/smuxkit/smuxkit/wire"
)

// defaultTimeout is how long a Peer waits, far above what any answer takes on a busy machine.
const defaultTimeout = time.Minute

// Peer is one end of a connection that does only what the test tells it: it sends
// the frames it is given, and reads when it is asked to, so that a Peer nobody asks
// is a peer that does not read. It keeps no rules of the protocol, but notices when
// the frames that it reads are not well-formed.
//
// It needs no deadlines of its connection. In a bubble its timeouts are virtual.
// Sending and reading may be done by two goroutines, each by one at a time.
// Methods that take a testing.TB end the test if something is not as it should be,
// and so belong into the test's own goroutine.
type Peer struct {
	// Conn is the connection, for bytes that are no frames. It is closed when the
	// test ends.
	Conn io.ReadWriteCloser
	// Timeout is how long to wait for each frame, or for each Send to be taken. It is
	// a minute unless the test sets it.
	Timeout time.Duration

	ignored []wire.Command
	pending chan received // the read that goes on, if one does
	calls   sync.WaitGroup
}

type received struct {
	frame Frame
	err   error
}

// NewPeer returns a Peer on conn, which is the Peer's from now on.
func NewPeer(t testing.TB, conn io.ReadWriteCloser) *Peer {
	p := &Peer{Conn: conn, Timeout: defaultTimeout}
	t.Cleanup(func() {
		_ = p.Close() // the test may have done so
		p.calls.Wait()
	})
	return p
}

// Close closes the connection.
func (p *Peer) Close() error { return p.Conn.Close() }

// Ignore makes all reading pass over frames with these commands: NOP and UPD, for
// example, where the test is not about them. Each call replaces the one before.
func (p *Peer) Ignore(commands ...wire.Command) { p.ignored = commands }

// Send sends frames in one Write, and waits until the connection took it.
func (p *Peer) Send(t testing.TB, frames ...Frame) {
	t.Helper()
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	p.SendBytes(t, b)
}

// SendBytes sends b in one Write, and waits until the connection took it.
func (p *Peer) SendBytes(t testing.TB, b []byte) {
	t.Helper()
	done := make(chan error, 1)
	p.calls.Go(func() {
		_, err := p.Conn.Write(b)
		done <- err
	})
	timeout := time.NewTimer(p.Timeout)
	defer timeout.Stop()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("peer: sending %d bytes: %v", len(b), err)
		}
	case <-timeout.C:
		t.Fatalf("peer: %d bytes were not taken in %v", len(b), p.Timeout)
	}
}

// TryNext reads the next frame that is not ignored. The error is
// os.ErrDeadlineExceeded if it has not come within the time given (it is not lost:
// the next call gets it), io.EOF if the connection ended between frames,
// io.ErrUnexpectedEOF inside one, a *wire.HeaderError, or the connection's.
func (p *Peer) TryNext(within time.Duration) (Frame, error) {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		if p.pending == nil {
			pending := make(chan received, 1)
			p.calls.Go(func() { pending <- p.read() })
			p.pending = pending
		}
		select {
		case r := <-p.pending:
			p.pending = nil
			if r.err == nil && slices.Contains(p.ignored, r.frame.Command) {
				continue
			}
			return r.frame, r.err
		case <-timeout.C:
			return Frame{}, os.ErrDeadlineExceeded
		}
	}
}

// read reads one frame.
func (p *Peer) read() received {
	head := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(p.Conn, head); err != nil {
		return received{err: err}
	}
	h, err := wire.ParseHeader(head)
	f := Frame{Header: h}
	if err != nil {
		return received{f, err}
	}
	if h.Length > 0 {
		f.Data = make([]byte, h.Length)
		if _, err := io.ReadFull(p.Conn, f.Data); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return received{f, err}
		}
	}
	return received{frame: f}
}

// Next returns the next frame that is not ignored.
func (p *Peer) Next(t testing.TB) Frame {
	t.Helper()
	f, err := p.TryNext(p.Timeout)
	if err != nil {
		t.Fatalf("peer: no frame: %v", p.describe(err))
	}
	return f
}

// ExpectClosed reads what Close of an open stream sends: fin, twice.
func (p *Peer) ExpectClosed(t testing.TB, fin Frame) {
	t.Helper()
	p.ExpectFrame(t, fin)
	p.ExpectFrame(t, fin)
}

// ExpectFrame reads the next frame and wants it to be this one.
func (p *Peer) ExpectFrame(t testing.TB, want Frame) {
	t.Helper()
	got, err := p.TryNext(p.Timeout)
	if err != nil {
		t.Fatalf("peer: want frame %v, got none: %v", want, p.describe(err))
	}
	if len(want.Data) == 0 {
		want.Data = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("peer: want frame %v, got %v (-want +got)\n%s", want, got, diff)
	}
}

// ExpectData reads frames until they have brought these bytes to stream id, cut
// into PSH frames in whatever way. Any other frame that is not ignored, and bytes
// beyond these, are wrong.
func (p *Peer) ExpectData(t testing.TB, id uint32, want []byte) {
	t.Helper()
	off := 0
	for off < len(want) {
		f, err := p.TryNext(p.Timeout)
		if err != nil {
			t.Fatalf("peer: want %d bytes of stream %d, got %d: %v", len(want), id, off, p.describe(err))
		}
		if f.Command != wire.PSH || f.StreamID != id {
			t.Fatalf("peer: want %d bytes of stream %d, got %d and then %v", len(want), id, off, f)
		}
		if len(f.Data) > len(want)-off {
			t.Fatalf("peer: want %d bytes of stream %d, got %d", len(want), id, off+len(f.Data))
		}
		if diff := cmp.Diff(want[off:off+len(f.Data)], f.Data, equateEmpty); diff != "" {
			t.Fatalf("peer: stream %d from byte %d on (-want +got)\n%s", id, off, diff)
		}
		off += len(f.Data)
	}
}

// equateEmpty lets the Data of an empty PSH be no Data.
var equateEmpty = cmp.FilterValues(
	func(a, b []byte) bool { return len(a)+len(b) == 0 },
	cmp.Comparer(func(a, b []byte) bool { return true }),
)

// ExpectNothing wants no frame to come, and the connection not to end, for d.
func (p *Peer) ExpectNothing(t testing.TB, d time.Duration) {
	t.Helper()
	f, err := p.TryNext(d)
	switch {
	case err == nil:
		t.Fatalf("peer: want nothing for %v, got %v", d, f)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatalf("peer: want nothing for %v, but the connection ended: %v", d, err)
	}
}

// ExpectEOF wants the connection to end here, between two frames.
func (p *Peer) ExpectEOF(t testing.TB) {
	t.Helper()
	f, err := p.TryNext(p.Timeout)
	switch {
	case err == nil:
		t.Fatalf("peer: want the end of the connection, got %v", f)
	case err != io.EOF:
		t.Fatalf("peer: want the end of the connection, got: %v", p.describe(err))
	}
}

// ExpectEnd reads whatever still comes until the connection ends in whatever way:
// io.EOF, in the middle of a frame, or reset. It returns what came.
func (p *Peer) ExpectEnd(t testing.TB) []Frame {
	t.Helper()
	var frames []Frame
	for {
		f, err := p.TryNext(p.Timeout)
		switch {
		case err == nil:
			frames = append(frames, f)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, new(*wire.HeaderError)):
			t.Fatalf("peer: want the end of the connection, after %d frames got: %v", len(frames), p.describe(err))
		default:
			return frames
		}
	}
}

// describe says how long was waited, where that is the trouble.
func (p *Peer) describe(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came for %v", p.Timeout)
	}
	return err
}
