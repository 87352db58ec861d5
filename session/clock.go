package session

import (
	"sync/atomic"
	"time"
)

// An activityClock tells the time since the session began, and when the session last sent and received. All methods
// may be called concurrently.
type activityClock struct {
	begin          time.Time
	sent, received atomic.Int64 // when bytes were last sent and received, in nanoseconds since begin

	// The reader pauses while it waits for something other than data: then silence says nothing about the peer.
	paused  atomic.Bool
	resumed atomic.Int64 // when it last resumed, in nanoseconds since begin
}

// now returns the time since the session began.
func (c *activityClock) now() time.Duration { return time.Since(c.begin) }

func (c *activityClock) noteSent()     { c.sent.Store(int64(c.now())) }
func (c *activityClock) noteReceived() { c.received.Store(int64(c.now())) }

// lastSent and lastReceived return when bytes were last sent and received.
func (c *activityClock) lastSent() time.Duration     { return time.Duration(c.sent.Load()) }
func (c *activityClock) lastReceived() time.Duration { return time.Duration(c.received.Load()) }

// pauseReading notes that the reader pauses, and resumeReading that it resumes.
func (c *activityClock) pauseReading() { c.paused.Store(true) }

func (c *activityClock) resumeReading() {
	c.resumed.Store(int64(c.now()))
	c.paused.Store(false) // last: if readPaused returns false, lastResumed returns this time
}

// readPaused reports whether the reader pauses. lastResumed returns when it last resumed.
func (c *activityClock) readPaused() bool           { return c.paused.Load() }
func (c *activityClock) lastResumed() time.Duration { return time.Duration(c.resumed.Load()) }

// quiet returns for how long nothing has been received although the transport was read.
func (c *activityClock) quiet() time.Duration {
	if c.readPaused() {
		return 0
	}
	return c.now() - max(c.lastResumed(), c.lastReceived())
}

// sleep waits for d and returns true. If over is closed before that, it returns false at once.
func sleep(d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
