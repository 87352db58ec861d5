package session

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A timer of minTogether or more fires at a multiple of tick, less than a tick early and never late. A shorter one fires
// when it is due.
func TestTogetherRoundsDownToATick(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, offset := range []time.Duration{0, 1, time.Millisecond, tick - 1, tick, 7*tick + 3} {
		for _, wait := range []time.Duration{minTogether, minTogether + 1, 10 * time.Second, time.Hour + 7} {
			now := now.Add(offset)
			got := together(now, wait)
			if fires := now.Add(got); got > wait || got <= wait-tick || fires.UnixNano()%int64(tick) != 0 {
				t.Errorf("%v after a tick, a timer of %v takes %v", offset, wait, got)
			}
		}
		if wait := minTogether - 1; together(now.Add(offset), wait) != wait {
			t.Errorf("%v after a tick, a timer of %v takes %v", offset, wait, together(now.Add(offset), wait))
		}
	}
}

// Sessions that began at different times probe together, in each Interval once, and each gives up a silent peer exactly
// Timeout after its last byte.
func TestSessionsProbeTogetherAndGiveUpOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 5
		begin := time.Now()
		probes := make(map[time.Duration]int)
		probed := make(chan time.Duration, 100)
		var sessions []*Session
		for range count {
			time.Sleep(17 * time.Millisecond)
			a, b := net.Pipe()
			defer b.Close()
			go func() { // a peer that reads and says nothing
				for p := make([]byte, 100); ; {
					if _, err := b.Read(p); err != nil {
						return
					}
				}
			}()
			trace := &Trace{KeepAliveProbe: func(*Session, time.Duration) { probed <- time.Since(begin) }}
			s, err := Client(a, &Config{Trace: trace})
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		for i, s := range sessions {
			<-s.Done()
			began := time.Duration(i+1) * 17 * time.Millisecond
			if took := time.Since(begin) - began; s.Err() != ErrKeepAlive || took != keepalive.DefaultTimeout {
				t.Errorf("session %d ended after %v: %v", i, took, s.Err())
			}
		}
		close(probed)
		for at := range probed {
			probes[at]++
		}
		want := map[time.Duration]int{10 * time.Second: count, 20 * time.Second: count, 30 * time.Second: count}
		if diff := cmp.Diff(want, probes); diff != "" {
			t.Errorf("so many sessions probed at these times (-want +got):\n%s", diff)
		}
	})
}
