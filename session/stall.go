package session

import "time"

// A StallPolicy says what to do when the session does not read its transport because
// all it may hold is unread: what has been read already must be taken first, and
// whoever should take it may never do so.
type StallPolicy interface {
	// Patience is how long to wait before the stream that holds most unread bytes is
	// aborted, and between it and the next one. 0 is for ever.
	Patience() time.Duration
}

// Wait is the default StallPolicy: nothing is done, as nothing is by any deployed peer.
var Wait StallPolicy = patience(0)

// Abort is the StallPolicy that aborts a stream once nothing has been taken from it, and
// nothing could be read from the transport, for that long: the one that holds most
// unread bytes. Its Reads and Writes fail with stream.ErrStalled, its peer gets what it
// gets when a stream is closed, and Config.OnEvent is told. The other streams go on. Less
// than a millisecond is taken for a millisecond.
func Abort(after time.Duration) StallPolicy { return patience(max(after, time.Millisecond)) }

type patience time.Duration

func (p patience) Patience() time.Duration { return time.Duration(p) }

// Event is something that has happened in a session and that no call reports.
type Event struct {
	Kind    EventKind
	Session *Session
	// StreamID and Unread are of the stream concerned: its id, and how many unread
	// bytes were thrown away.
	StreamID uint32
	Unread   int
}

// EventKind is what has happened.
type EventKind uint8

// StreamAborted: the StallPolicy had a stream aborted.
const StreamAborted EventKind = 1

func (k EventKind) String() string {
	if k == StreamAborted {
		return "stream aborted"
	}
	return "unknown event"
}

// watchStall does what the policy says while the transport is not read, which begins now and
// lasts until stop is called.
func (s *Session) watchStall() (stop func()) {
	after := s.config.StallPolicy.Patience()
	if after <= 0 {
		return func() {}
	}
	over := make(chan struct{})
	go func() {
		// What each stream holds is counted a moment later, as most stalls are
		// short and there may be very many streams.
		settle := max(min(after/10, 10*time.Millisecond), time.Microsecond)
		for sleep(settle, over) {
			unread := make(map[*member]int)
			for _, m := range s.snapshot() {
				if n := m.port.Unread(); n > 0 {
					unread[m] = n
				}
			}
			if sleep(after-settle, over) {
				s.abortFullest(unread)
			}
		}
	}()
	return func() { close(over) }
}

// sleep waits for d, and reports false at once if over is closed before.
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

// abortFullest aborts the stream that holds most of those that hold what they did.
func (s *Session) abortFullest(waiting map[*member]int) {
	var fullest *member
	for m, n := range waiting {
		if m.port.Unread() == n && (fullest == nil || n > waiting[fullest]) {
			fullest = m
		}
	}
	if fullest == nil {
		return
	}
	id := fullest.port.Stream().ID()
	dropped := fullest.port.Fail()
	s.log("stream aborted: its reader took nothing while the receive buffer was full", "stream", id, "unread", dropped)
	if f := s.config.OnEvent; f != nil {
		f(Event{Kind: StreamAborted, Session: s, StreamID: id, Unread: dropped})
	}
}
