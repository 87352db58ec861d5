package interop

import (
	"io"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// 5,000 streams are opened as fast as possible, by either side. All are open at the same time, and each gets its answer.
// (The original stops reading while 1,024 streams wait to be accepted.)
func TestBurstOfOpensLosesNoStream(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) { burst(t, l, opener, acceptor) })
	})
}

// burst opens 5,000 streams, and lets each be answered. No goroutine waits for one stream: the race detector has a limit.
// With the race detector, 1,000 have to do toward all but the newest of the peers: .ci/interop runs it without, too.
func burst(t *testing.T, l *link, opener, acceptor end) {
	const openersAtOnce = 20
	streams := 5000
	if testutil.Race && l.peer != newest {
		streams = 1000
	}
	var mu sync.Mutex
	var opened, accepted []muxStream
	var opening sync.WaitGroup
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
				opened = append(opened, s)
				mu.Unlock()
			}
		})
	}
	for range streams {
		s, err := acceptor.Accept()
		if err != nil {
			t.Fatalf("%s: accept: %v", acceptor.name, err)
		}
		accepted = append(accepted, s)
	}
	opening.Wait()
	for _, e := range []end{opener, acceptor} {
		waitStreams(t, e.name, e, streams)
	}
	answer := func(who string, s muxStream, want byte) {
		got := []byte{0}
		if _, err := io.ReadFull(s, got); err != nil || got[0] != want {
			t.Errorf("%s: read %q, %v, want %q", who, got, err, want)
		}
	}
	for _, s := range accepted {
		answer(acceptor.name, s, '?')
		mustWrite(t, acceptor.name, s, []byte{'!'})
	}
	for _, s := range opened {
		answer(opener.name, s, '!')
	}
	for _, s := range opened {
		mustClose(t, opener.name, s)
	}
	for _, s := range accepted {
		if err := wantEOF(s); err != nil {
			t.Errorf("%s: %v", acceptor.name, err)
		}
		mustClose(t, acceptor.name, s)
	}
	wantNoStreams(t, l)
}
