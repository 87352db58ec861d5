//go:build !self

package interop

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// Our signals change nothing for the original: it does not answer a ping, and streams go on and can be opened by
// it after our drain signal.
func TestOurSignalsChangeNothingForThem(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		before := payload{seed: newSeed(t), size: answerSize}
		ours, theirs := connect(t, l.our(), l.their())

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.Ping(ctx); !errors.Is(err, session.ErrPingUnanswered) {
			t.Errorf("Ping: %v, want no answer", err)
		}
		listener := s.Listener()
		if err := listener.Close(); err != nil { // sends the drain signal
			t.Error(err)
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			mustWrite(t, "ours", ours, before.bytes())
		}()
		if err := before.readFrom(theirs); err != nil {
			t.Errorf("theirs: %v", err)
		}
		<-written

		// The signals came before this data, so the original has read them.
		again, accepted := connect(t, l.their(), l.our())
		mustClose(t, "theirs", again)
		mustClose(t, "ours", accepted)
		mine, peers := connect(t, l.our(), l.their())
		mustClose(t, "ours", mine)
		mustClose(t, "theirs", peers)
		mustClose(t, "ours", ours)
		mustClose(t, "theirs", theirs)
		if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed after CloseTimeout", err)
		}
		wantNoStreams(t, l)
	})
}
