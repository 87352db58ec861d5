package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A session that is closing answers pings while it sends its data, over a transport with a half-close. So the peer's Flush
// of data that it has read succeeds.
func TestFlushSucceedsWhileThePeerCloses(t *testing.T) {
	const size = 200_000
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version}
		c, s := sessionsOver(t, simnet.Link{Rate: 1e5, Delay: 10 * time.Millisecond, Buffer: 10_000}, &cfg, &cfg)
		mine, theirs := openPair(t, c, s)
		read := testutil.Background(func() ([]byte, error) { return io.ReadAll(mine) })
		wrote := testutil.BackgroundErr(func() error { return second(theirs.Write(bytes.Repeat([]byte("x"), size))) })
		time.Sleep(time.Second)
		closed := testutil.BackgroundErr(s.Close)
		time.Sleep(100 * time.Millisecond)
		if _, err := mine.Write([]byte("the peer's session has read this")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Flush", mine.Flush(context.Background()), nil)
		testutil.WantErr(t, "Close", (<-closed).Err, nil)
		if r := <-wrote; r.Err != nil && !errors.Is(r.Err, net.ErrClosed) {
			t.Errorf("Write: %v", r.Err)
		}
		if r := <-read; len(r.Value) == 0 {
			t.Errorf("nothing was read: %v", r.Err)
		}
	})
}
