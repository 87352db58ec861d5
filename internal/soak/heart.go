package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
)

// beat runs a heartbeat over Ping, with times that change, until the session ends.
func (x *pair) beat(side int) {
	s := x.sessions[side]
	var last error
	h, err := heartbeat.StartPinger(s, heartbeat.Config{
		Interval:  5 * time.Millisecond,
		Tolerance: 100 * time.Millisecond,
		OnBeat: func(rtt time.Duration, err error) {
			if last = err; err == nil && (rtt < 0 || rtt > time.Minute) {
				x.r.fail("session %d: end %d: a beat of %v", x.index, side, rtt)
			}
		},
	})
	if err != nil {
		x.r.fail("session %d: end %d: heartbeat: %v", x.index, side, err)
		return
	}
	for s.Err() == nil {
		_ = h.SetInterval(heartbeat.MinInterval + time.Duration(rand.IntN(int(20*time.Millisecond))))
		_ = h.SetTolerance(heartbeat.MinInterval + time.Duration(rand.IntN(int(200*time.Millisecond))))
		select {
		case <-s.Done():
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
	}
	<-h.Done()
	if err := h.Err(); !smuxError(err) || !errors.Is(last, err) {
		x.r.fail("session %d: end %d: the heartbeat ended with %v, OnBeat with %v", x.index, side, err, last)
	}
	if err := h.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		x.r.fail("session %d: end %d: Close of the heartbeat: %v", x.index, side, err)
	}
}

// setPolicies replaces the keep-alive policy again and again, by one that gives up nobody, until the session ends.
func (x *pair) setPolicies(side int) {
	s := x.sessions[side]
	for s.Err() == nil {
		every := keepalive.MinInterval + time.Duration(rand.IntN(int(50*time.Millisecond)))
		policies := []keepalive.Policy{
			keepalive.Off{},
			keepalive.ProbeOnly{Interval: every},
			keepalive.Periodic{Interval: every, Timeout: time.Hour},
			keepalive.Periodic{Interval: every, Timeout: time.Hour, Strict: true},
		}
		if err := s.SetKeepAlive(policies[rand.IntN(len(policies))]); err != nil {
			x.r.fail("session %d: end %d: SetKeepAlive: %v", x.index, side, err)
		}
		select {
		case <-s.Done():
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
	}
}
