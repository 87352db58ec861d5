package interop

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

// An endless download ends when its reader closes, although the original says so with one FIN, as for a half-close: at
// once with NoHalfClose, and without it in version 2, after LingerTimeout. In version 1 without NoHalfClose it would go
// on for ever.
func TestOurEndlessWriteEndsWhenTheirReaderCloses(t *testing.T) {
	skipStandIn(t, "never learns")
	const linger = 300 * time.Millisecond
	settings := []setting{
		{name: "NoHalfClose", ours: ourConfig{NoHalfClose: true}}, // LingerTimeout is 60 s
		{name: "LingerTimeout", ours: ourConfig{LingerTimeout: linger}},
	}
	matrix(t, settings, func(t *testing.T, l *link) {
		if !l.setting.ours.NoHalfClose && l.version == 1 {
			ourWriteGoesOn(t, l, 3*linger)
			return
		}
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			for _, chunk := range []int{100, 64 << 10} {
				d := endlessWriteEnds(t, opener, acceptor, chunk)
				if !l.setting.ours.NoHalfClose && d < linger {
					t.Errorf("write failed after %v, want at least %v", d, linger)
				}
			}
			wantNoStreams(t, l)
			echo(t, l)
		})
		if !l.setting.ours.NoHalfClose {
			l.shows(t, writesUntilLinger)
		}
	})
}

// endlessWriteEnds writes without end, in chunks, while they read some and then close. It checks that our Write fails, and
// returns how long after their Close it does so.
func endlessWriteEnds(t *testing.T, opener, acceptor end, chunk int) time.Duration {
	ours, theirs := connect(t, opener, acceptor)
	var writing sync.WaitGroup
	writing.Go(func() {
		data := make([]byte, chunk)
		for {
			if _, err := ours.Write(data); err != nil {
				if !errors.Is(err, peerClosed) {
					t.Errorf("write: %v, want %v", err, peerClosed)
				}
				return
			}
		}
	})
	if _, err := io.ReadFull(theirs, make([]byte, 100_000)); err != nil {
		t.Errorf("theirs: read: %v", err)
	}
	begin := time.Now()
	mustClose(t, "theirs", theirs)
	writing.Wait()
	d := time.Since(begin)
	readAll(t, "ours", ours, nil)
	if err := ours.Close(); err != nil && !errors.Is(err, peerClosed) {
		t.Errorf("close: %v", err)
	}
	return d
}

// ourWriteGoesOn checks that our Writes succeed for this time after they have closed the stream.
func ourWriteGoesOn(t *testing.T, l *link, d time.Duration) {
	ours, theirs := connect(t, l.our(), l.their())
	mustClose(t, "theirs", theirs)
	readAll(t, "ours", ours, nil)
	for begin := time.Now(); time.Since(begin) < d && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		mustWrite(t, "ours", ours, make([]byte, 4<<10))
	}
	l.shows(t, writesForEver)
	mustClose(t, "ours", ours)
	wantNoStreams(t, l)
	echo(t, l)
}

// With NoHalfClose, our CloseWrite sends nothing, so that their answer still arrives, and our Close ends their reading.
func TestNoHalfCloseRequestGetsItsAnswer(t *testing.T) {
	skipStandIn(t, "has no such setting")
	matrix(t, []setting{{name: "NoHalfClose", ours: ourConfig{NoHalfClose: true}}}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			answer := payload{seed: newSeed(t), size: answerSize}.bytes()
			ours, theirs := connect(t, opener, acceptor)
			mustWrite(t, "ours", ours, []byte("question"))
			if err := ours.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("CloseWrite: %v, want %v", err, errors.ErrUnsupported)
			}
			if _, err := io.ReadFull(theirs, make([]byte, len("question"))); err != nil {
				t.Errorf("theirs: read: %v", err)
			}
			var answering sync.WaitGroup
			answering.Go(func() {
				mustWrite(t, "theirs", theirs, answer)
				mustClose(t, "theirs", theirs)
			})
			readAll(t, "ours", ours, answer)
			answering.Wait()
			mustClose(t, "ours", ours)

			ours, theirs = connect(t, opener, acceptor)
			mustClose(t, "ours", ours)
			readAll(t, "theirs", theirs, nil)
			mustClose(t, "theirs", theirs)
			wantNoStreams(t, l)
		})
	})
}
