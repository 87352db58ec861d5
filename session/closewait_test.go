package session_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Contexts that end while a Close is under way.

// A hungConn is a transport whose Write does not return once hangs is set, also after Close, until release is closed. Its
// Read returns io.EOF when eof is closed.
type hungConn struct {
	hangs        atomic.Bool
	eof, release chan struct{}
}

func newHungConn() *hungConn {
	return &hungConn{eof: make(chan struct{}), release: make(chan struct{})}
}

func (c *hungConn) Read([]byte) (int, error) {
	<-c.eof
	return 0, io.EOF
}

func (c *hungConn) Write(p []byte) (int, error) {
	if !c.hangs.Load() {
		return len(p), nil
	}
	<-c.release
	return 0, io.ErrClosedPipe
}

func (c *hungConn) Close() error { return nil }

// Flush ends with its context while a Close of the session waits to learn whether the data has arrived.
func TestFlushEndsWithItsContextWhileCloseWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		conn := newHungConn()
		c := client(t, conn, &session.Config{KeepAlive: off, CloseTimeout: time.Hour})
		synctest.Wait() // the first NOP is sent
		conn.hangs.Store(true)
		st := open(t, c)
		_, _ = st.Write([]byte("hello"))
		synctest.Wait()
		closing := testutil.BackgroundErr(c.Close)
		synctest.Wait()
		flush := func() (<-chan testutil.Result[struct{}], func() time.Duration) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			t.Cleanup(cancel)
			return testutil.BackgroundErr(func() error { return st.Flush(ctx) }), testutil.Clock()
		}
		before, elapsed := flush()
		synctest.Wait()
		close(conn.eof) // the session ends; Close still waits for the Write
		testutil.WantErr(t, "Flush", (<-before).Err, context.DeadlineExceeded)
		testutil.WantTime(t, "Flush returned", elapsed(), time.Second)
		wantPending(t, "Close", closing)
		after, elapsed := flush()
		if err := (<-after).Err; err == nil {
			t.Error("Flush returns nil, and nothing has arrived")
		}
		if took := elapsed(); took > time.Second {
			t.Errorf("Flush returned after %v", took)
		}
		close(conn.release)
		testutil.WantErr(t, "Close", (<-closing).Err, session.ErrNotFlushed)
	})
}

// Shutdown ends with its context while it closes the session, or waits for a Close that is under way.
func TestShutdownEndsWithItsContextWhileItCloses(t *testing.T) {
	for _, closing := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			conn := newHungConn()
			conn.hangs.Store(true)
			c := client(t, conn, &session.Config{KeepAlive: off, CloseTimeout: time.Minute})
			timeout := time.Second
			if closing {
				closed := testutil.BackgroundErr(c.Close)
				synctest.Wait()
				defer func() { testutil.WantErr(t, "Close", (<-closed).Err, session.ErrNotFlushed) }()
			} else {
				timeout += time.Minute // it waits for the peer's echo before it closes
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			elapsed := testutil.Clock()
			testutil.WantErr(t, "Shutdown", c.Shutdown(ctx), context.DeadlineExceeded)
			testutil.WantTime(t, "Shutdown returned", elapsed(), timeout)
			select {
			case <-c.Done():
				t.Error("the session has ended")
			default:
			}
			<-c.Done() // Close or Shutdown goes on
			testutil.WantTime(t, "the session ended", elapsed(), timeout-timeout%time.Minute+time.Minute)
			close(conn.eof)
			close(conn.release)
		})
	}
}
