package interop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Our Close gives back the space of unread data. Three times our receive buffer passes through streams that are
// closed with most of their data unread: the session would stop if any of it stayed charged.
func TestOurCloseWithUnreadDataGivesItsSpaceBack(t *testing.T) {
	const (
		buffer = 1 << 20
		size   = 60_000
	)
	small := setting{name: "our small buffer", ours: ourConfig{MaxReceiveBuffer: buffer, MaxStreamWindow: 256 << 10}}
	matrix(t, []setting{defaults, small}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			data := make([]byte, size)
			for passed := 0; passed < 3*buffer; {
				ours, theirs := connect(t, opener, acceptor)
				// Our side decides how much a stream may send that nobody reads.
				if err := theirs.SetWriteDeadline(soon()); err != nil {
					t.Fatal(err)
				}
				n, err := theirs.Write(data)
				if err != nil && !timedOut(err) {
					t.Fatalf("theirs: write of %d bytes = %d, %v", len(data), n, err)
				}
				passed += n
				if _, err := io.ReadFull(ours, make([]byte, min(n, 1000))); err != nil {
					t.Errorf("ours: read: %v", err)
				}
				mustClose(t, "ours", ours)
				readAll(t, "theirs", theirs, nil)
				mustClose(t, "theirs", theirs)
			}
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// Their Close with unread data leaves the session usable.
func TestTheirCloseWithUnreadDataLeavesTheSessionUsable(t *testing.T) {
	const (
		buffer  = 1 << 20
		size    = 60_000 // their first read lowers the window to 65,536 bytes
		streams = 3 * buffer / size
	)
	small := setting{name: "their small buffer", theirs: func(c *theirSettings) { c.MaxReceiveBuffer = buffer }}
	matrix(t, []setting{defaults, small}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			data := make([]byte, size)
			for range streams {
				ours, theirs := connect(t, opener, acceptor)
				mustWrite(t, "ours", ours, data)
				if _, err := io.ReadFull(theirs, make([]byte, 1000)); err != nil {
					t.Errorf("theirs: read: %v", err)
				}
				mustClose(t, "theirs", theirs)
				readAll(t, "ours", ours, nil)
				mustClose(t, "ours", ours)
			}
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// A writer whose peer is gone neither stops the session nor delays its Close. The protocol may let it know (we
// answer the original's data with FIN, which it ignores), or its deadline ends it (in version 2, when the window
// is used up).
func TestWriteToAClosedStreamHarmsNobodyElse(t *testing.T) {
	for _, c := range []struct {
		writer string
		chunk  int
	}{
		{"ours", 64 << 10}, // sent from the caller's buffer
		{"ours", 100},      // copied: Write has returned, and the data waits for the window
		{"theirs", 16 << 10},
	} {
		t.Run(fmt.Sprintf("%s in writes of %d bytes", c.writer, c.chunk), func(t *testing.T) {
			quick := setting{name: "defaults", ours: ourConfig{LingerTimeout: 500 * time.Millisecond}}
			matrix(t, []setting{quick}, func(t *testing.T, l *link) {
				openers(t, l, func(t *testing.T, opener, acceptor end) {
					ours, theirs := connect(t, opener, acceptor)
					w, r, reader := ours, theirs, "theirs"
					if c.writer == "theirs" {
						w, r, reader = theirs, ours, "ours"
					}
					var wg sync.WaitGroup
					wg.Go(func() {
						data := make([]byte, c.chunk)
						if err := w.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
							t.Error(err)
						}
						for range 4 << 20 / c.chunk {
							if _, err := w.Write(data); err != nil {
								t.Logf("write by %s: %v", c.writer, err)
								return
							}
						}
					})
					if _, err := io.ReadFull(r, make([]byte, 40_000)); err != nil {
						t.Errorf("%s: read: %v", reader, err)
					}
					mustClose(t, reader, r)
					echo(t, l)
					wg.Wait()
					// On a busy machine LingerTimeout may have passed, and our data was thrown away.
					if err := w.Close(); err != nil && !errors.Is(err, peerClosed) {
						t.Errorf("%s: close: %v", c.writer, err)
					}
					wantNoStreams(t, l)
					echo(t, l)
				})
			})
		})
	}
}

// Our Write fails when their side has closed both directions. The original says so by CloseWrite and then Close,
// which sends a second FIN.
func TestOurWriteFailsWhenTheirSideHasClosed(t *testing.T) {
	skipStandIn(t, "never learns")
	matrixOf(t, somePeers(withCloseWrite), []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			ours, theirs := connect(t, opener, acceptor)
			mustCloseWrite(t, "theirs", theirs)
			readAll(t, "ours", ours, nil)
			mustWrite(t, "ours", ours, []byte("nobody reads this"))
			mustClose(t, "theirs", theirs)

			if err := ours.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				_, err = ours.Write([]byte("nor this"))
			}
			if !errors.Is(err, peerClosed) {
				t.Errorf("write: %v, want %v", err, peerClosed)
			}
			// Close may return the same error, for bytes that Write had taken before.
			if err := ours.Close(); err != nil && !errors.Is(err, peerClosed) {
				t.Errorf("close: %v", err)
			}
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// The end of their session ends all our calls.
func TestTheirSessionEndReachesAllOurCalls(t *testing.T) {
	skipStandIn(t, "keeps it to itself")
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		ours, theirs := connect(t, l.our(), l.their())
		stuck, unread := connect(t, l.their(), l.our())

		var wg sync.WaitGroup
		wg.Go(func() {
			if s, err := l.ours.Accept(); err == nil {
				t.Error("accept: a stream that nobody opened")
				s.Close()
			}
		})
		wg.Go(func() {
			if n, err := ours.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("read = %d, %v; want an error other than io.EOF, for there was no FIN", n, err)
			}
		})
		wg.Go(func() {
			data := make([]byte, 1<<20) // more than all windows and buffers hold
			for {
				if _, err := stuck.Write(data); err != nil {
					return
				}
			}
		})
		time.Sleep(50 * time.Millisecond) // time for all three to wait
		if err := l.theirs.Close(); err != nil {
			t.Errorf("close of their session: %v", err)
		}
		wg.Wait()
		if s, err := l.ours.Open(); err == nil {
			t.Error("open: no error after the end")
			s.Close()
		}
		ours.Close()
		stuck.Close()
		// The original sends FIN for an accepted stream that is garbage.
		runtime.KeepAlive(theirs)
		runtime.KeepAlive(unread)
	})
}

// The end of our session ends their calls.
func TestOurSessionEndReachesTheirCalls(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		_, theirs := connect(t, l.our(), l.their())
		var wg sync.WaitGroup
		wg.Go(func() {
			if s, err := l.theirs.Accept(); err == nil {
				t.Error("accept: a stream that nobody opened")
				s.Close()
			}
		})
		wg.Go(func() {
			if n, err := theirs.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read = %d, %v", n, err)
			}
		})
		time.Sleep(50 * time.Millisecond) // time for both to wait
		if err := l.ours.Close(); err != nil {
			t.Errorf("close of our session: %v", err)
		}
		wg.Wait()
	})
}
