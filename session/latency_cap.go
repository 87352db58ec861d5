package session

import (
	"sync/atomic"
	"time"
)

// cappedWindows is the flow.Allocator of a session that lowers the windows of bulk data while short messages
// share the transport with it.
type cappedWindows struct {
	pathWindows
	limit atomic.Int64 // bytes
	until atomic.Int64 // nanoseconds of the session's clock
}

// setCap limits windows until the time until. A limit of 0 is no limit.
func (w *cappedWindows) setCap(limit int, until time.Duration) {
	w.limit.Store(int64(max(limit, 0)))
	w.until.Store(int64(until)) // last, so that until does not extend an earlier limit
}

// WindowCap implements [flow.WindowCapper]. It returns the limit of the last setCap if that is in force at the
// time now, and 0 otherwise.
func (w *cappedWindows) WindowCap(now time.Duration) int {
	if int64(now) >= w.until.Load() {
		return 0
	}
	return int(w.limit.Load())
}
