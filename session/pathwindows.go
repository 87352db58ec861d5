package session

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// pathWindows is the flow.Allocator of a session: its budget, and the round trip of its transport.
type pathWindows struct {
	*flow.Account
	s *Session
}

// PathRTT implements [flow.PathReporter]. Its caller holds the lock of a stream, so it calls nothing of the user's.
func (w *pathWindows) PathRTT() time.Duration {
	if onOneHost(w.s.shared.LocalAddr, w.s.shared.RemoteAddr) {
		return 0 // a round trip within this machine is of no use
	}
	return w.s.transport.pathRTT()
}
