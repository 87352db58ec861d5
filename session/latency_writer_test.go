//go:build !nolatency

package session

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/stream"
)

// On a transport that may block, the goroutine that sends a short batch right behind another one yields first, and sends
// what was written meanwhile in the same batch.
func TestGoroutineThatSendsLetsOthersJoinIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		var batches atomic.Pointer[[][]byte]
		batches.Store(new([][]byte))
		s, err := ClientWithTap(a, nil, func(p []byte) {
			all := append(*batches.Load(), p)
			batches.Store(&all)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.CloseNow()
		var streams [2]*stream.Stream
		for i := range streams {
			if streams[i], err = s.OpenStream(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		write := func(st *stream.Stream, text string) {
			if _, err := io.WriteString(st, text); err != nil {
				t.Error(err)
			}
		}
		write(streams[0], "first")
		synctest.Wait()
		batches.Store(new([][]byte))
		joined := false
		s.latency.gosched = func() {
			if !joined {
				joined = true
				write(streams[1], "joins")
			}
		}
		write(streams[0], "second")
		synctest.Wait()
		sent := *batches.Load()
		if len(sent) != 1 || !bytes.Contains(sent[0], []byte("second")) || !bytes.Contains(sent[0], []byte("joins")) {
			t.Errorf("sent %q, want one batch with both", sent)
		}
	})
}
