//go:build !386 && !portable

package interop

import (
	"io"
	"testing"
	"time"
)

// A peer with KeepAliveDisabled sends nothing while it is idle. Over TCP, our session stays as long as its host
// acknowledges our probes, for several times our Timeout, and everything works after that.
func TestSilentPeerStaysOverTCP(t *testing.T) {
	skipStandIn(t, "gives up a silent peer")
	matrix(t, []setting{{
		name:   "theirs is silent",
		ours:   ourConfig{Interval: interval, Timeout: timeout},
		theirs: func(c *theirSettings) { c.KeepAliveDisabled = true },
	}}, func(t *testing.T, l *link) {
		ours, theirs := connect(t, l.our(), l.their())
		time.Sleep(idle)
		mustWrite(t, "theirs", theirs, []byte("late"))
		got := make([]byte, 4)
		if _, err := io.ReadFull(ours, got); err != nil {
			t.Errorf("ours: read: %v", err)
		}
		mustClose(t, "ours", ours)
		mustClose(t, "theirs", theirs)
		echo(t, l)
	})
}
