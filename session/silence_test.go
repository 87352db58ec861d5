package session_test

import (
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A lateConn has bytes to read once they are sent to its channel. It forgets what is written.
type lateConn struct {
	bytes chan []byte
	once  sync.Once
}

func (c *lateConn) Read(p []byte) (int, error) {
	b, ok := <-c.bytes
	if !ok {
		return 0, io.EOF
	}
	return copy(p, b), nil
}

func (c *lateConn) Write(p []byte) (int, error) { return len(p), nil }

func (c *lateConn) Close() error {
	c.once.Do(func() { close(c.bytes) })
	return nil
}

// If the reader could run only after the policy has given the peer up, and has read something then, the policy is asked
// again. If it has read nothing, the verdict holds.
func TestVerdictWaitsForTheReader(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the reader waits for this goroutine to give way
	for _, speaks := range []bool{true, false} {
		testutil.LeakCheck(t)
		conn := &lateConn{bytes: make(chan []byte, 1)}
		var told []ka.Activity
		verdicts := 0
		p := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			told = append(told, a)
			switch {
			case len(told) == 1: // at the session's start
				return ka.None, 0
			case a.LastNOP > 0:
				return ka.None, 0
			}
			verdicts++
			if speaks && verdicts == 1 {
				conn.bytes <- testutil.NOP(wire.V2).Append(nil)
			}
			return ka.GiveUp, 0
		})
		s, err := session.Client(conn, &session.Config{KeepAlive: p})
		if err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); time.Since(start) < time.Millisecond; {
			runtime.Gosched() // the reader waits; and no time is 0 from now on
		}
		session.AskPolicy(s)
		if speaks {
			if err := s.Err(); err != nil || len(told) != 3 || told[2].LastReceived == 0 {
				t.Errorf("the peer has spoken: Err = %v, the policy was told %+v", err, told)
			}
		} else if err := s.Err(); err == nil {
			t.Errorf("the peer is silent: the session goes on; the policy was told %+v", told)
		}
		_ = s.CloseNow()
		<-s.Done()
	}
}
