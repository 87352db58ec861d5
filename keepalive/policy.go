package keepalive

import (
	"strconv"
	"time"
)

// A Policy decides when a session sends a probe and when it gives up. [Periodic],
// [ProbeOnly] and [Off] are policies.
//
// Sessions that are made with one configuration share its policy, and may call it
// concurrently, so a policy with state must guard it. A policy does not know which
// session calls: if its state is about one peer, each session needs a policy of its
// own.
type Policy interface {
	// Next returns what to do now, and the time until the session should call
	// Next again; 0 means never. A session calls Next from one goroutine at a
	// time: at first when it begins to use the policy, and then whenever that
	// time is over, or earlier. If Next returns GiveUp, the session first lets its
	// reader run. If that has received something, or if it took long because all
	// processors were busy, the session calls Next again, and the second answer
	// counts. Next must not block. It may call the session. If
	// it ends its goroutine (runtime.Goexit), the session ends.
	Next(a Activity) (Action, time.Duration)
}

// Activity is what a [Policy] knows of a session. All times are monotonic and count from
// the session's start, so the zero value describes a session at its start.
type Activity struct {
	// Now is the time of the call of Next.
	Now time.Duration
	// LastSent is when the transport last accepted bytes of any kind, also of a
	// part of a frame. It is 0 if it never did.
	LastSent time.Duration
	// LastReceived is when bytes of any kind last arrived, also of a part of a
	// frame. It is 0 if none ever did. It is Now if bytes lie unread in a socket
	// of Linux because the session's reader does not get a processor.
	LastReceived time.Duration

	// ReadPaused reports whether the session has paused reading the transport:
	// its receive budget or its receive rate is used up, or refusals of streams
	// wait to be sent. The peer may be sending.
	ReadPaused bool
	// ReadResumed is when the session last read again after a pause. It is 0 if
	// there was no pause.
	ReadResumed time.Duration

	// LastNOP is when a NOP of the peer last arrived. It is 0 if none ever did:
	// some peers never send one.
	LastNOP time.Duration
	// NOPGap is the time between the last two NOPs of the peer, or between the
	// session's start and its only one. It is 0 if no NOP ever arrived.
	NOPGap time.Duration

	// LastEcho is when the peer last answered a ping. It is 0 if it never did:
	// some peers never do.
	LastEcho time.Duration
	// PingSent is when the ping that the peer has not answered yet was handed to
	// the transport. It is 0 if there is none.
	PingSent time.Duration
	// RTT is the round-trip time that the last answered ping has measured, or 0
	// if there is none.
	RTT time.Duration

	// LastAcked is when the other end of the transport last acknowledged
	// something, as far as this side's end of it can tell, and 0 if that cannot
	// tell. Over TCP, it is the kernel that knows. It speaks for the host at the
	// other end of this TCP connection, which may be a proxy, and for no process:
	// a kernel acknowledges what a stopped process will never read. While the
	// window of a TCP connection is closed, the kernel asks the other end from
	// time to time by itself, and LastAcked is Now unless such a question is
	// unanswered.
	LastAcked time.Duration

	// Began is when the session began to use this policy. It is 0 for the policy
	// with which the session was made.
	Began time.Duration

	// Due is when this call of Next was due by the previous answer, or 0 if
	// unknown. If Now is much later, this process did not run meanwhile, and
	// what the peer sent is still unread.
	Due time.Duration

	// Streams is the number of open streams.
	Streams int
}

// An Action is what a session is to do.
type Action uint8

const (
	// None means to do nothing.
	None Action = iota
	// Probe means to send a NOP, which the peer ignores. If an earlier NOP has
	// not been sent yet, no other one is needed.
	Probe
	// Ping means to send a ping, which some peers answer. If an earlier ping is
	// unanswered, or the session is closing, it means Probe.
	Ping
	// GiveUp means to end the session: the peer is considered dead.
	GiveUp
)

// String returns "none", "probe", "ping" or "give up", or "action 7" for an unknown
// Action.
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Probe:
		return "probe"
	case Ping:
		return "ping"
	case GiveUp:
		return "give up"
	}
	return "action " + strconv.Itoa(int(a))
}
