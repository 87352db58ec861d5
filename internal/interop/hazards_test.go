//go:build !self

package interop

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// What goes wrong toward the original with the defaults of both, and no test of something else shows: docs/protocol.md,
// "What can still go wrong".

// What we have written beyond the window is lost if they have half-closed and read nothing for LingerTimeout. Our Write
// fails, and their Read waits: it gets no end that looks like one.
func TestSlowReaderAfterTheirHalfCloseLosesData(t *testing.T) {
	const linger = 300 * time.Millisecond
	some := somePeers(withCloseWrite)
	matrixOf(t, some, []setting{{name: "LingerTimeout", ours: ourConfig{LingerTimeout: linger}}}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			data := payload{seed: newSeed(t), size: answerSize}.bytes()
			ours, theirs := connect(t, opener, acceptor)
			mustCloseWrite(t, "theirs", theirs)
			readAll(t, "ours", ours, nil)
			begin := time.Now()
			n, err := ours.Write(data)
			if l.version == 1 { // there is no window: all has been sent
				if n != len(data) || err != nil {
					t.Errorf("write = %d, %v", n, err)
				}
				if got, err := io.ReadFull(theirs, make([]byte, len(data))); err != nil {
					t.Errorf("theirs: read %d bytes, %v", got, err)
				}
				mustClose(t, "ours", ours) // not earlier: see unreadLost
				mustClose(t, "theirs", theirs)
				return
			}
			if !errors.Is(err, peerClosed) || time.Since(begin) < linger {
				t.Errorf("write = %d, %v after %v", n, err, time.Since(begin))
			}
			if err := theirs.SetReadDeadline(soon()); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(theirs)
			if len(got) > firstWindow || !timedOut(err) {
				t.Errorf("theirs: read %d bytes, %v", len(got), err)
			}
			_ = ours.Close()
			mustClose(t, "theirs", theirs)
			l.shows(t, slowReaderLoses)
		})
		echo(t, l)
	})
}

// Up to 1.5.57, the original closes a stream that its application has accepted and uses by io.Copy alone, once it is garbage
// collected. What we write then is lost. With NoHalfClose, our Write fails.
func TestTheirGarbageCollectionClosesStreams(t *testing.T) {
	noHalfClose := setting{name: "NoHalfClose", ours: ourConfig{NoHalfClose: true}}
	matrix(t, []setting{noHalfClose}, func(t *testing.T, l *link) {
		var copying sync.WaitGroup
		ours := connectToCopy(t, l, &copying)
		var err error
		for begin := time.Now(); err == nil && (l.peer.finalizes && time.Since(begin) < hung || time.Since(begin) < 200*time.Millisecond); {
			runtime.GC()
			_, err = ours.Write([]byte("x"))
			time.Sleep(time.Millisecond)
		}
		if l.peer.finalizes != errors.Is(err, peerClosed) {
			t.Errorf("write: %v", err)
		}
		if err != nil {
			l.shows(t, garbageIsClosed)
		}
		_ = ours.Close()
		copying.Wait()
		echo(t, l)
	})
}

// connectToCopy returns our end of a stream whose other end is read by io.Copy, and referenced by nothing else.
func connectToCopy(t *testing.T, l *link, copying *sync.WaitGroup) muxStream {
	t.Helper()
	ours, theirs := connect(t, l.our(), l.their())
	copying.Go(func() { _, _ = io.Copy(struct{ io.Writer }{io.Discard}, theirs) })
	return ours
}

// A server with Version 0 opens no stream toward a client of theirs that sends nothing: it does not know the version. With
// Version it does.
func TestServerCannotOpenTowardASilentClient(t *testing.T) {
	eachPeer(t, func(t *testing.T, p *peer) {
		for version := 1; version <= 2; version++ {
			record(t, p, version, false)
			for _, known := range []bool{false, true} {
				client, server := tcpPair(t, false)
				theirs, err := p.start(client, true, version, func(c *theirSettings) { c.KeepAliveDisabled = true })
				if err != nil {
					t.Fatal(err)
				}
				defer theirs.Close()
				cfg := new(session.Config)
				if known {
					cfg.Version = version
				}
				ours, err := session.Server(server, cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer ours.Close()
				if known {
					l := &link{ours: ourSession{ours}, theirs: theirs, peer: p, version: version}
					a, b := connect(t, l.our(), l.their())
					mustClose(t, "ours", a)
					mustClose(t, "theirs", b)
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				if _, err := ours.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("OpenStream: %v", err)
				}
				cancel()
				show(t, silentClient, p, version, false)
			}
		}
	})
}

// A full backlog of theirs, of 1,024 streams, stops all streams until their application accepts. Then everything arrives.
func TestTheirFullBacklogStopsAllStreams(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		ours, theirs := connect(t, l.our(), l.their())
		waiting := fillBacklog(t, l)
		mustWrite(t, "ours", ours, []byte("late"))
		if err := theirs.SetReadDeadline(soon()); err != nil {
			t.Fatal(err)
		}
		if n, err := theirs.Read(make([]byte, 4)); !timedOut(err) {
			t.Errorf("theirs: with a full backlog, read %d bytes, %v", n, err)
		}
		var accepted []muxStream
		for range waiting {
			st, err := l.theirs.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, st) // its data may be behind all SYNs
		}
		if err := theirs.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		readTheirs(t, theirs, "late")
		mustClose(t, "theirs", theirs)
		for _, st := range accepted {
			readTheirs(t, st, "x")
			mustClose(t, "theirs", st)
		}
		for _, st := range append(waiting, ours) {
			mustClose(t, "ours", st)
		}
		wantNoStreams(t, l)
	})
}

// fillBacklog opens more streams than their backlog holds, each with a byte, and returns when all has been sent.
func fillBacklog(t *testing.T, l *link) (waiting []muxStream) {
	t.Helper()
	for range 1100 {
		st, err := l.ours.Open()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "ours", st, []byte("x"))
		waiting = append(waiting, st)
	}
	flush(t, waiting[len(waiting)-1])
	return waiting
}

// Some versions hold the lock of all streams while the backlog is full. If the goroutine that accepts closes a stream, it
// waits for that lock, and nobody accepts any more: their keep-alive ends the session.
func TestTheirFullBacklogCanLockThemUp(t *testing.T) {
	some := somePeers(func(p *peer) bool { return p.locksBacklog })
	matrixOf(t, some, []setting{{name: "their keep-alive", theirs: theirKeepAlive(interval, timeout)}}, func(t *testing.T, l *link) {
		for range fillBacklog(t, l) {
			st, err := l.theirs.Accept() // also when the session has ended
			if err != nil {
				break
			}
			_ = st.Close()
		}
		<-l.ours.(ourSession).Done() // not if all streams were closed
		l.shows(t, backlogLocks)
	})
}
