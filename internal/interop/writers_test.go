package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// The original lets several goroutines write to one stream, and does not make them share its window: in
// version 2 each of them uses all of it. Every byte that it has taken arrives all the same, and the session
// lives.
//
// Such a Write may fail with ErrConsumed, though nothing is wrong, as the sent bytes are counted later than
// they are sent; and not every Write that waits for the window is woken. Both happen between two sessions of
// the original, too. So writers go on after the first, and are stopped by a deadline that only the second needs.
func TestManyWritersOfTheirsOnOneStream(t *testing.T) {
	for _, c := range []struct{ writers, writes, size int }{
		{2, 1, 300_000},
		{16, 20, 4 << 10},
		{8, 2, 100_000},
	} {
		t.Run(fmt.Sprintf("%d writers, %d times %d bytes", c.writers, c.writes, c.size), func(t *testing.T) {
			matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
				if testutil.Race && l.version == 1 && l.peer.racyWrites {
					t.Skip("the race detector would find what is wrong with the peer")
				}
				openers(t, l, func(t *testing.T, opener, acceptor end) {
					ours, theirs := connect(t, opener, acceptor)
					if err := theirs.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
						t.Fatal(err)
					}
					taken := make([]int, c.writers)
					var failed atomic.Bool
					var writing sync.WaitGroup
					for w := range c.writers {
						data := bytes.Repeat([]byte{byte(w)}, c.size)
						writing.Go(func() {
							for range c.writes {
								n, err := theirs.Write(data)
								taken[w] += n
								if err != nil {
									failed.Store(true)
									if !errors.Is(err, l.peer.consumed) && !timedOut(err) {
										t.Errorf("theirs: write: %v", err)
									}
								}
							}
						})
					}
					time.Sleep(20 * time.Millisecond) // until each has found the whole window
					ended := make(chan struct{})
					go func() {
						writing.Wait()
						_ = theirs.Close()
						close(ended)
					}()
					arrived, err := io.ReadAll(ours)
					if err != nil {
						t.Errorf("ours: read: %v", err)
						_ = theirs.Close()
					}
					<-ended
					for w, n := range taken {
						if got := bytes.Count(arrived, []byte{byte(w)}); got < n || got != n && !failed.Load() {
							t.Errorf("%d bytes of writer %d arrived, %d were taken", got, w, n)
						}
					}
					mustClose(t, "ours", ours)
				})
				echo(t, l)
			})
		})
	}
}
