package testutil

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/smuxkit/smuxkit/wire"
)

// defaultTimeout is far longer than any answer takes on a busy machine.
const defaultTimeout = time.Minute

// Peer is one end of a connection that does only what the test tells it to do: it sends
// the frames that it is given, and reads only when it is asked to. It follows no rules
// of the protocol, but checks that the frames that it reads are well-formed.
//
// Next and the Expect methods take a claim: a short sentence that is true if the
// expectation holds. A failure prints it.
//
// The connection needs no deadlines. In a bubble timeouts are virtual. One goroutine may
// send while another reads. Methods that take a testing.TB end the test when they fail:
// call them in the test's own goroutine.
type Peer struct {
	// Conn is the connection, for bytes that are not frames. It is closed when the
	// test ends.
	Conn io.ReadWriteCloser
	// Timeout is how long to wait for each frame, and for the connection to take each
	// Send. The default is a minute.
	Timeout time.Duration

	ignored []wire.Command
	echoes  func(id uint32) bool // says which signals to echo; nil: none
	pending chan received        // of the read that goes on, or nil
	calls   sync.WaitGroup
}

type received struct {
	frame Frame
	err   error
}

// NewPeer returns a Peer on conn, which it owns from now on.
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

// Ignore makes the Peer skip frames with these commands, for example NOP and UPD in a
// test of something else. Each call replaces the one before.
func (p *Peer) Ignore(commands ...wire.Command) { p.ignored = commands }

// EchoSignals makes the Peer answer the signals of a session (docs/protocol.md, "Signals"),
// and skip them. client says that the session is a client.
func (p *Peer) EchoSignals(client bool) {
	p.echoes = func(id uint32) bool {
		const reserved = 16 // ids of both sides
		return id > math.MaxUint32-reserved && id%2 == 1 == client
	}
}

// echo reports whether f is a signal that EchoSignals wants to be answered, and answers it.
func (p *Peer) echo(f Frame) bool {
	if f.Command != wire.FIN || p.echoes == nil || !p.echoes(f.StreamID) {
		return false
	}
	p.calls.Go(func() { _, _ = p.Conn.Write(f.Append(nil)) }) // the connection may have ended
	return true
}

// Send sends frames in one Write, and waits until the connection has taken them.
func (p *Peer) Send(t testing.TB, frames ...Frame) {
	t.Helper()
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	p.SendBytes(t, b)
}

// SendBytes sends b in one Write, and waits until the connection has taken it.
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

// TryNext reads the next frame that is not ignored. The error is os.ErrDeadlineExceeded
// if no frame came in time (the next call gets it), io.EOF if the connection ended
// between frames, io.ErrUnexpectedEOF inside one, a *wire.HeaderError, or the connection's.
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
			if r.err == nil && (slices.Contains(p.ignored, r.frame.Command) || p.echo(r.frame)) {
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
func (p *Peer) Next(t testing.TB, claim string) Frame {
	t.Helper()
	f, err := p.TryNext(p.Timeout)
	if err != nil {
		t.Fatalf("peer: %s: no frame: %v", claim, p.describe(err))
	}
	return f
}

// ExpectClosed reads what Close of an open stream sends: fin, twice.
func (p *Peer) ExpectClosed(t testing.TB, claim string, fin Frame) {
	t.Helper()
	p.ExpectFrame(t, claim, fin)
	p.ExpectFrame(t, claim, fin)
}

// ExpectRefused reads what the refusal of a stream sends, before fin, twice: two empty PSHs.
func (p *Peer) ExpectRefused(t testing.TB, claim string, fin Frame) {
	t.Helper()
	for range 2 {
		p.ExpectFrame(t, claim, PSH(fin.Version, fin.StreamID, nil))
	}
	p.ExpectClosed(t, claim, fin)
}

// ExpectFrame reads the next frame, which must be want.
func (p *Peer) ExpectFrame(t testing.TB, claim string, want Frame) {
	t.Helper()
	got, err := p.TryNext(p.Timeout)
	if err != nil {
		t.Fatalf("peer: %s: want frame %v, got none: %v", claim, want, p.describe(err))
	}
	if len(want.Data) == 0 {
		want.Data = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("peer: %s: want frame %v, got %v (-want +got)\n%s", claim, want, got, diff)
	}
}

// ExpectData reads PSH frames of stream id, of any sizes, until they have brought the
// bytes of want. It fails at any other frame that is not ignored, and at more bytes.
func (p *Peer) ExpectData(t testing.TB, claim string, id uint32, want []byte) {
	t.Helper()
	off := 0
	for off < len(want) {
		f, err := p.TryNext(p.Timeout)
		if err != nil {
			t.Fatalf("peer: %s: want %d bytes of stream %d, got %d: %v", claim, len(want), id, off, p.describe(err))
		}
		if f.Command != wire.PSH || f.StreamID != id {
			t.Fatalf("peer: %s: want %d bytes of stream %d, got %d and then %v", claim, len(want), id, off, f)
		}
		if len(f.Data) > len(want)-off {
			t.Fatalf("peer: %s: want %d bytes of stream %d, got %d", claim, len(want), id, off+len(f.Data))
		}
		if diff := cmp.Diff(want[off:off+len(f.Data)], f.Data, equateEmpty); diff != "" {
			t.Fatalf("peer: %s: stream %d from byte %d on (-want +got)\n%s", claim, id, off, diff)
		}
		off += len(f.Data)
	}
}

// equateEmpty treats the nil Data of an empty PSH as empty.
var equateEmpty = cmp.FilterValues(
	func(a, b []byte) bool { return len(a)+len(b) == 0 },
	cmp.Comparer(func(a, b []byte) bool { return true }),
)

// ExpectNothing reads for d, in which no frame may come and the connection may not end.
func (p *Peer) ExpectNothing(t testing.TB, claim string, d time.Duration) {
	t.Helper()
	f, err := p.TryNext(d)
	switch {
	case err == nil:
		t.Fatalf("peer: %s: want nothing for %v, got %v", claim, d, f)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatalf("peer: %s: want nothing for %v, but the connection ended: %v", claim, d, err)
	}
}

// ExpectEOF reads the end of the connection, which must come here, between two frames.
func (p *Peer) ExpectEOF(t testing.TB, claim string) {
	t.Helper()
	f, err := p.TryNext(p.Timeout)
	switch {
	case err == nil:
		t.Fatalf("peer: %s: want the end of the connection, got %v", claim, f)
	case err != io.EOF:
		t.Fatalf("peer: %s: want the end of the connection, got: %v", claim, p.describe(err))
	}
}

// ExpectEnd reads until the connection ends: with io.EOF, inside a frame, or with a reset.
// It returns the frames that came.
func (p *Peer) ExpectEnd(t testing.TB, claim string) []Frame {
	t.Helper()
	var frames []Frame
	for {
		f, err := p.TryNext(p.Timeout)
		switch {
		case err == nil:
			frames = append(frames, f)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, new(*wire.HeaderError)):
			t.Fatalf("peer: %s: want the end of the connection, after %d frames got: %v", claim, len(frames), p.describe(err))
		default:
			return frames
		}
	}
}

// describe replaces a time-out by the time that was waited.
func (p *Peer) describe(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came for %v", p.Timeout)
	}
	return err
}
