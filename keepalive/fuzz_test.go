package keepalive_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// FuzzPeriodic calls Next with any values, valid or not, and checks what holds for every answer.
func FuzzPeriodic(f *testing.F) {
	f.Add(int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), false)
	f.Add(int64(10*s), int64(30*s), int64(31*s), int64(5*s), int64(s), int64(0), int64(30*s), false)
	f.Add(int64(-1), int64(-1), int64(1<<62), int64(1<<62), int64(0), int64(7), int64(9), true)
	f.Add(int64(1<<63-1), int64(1<<63-1), int64(1<<63-1), int64(0), int64(0), int64(0), int64(1), false)
	f.Fuzz(func(t *testing.T, interval, timeout, now, sent, received, resumed, due int64, paused bool) {
		periodic := keepalive.Periodic{Interval: time.Duration(interval), Timeout: time.Duration(timeout)}
		times := []*int64{&now, &sent, &received, &resumed, &due}
		for _, v := range times {
			*v &= 1<<63 - 1 // times since the start are not negative
		}
		a := keepalive.Activity{
			Now: time.Duration(now), LastSent: time.Duration(sent), LastReceived: time.Duration(received),
			ReadPaused: paused, ReadResumed: time.Duration(resumed), Due: time.Duration(due),
		}
		action, again := periodic.Next(a)
		switch action {
		case keepalive.None, keepalive.Probe:
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
			}
		default:
			t.Errorf("%+v.Next(%+v) = %v", periodic, a, action)
		}
	})
}
