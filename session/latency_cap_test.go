package session

import (
	"math"
	"testing"
	"time"
)

// A cap holds until its time, however old the session is.
func TestWindowCapHoldsUntilItsTime(t *testing.T) {
	const day = 24 * time.Hour
	var w cappedWindows
	if got := w.WindowCap(0); got != 0 {
		t.Errorf("WindowCap = %d without one", got)
	}
	for _, until := range []time.Duration{90 * time.Minute, 51 * day, 3653 * day} {
		for _, tt := range []struct {
			limit int
			now   time.Duration
			want  int
		}{
			{24 << 10, 0, 24 << 10},
			{24<<10 + 1023, until - 1, 24<<10 + 1023},
			{24 << 10, until, 0},
			{24 << 10, until + time.Hour, 0},
			{0, 0, 0},
			{-1, 0, 0},
			{math.MaxInt, 0, math.MaxInt},
		} {
			w.setCap(tt.limit, until)
			if got := w.WindowCap(tt.now); got != tt.want {
				t.Errorf("setCap(%d, %v); WindowCap(%v) = %d, want %d", tt.limit, until, tt.now, got, tt.want)
			}
		}
	}
}
