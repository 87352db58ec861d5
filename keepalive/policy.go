package keepalive

import (
	"strconv"
	"time"
)

// A Policy decides about one session, or about several: sessions that are made with
// one configuration share its policy, and may ask it at the same time. A policy that
// has state must guard it then. It is not told which session asks, so one whose state
// is about one peer needs a configuration for each session.
type Policy interface {
	// Next says what to do now, and after how long to ask again: 0 is never.
	// A session asks from one goroutine at a time, at its start and then
	// whenever the time is up; it may ask earlier. Next must not block. It may
	// call the session.
	Next(a Activity) (Action, time.Duration)
}

// Activity is what a policy knows of a session. All times are monotonic and
// counted from the session's start, so the zero value describes a session at its
// start.
type Activity struct {
	// Now is the time of the question.
	Now time.Duration
	// LastSent is when the transport last took bytes from us, of whatever kind
	// and be it a part of a frame. 0 if it never did.
	LastSent time.Duration
	// LastReceived is when bytes last came, of whatever kind and be it a part of
	// a frame. 0 if none ever did.
	LastReceived time.Duration

	// ReadPaused says that we do not read the transport, because as much as we
	// may hold is waiting for the application: the peer may well be sending.
	ReadPaused bool
	// ReadResumed is when reading last went on after a pause. 0 if it never
	// paused.
	ReadResumed time.Duration

	// Due is when this question was to be asked, by the previous answer. A
	// question that comes much later says that this process did not run
	// meanwhile, so that what the peer sent is still unread. 0 if unknown.
	Due time.Duration

	// Streams is the number of open streams.
	Streams int
}

// Action is what a policy wants done.
type Action uint8

const (
	// None is to do nothing.
	None Action = iota
	// Probe is to send something that the peer notices and ignores: a NOP. If an
	// earlier one has not gone out yet, that one will do.
	Probe
	// GiveUp is to end the session, because its peer is taken for dead.
	GiveUp
)

// String returns "none", "probe" or "give up".
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Probe:
		return "probe"
	case GiveUp:
		return "give up"
	}
	return "action " + strconv.Itoa(int(a))
}
