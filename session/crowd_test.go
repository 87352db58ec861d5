package session_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Streams with bulk data that wait for the same fast transport hold few copies of it: the callers of Write wait. A stream
// alone holds as much as MaxStreamSendBuffer allows.
func TestBulkStreamsThatWaitHoldFewCopies(t *testing.T) {
	for _, tt := range []struct{ streams, least, most int }{
		{1, 64 << 10, 2 * session.DefaultMaxStreamSendBuffer},
		{8, 0, 8 * 16 << 10},
	} {
		eachVersion(t, func(t *testing.T, version int) {
			budget := flow.NewBudget(64 << 20)
			c, s := sessionsOver(t, path(100*simnet.Gbit, 10*time.Microsecond), &session.Config{Version: version, SendBudget: budget}, &session.Config{Version: version})
			var running sync.WaitGroup
			defer func() {
				_, _ = c.CloseNow(), s.CloseNow()
				running.Wait()
			}()
			outs, ins := openPairs(t, c, s, tt.streams)
			for i, in := range ins {
				running.Go(func() { writeUntilEnd(outs[i], 32*testutil.KiB) })
				running.Go(func() { readUntilEnd(in, new(atomic.Int64)) })
			}
			time.Sleep(500 * time.Microsecond)
			most := 0
			for range 25 {
				time.Sleep(20 * time.Microsecond)
				most = max(most, budget.Used())
			}
			if most < tt.least || most > tt.most {
				t.Errorf("%d streams hold %d bytes, want %d to %d", tt.streams, most, tt.least, tt.most)
			}
		})
	}
}

// The same holds if somebody has sent all the time since before the first bulk data. As above, it is looked at in the first
// millisecond: later, streams whose Writes wait for longer do not count as streams with bulk data.
func TestBulkStreamsOfABusySessionHoldFewCopies(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		budget := flow.NewBudget(64 << 20)
		ours, theirs := testutil.SimPair(t, path(100*simnet.Gbit, 10*time.Microsecond))
		g := newGate(ours)
		c := client(t, g, &session.Config{Version: version, SendBudget: budget, KeepAlive: off})
		s := server(t, theirs, &session.Config{Version: version, KeepAlive: off})
		var running sync.WaitGroup
		defer func() {
			_, _ = c.CloseNow(), s.CloseNow()
			running.Wait()
		}()
		outs, ins := openPairs(t, c, s, 8)
		synctest.Wait()
		g.shut()
		_, _ = outs[0].Write([]byte{1}) // the transport does not return from its Write yet
		synctest.Wait()
		for i, in := range ins {
			running.Go(func() { writeUntilEnd(outs[i], 32*testutil.KiB) })
			running.Go(func() { readUntilEnd(in, new(atomic.Int64)) })
		}
		synctest.Wait()
		g.open()
		time.Sleep(500 * time.Microsecond)
		most := 0
		for range 25 {
			time.Sleep(20 * time.Microsecond)
			most = max(most, budget.Used())
		}
		if most > 8*16<<10 {
			t.Errorf("8 streams hold %d bytes, want %d at most", most, 8*16<<10)
		}
	})
}
