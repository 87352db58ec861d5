package keepalive_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// FuzzPeriodic calls Next with any values, valid or not, and checks what holds for every answer.
func FuzzPeriodic(f *testing.F) {
	const last = 1<<63 - 1
	f.Add(int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), false, false)
	f.Add(int64(10*s), int64(30*s), int64(31*s), int64(5*s), int64(s), int64(0), int64(30*s), int64(s), int64(0), int64(0), int64(2*s), false, true)
	f.Add(int64(-1), int64(-1), int64(1<<62), int64(1<<62), int64(0), int64(7), int64(9), int64(0), int64(1), int64(0), int64(1<<62), true, false)
	f.Add(int64(last), int64(last), int64(last), int64(0), int64(0), int64(0), int64(1), int64(last), int64(0), int64(last), int64(0), false, false)
	f.Fuzz(func(t *testing.T, interval, timeout, now, sent, received, resumed, due, nop, echo, ping, acked int64, paused, strict bool) {
		periodic := keepalive.Periodic{Interval: time.Duration(interval), Timeout: time.Duration(timeout), Strict: strict}
		times := []*int64{&now, &sent, &received, &resumed, &due, &nop, &echo, &ping, &acked}
		for _, v := range times {
			*v &= 1<<63 - 1 // times since the start are not negative
		}
		a := keepalive.Activity{
			Now: time.Duration(now), LastSent: time.Duration(sent), LastReceived: time.Duration(received),
			ReadPaused: paused, ReadResumed: time.Duration(resumed), Due: time.Duration(due),
			LastNOP: time.Duration(nop), NOPGap: time.Duration(nop), LastEcho: time.Duration(echo),
			PingSent: time.Duration(ping), LastAcked: time.Duration(acked),
		}
		action, again := periodic.Next(a)
		switch action {
		case keepalive.None, keepalive.Probe, keepalive.Ping:
			if action == keepalive.Ping && ping > 0 {
				t.Errorf("%+v.Next(%+v) pings, and an earlier ping is unanswered", periodic, a)
			}
			if again <= 0 {
				t.Errorf("%+v.Next(%+v) = %v, %v: it would be asked without end, or never", periodic, a, action, again)
			}
		case keepalive.GiveUp:
			if paused {
				t.Errorf("%+v.Next(%+v) gives up while reading is paused", periodic, a)
			}
			if again != 0 {
				t.Errorf("%+v.Next(%+v) gives up and asks again after %v", periodic, a, again)
			}
			if valid := periodic.Validate() == nil; valid {
				limit := periodic.Timeout
				if limit == 0 {
					limit = keepalive.DefaultTimeout
				}
				if silence := a.Now - max(a.LastReceived, a.ReadResumed); silence < limit {
					t.Errorf("%+v.Next(%+v) gives up after %v", periodic, a, silence)
				}
				if speaks := strict || echo > 0 || nop > 0 && a.NOPGap <= limit; !speaks && a.Now-a.LastAcked < limit {
					t.Errorf("%+v.Next(%+v) gives up a peer that may be one that is silent", periodic, a)
				}
			}
		default:
			t.Errorf("%+v.Next(%+v) = %v", periodic, a, action)
		}
	})
}
