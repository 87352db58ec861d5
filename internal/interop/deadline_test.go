package interop

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// soon returns a deadline that has not passed when its call begins, and that is short enough to wait for.
func soon() time.Time { return time.Now().Add(50 * time.Millisecond) }

// wantTimeout checks the error of a call that its deadline has ended.
func wantTimeout(t *testing.T, who string, err error) {
	t.Helper()
	if !timedOut(err) {
		t.Errorf("%s: %v, want a time-out", who, err)
	}
	if who == "ours" && !standIn && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ours: %v is not os.ErrDeadlineExceeded", err)
	}
}

// A read deadline ends the Read and not the stream.
func TestReadDeadlineEndsTheReadAlone(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			ours, theirs := connect(t, opener, acceptor)
			for _, c := range []struct {
				reader string
				r, w   muxStream
			}{{"ours", ours, theirs}, {"theirs", theirs, ours}} {
				if err := c.r.SetReadDeadline(soon()); err != nil {
					t.Fatal(err)
				}
				n, err := c.r.Read(make([]byte, 10))
				if n != 0 {
					t.Errorf("%s: read %d bytes", c.reader, n)
				}
				wantTimeout(t, c.reader, err)

				// The deadline is removed, and set again while the Read is blocked.
				if err := c.r.SetReadDeadline(time.Time{}); err != nil {
					t.Fatal(err)
				}
				blocked := make(chan error, 1)
				go func() {
					_, err := c.r.Read(make([]byte, 10))
					blocked <- err
				}()
				time.Sleep(10 * time.Millisecond)
				if err := c.r.SetReadDeadline(time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
				wantTimeout(t, c.reader, <-blocked)

				if err := c.r.SetReadDeadline(time.Time{}); err != nil {
					t.Fatal(err)
				}
				mustWrite(t, "the other side", c.w, []byte("late"))
				got := make([]byte, 4)
				if _, err := io.ReadFull(c.r, got); err != nil || string(got) != "late" {
					t.Errorf("%s: read %q, %v", c.reader, got, err)
				}
			}
			mustClose(t, "ours", ours)
			mustClose(t, "theirs", theirs)
			wantNoStreams(t, l)
		})
	})
}

// stalls is a setting in which a stream that nobody reads soon blocks its writer: by the window in version 2, by
// the transport in version 1.
var stalls = setting{
	name:         "small buffers",
	ours:         ourConfig{MaxReceiveBuffer: 512 << 10, MaxStreamWindow: 256 << 10},
	theirs:       func(c *theirSettings) { c.MaxReceiveBuffer, c.MaxStreamBuffer = 512<<10, 64<<10 },
	smallBuffers: true,
}

// Exactly the bytes arrive that our Write has counted at its deadline, and the stream goes on from there.
func TestOurWriteDeadlineLosesAndRepeatsNothing(t *testing.T) {
	skipStandIn(t, "may send bytes that a timed-out Write did not count")
	matrix(t, []setting{stalls}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			want := payload{seed: newSeed(t), size: 4 << 20}.bytes()
			ours, theirs := connect(t, opener, acceptor)

			left := bytes.Clone(want)
			for range 2 { // the second Write finds the stream blocked
				if err := ours.SetWriteDeadline(soon()); err != nil {
					t.Fatal(err)
				}
				n, err := ours.Write(left)
				wantTimeout(t, "ours", err)
				if n == len(left) {
					t.Fatalf("write of %d bytes that nobody reads = %d, %v", len(left), n, err)
				}
				clear(left[:n]) // sent or not, the buffer belongs to the caller
				left = bytes.Clone(left[n:])
			}
			if err := ours.SetWriteDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			rest := make(chan struct{})
			go func() {
				defer close(rest)
				mustWrite(t, "ours", ours, left)
				mustCloseWrite(t, "ours", ours)
			}()
			readAll(t, "theirs", theirs, want)
			<-rest
			mustClose(t, "theirs", theirs)
			readAll(t, "ours", ours, nil)
			mustClose(t, "ours", ours)
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// At its deadline their Write has sent more than it counts, but a prefix of its buffer. The session goes on.
func TestTheirWriteDeadlineEndsTheWriteAlone(t *testing.T) {
	matrix(t, []setting{stalls}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			want := payload{seed: newSeed(t), size: 4 << 20}.bytes()
			ours, theirs := connect(t, opener, acceptor)
			if err := theirs.SetWriteDeadline(soon()); err != nil {
				t.Fatal(err)
			}
			n, err := theirs.Write(want)
			wantTimeout(t, "theirs", err)

			closed := make(chan struct{})
			go func() { // Close waits until the data is sent
				defer close(closed)
				mustClose(t, "theirs", theirs)
			}()
			got, err := io.ReadAll(ours)
			if err != nil {
				t.Errorf("ours: read: %v", err)
			}
			if len(got) < n || !bytes.HasPrefix(want, got) {
				t.Errorf("read %d bytes after a write of %d, a prefix of what was written: %t", len(got), n, bytes.HasPrefix(want, got))
			}
			<-closed
			mustClose(t, "ours", ours)
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}
