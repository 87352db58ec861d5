package session

import (
	"sync/atomic"
	"time"
)

// An activityClock tells the time since the session began, and when its transport was last used.
// All methods may be called concurrently.
type activityClock struct {
	begin          time.Time
	sent, received atomic.Int64 // when bytes last went, in nanoseconds since begin

	// The session leaves its transport unread for a while when it has to wait for something else.
	paused  atomic.Bool
	resumed atomic.Int64 // when it last read on
}

// now returns the time since the session began.
func (c *activityClock) now() time.Duration { return time.Since(c.begin) }

func (c *activityClock) noteSent()     { c.sent.Store(int64(c.now())) }
func (c *activityClock) noteReceived() { c.received.Store(int64(c.now())) }

// lastSent and lastReceived return when bytes last went.
func (c *activityClock) lastSent() time.Duration     { return time.Duration(c.sent.Load()) }
func (c *activityClock) lastReceived() time.Duration { return time.Duration(c.received.Load()) }

// pauseReading notes that the transport is not read from now on, and resumeReading that it is again.
func (c *activityClock) pauseReading() { c.paused.Store(true) }

func (c *activityClock) resumeReading() {
	c.resumed.Store(int64(c.now()))
	c.paused.Store(false) // last: whoever finds reading resumed finds since when
}

// readPaused reports whether the transport is left unread, and lastResumed when it was last read again.
func (c *activityClock) readPaused() bool           { return c.paused.Load() }
func (c *activityClock) lastResumed() time.Duration { return time.Duration(c.resumed.Load()) }

// quiet returns for how long nothing has been received while the transport was read.
func (c *activityClock) quiet() time.Duration {
	if c.readPaused() {
		return 0
	}
	return c.now() - max(c.lastResumed(), c.lastReceived())
}
