package session

import (
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// quietFor is for how long nothing may have arrived when the reader's goroutine is renewed.
const quietFor = time.Second

// renewReader has a new goroutine read, if the session was used since there was one and is quiet now. The stack of a
// goroutine grows when it handles the frames of streams, and never becomes as small as that of a new one.
func (t *keepaliveTimer) renewReader(a keepalive.Activity) {
	if a.Now-a.LastReceived < quietFor || !t.takeUsed() {
		return
	}
	t.s.transport.renew()
}

// takeUsed reports whether frames of streams have arrived since it last did.
func (t *keepaliveTimer) takeUsed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.s.stats.framesReceived.Load() - t.overhead.Load()
	if used == t.used || t.state == keepaliveStopped {
		return false
	}
	t.used = used
	return true
}
