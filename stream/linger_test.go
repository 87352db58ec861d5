package stream

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// quietSession is a Notifier that does nothing.
type quietSession struct{}

func (quietSession) SendControl(Urgency) {}
func (quietSession) SendData(Urgency)    {}
func (quietSession) Flush()              {}
func (quietSession) Opened()             {}
func (quietSession) Finished()           {}
func (quietSession) SetWeight(int)       {}
func (quietSession) Now() time.Duration  { return 0 }

// A closed stream that waits for its peer's window leaves no timer behind when its session ends. The timer would keep
// the stream's memory for Linger.
func TestClosedStreamLeavesNoTimerBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := Shared{Version: wire.V2, MaxFrameSize: 1000, Budget: flow.NewAccount(1 << 20), Linger: time.Hour}
		var c Core
		c.Init(&shared, quietSession{}, 1, false)
		if err := c.HandleUpdate(wire.WindowUpdate{Window: 0}); err != nil {
			t.Fatal(err)
		}
		_, _ = c.s.Write(make([]byte, 1000))
		_ = c.s.Close()
		if !c.s.send.lingering {
			t.Fatal("no timer runs: this tests nothing")
		}
		c.Abort(io.EOF, AbortBoth)
		if c.s.extras.linger.Stop() {
			t.Error("the timer still ran")
		}
	})
}
