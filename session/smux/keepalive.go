package smux

import (
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A keepAlive is the policy of one session. It keeps the original's times: a probe every interval, and a look every
// timeout whether something has arrived since the look before. So a peer that is silent is given up after one to two
// timeouts, and a peer whose own interval is as long as timeout is not given up.
type keepAlive struct {
	interval, timeout time.Duration

	nextProbe, nextLook time.Duration // all three are times of the session
	lastLook            time.Duration
}

func newKeepAlive(interval, timeout time.Duration) *keepAlive {
	interval = max(interval, keepalive.MinInterval)
	timeout = max(timeout, interval)
	return &keepAlive{interval: interval, timeout: timeout, nextProbe: interval, nextLook: timeout}
}

// Next implements [keepalive.Policy].
func (k *keepAlive) Next(a keepalive.Activity) (keepalive.Action, time.Duration) {
	heard := max(a.LastReceived, a.ReadResumed)
	if a.Now >= k.nextLook {
		silent := heard <= k.lastLook && !a.ReadPaused
		suspended := a.Due > 0 && a.Now-a.Due >= k.interval
		switch {
		case silent && !suspended:
			return keepalive.GiveUp, 0
		case silent: // this process did not run, and what came meanwhile is unread
			k.nextLook = a.Now + k.interval
		default:
			k.lastLook = a.Now
			k.nextLook = after(a.Now, k.timeout)
		}
	}
	action := keepalive.None
	if a.Now >= k.nextProbe {
		k.nextProbe = after(a.Now, k.interval)
		action = keepalive.Probe
		if a.Now-heard >= max(k.interval, k.timeout-k.interval) {
			action = keepalive.Ping // a peer that runs smuxkit answers
		}
	}
	return action, min(k.nextProbe, k.nextLook) - a.Now
}

// after returns the first multiple of every that is later than now.
func after(now, every time.Duration) time.Duration { return now - now%every + every }
