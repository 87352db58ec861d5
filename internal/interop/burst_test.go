package interop

import (
	"io"
	"sync"
	"testing"
)

// 5,000 streams are opened as fast as possible, toward all but the newest peer 1,200. All are open at the same time, and
// each gets its answer. (The original stops reading while 1,024 streams wait to be accepted.)
func TestBurstOfOpensLosesNoStream(t *testing.T) {
	const openersAtOnce = 20
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		streams := 1200
		if l.peer == newest {
			streams = 5000
		}
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			var mu sync.Mutex
			var open []muxStream
			var opening, accepting sync.WaitGroup
			for range openersAtOnce {
				opening.Go(func() {
					for range streams / openersAtOnce {
						s, err := opener.Open()
						if err == nil {
							_, err = s.Write([]byte{'?'})
						}
						if err != nil {
							t.Errorf("%s: open: %v", opener.name, err)
							opener.Close()
							return
						}
						mu.Lock()
						open = append(open, s)
						mu.Unlock()
					}
				})
			}
			accepting.Go(func() {
				for range streams {
					s, err := acceptor.Accept()
					if err != nil {
						t.Errorf("%s: accept: %v", acceptor.name, err)
						return
					}
					accepting.Go(func() {
						if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
							t.Errorf("%s: read: %v", acceptor.name, err)
						}
						mustWrite(t, acceptor.name, s, []byte{'!'})
						if err := wantEOF(s); err != nil {
							t.Errorf("%s: %v", acceptor.name, err)
						}
						mustClose(t, acceptor.name, s)
					})
				}
			})
			opening.Wait()
			if n := opener.NumStreams(); n != streams {
				t.Errorf("%s has %d streams, want %d", opener.name, n, streams)
			}
			for _, s := range open {
				if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
					t.Errorf("%s: read: %v", opener.name, err)
				}
			}
			for _, s := range open {
				mustClose(t, opener.name, s)
			}
			accepting.Wait()
			wantNoStreams(t, l)
		})
	})
}
