package interop

import (
	"sync"
	"testing"
	"time"
)

// The session under test gives up its peer after timeout. A peer that sends keep-alives sends one every interval.
// The original checks once in each time-out, so it acts within two of them. Time is virtual in this file.
const (
	interval = 200 * time.Millisecond
	timeout  = 1 * time.Second
	idle     = 2500 * time.Millisecond
	never    = time.Hour
)

func theirKeepAlive(every, giveUp time.Duration) theirConfig {
	return func(c *theirSettings) { c.KeepAliveInterval, c.KeepAliveTimeout = every, giveUp }
}

// Each side's NOPs keep the other from giving up an idle session.
func TestKeepAliveHoldsAnIdleSession(t *testing.T) {
	bubbles(t, []setting{
		{
			name:   "theirs would end without our NOPs",
			ours:   ourConfig{Interval: interval, Timeout: never},
			theirs: theirKeepAlive(timeout, timeout),
		},
		{
			name:   "ours would end without their NOPs",
			ours:   ourConfig{Interval: timeout / 2, Timeout: timeout, Strict: true},
			theirs: theirKeepAlive(interval, never),
		},
		{
			name:   "both would",
			ours:   ourConfig{Interval: interval, Timeout: timeout, Strict: true},
			theirs: theirKeepAlive(interval, timeout),
		},
	}, func(t *testing.T, l *link) {
		if l.setting.name == "both would" {
			time.Sleep(idle) // before the first stream
		} else {
			ours, theirs := connect(t, l.our(), l.their())
			time.Sleep(idle) // with a stream open
			mustClose(t, "ours", ours)
			mustClose(t, "theirs", theirs)
		}
		echo(t, l)
	})
}

// Each side gives up a silent peer, ours if its policy is strict. TestKeepAliveHoldsAnIdleSession proves nothing without
// this.
func TestSilentPeerIsGivenUp(t *testing.T) {
	bubbles(t, []setting{
		{
			name:   "ours is silent",
			ours:   ourConfig{NoKeepAlive: true},
			theirs: theirKeepAlive(interval, timeout),
		},
		{
			name:   "theirs is silent",
			ours:   ourConfig{Interval: interval, Timeout: timeout, Strict: true},
			theirs: func(c *theirSettings) { c.KeepAliveDisabled = true },
		},
	}, func(t *testing.T, l *link) {
		start := time.Now()
		var wg sync.WaitGroup
		for _, e := range []end{l.our(), l.their()} {
			if standIn && e.name == "ours" && l.setting.ours.NoKeepAlive == false {
				continue // the original does not tell who waits in Accept
			}
			wg.Go(func() {
				s, err := e.Accept()
				if err == nil {
					t.Errorf("%s accepted a stream that nobody opened", e.name)
					s.Close()
				}
				t.Logf("%s: accept: %v", e.name, err)
			})
		}
		wg.Wait()
		if d := time.Since(start); d < timeout || d > 2*timeout {
			t.Errorf("the sessions ended after %v, want %v to %v", d, timeout, 2*timeout)
		}
	})
}
