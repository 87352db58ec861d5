package session_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// The longest time-out is as good as none, and hides no other.
func TestIdleTimeoutMayBeTheLongest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, s := sessions(t, transport("sim"), session.Config{
			KeepAlive: off, IdleTimeout: math.MaxInt64, StreamIdleTimeout: time.Minute,
		})
		idle, _ := openPair(t, c, s)
		long, peer := openPair(t, c, s)
		for _, st := range []*stream.Stream{long, peer} {
			if err := st.SetIdleTimeout(math.MaxInt64); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		testutil.WantErr(t, "Read of the idle stream", second(idle.Read(make([]byte, 1))), stream.ErrIdleTimeout)
		testutil.WantErr(t, "Write of the other", second(long.Write([]byte("x"))), nil)
	})
}
