package shaper

import "strconv"

// A Class is one of the two queues that a flow can wait in.
type Class uint8

const (
	// Control is for small frames that a peer or another stream waits for: SYN, NOP
	// and window updates.
	Control Class = iota
	// Data is for payload, and for the FIN, which must not overtake payload.
	Data
)

// String returns "control" or "data", or "class 7" for an unknown Class.
func (c Class) String() string {
	switch c {
	case Control:
		return "control"
	case Data:
		return "data"
	}
	return "class " + strconv.Itoa(int(c))
}

// A Scheduler orders the turns of many flows on one transport. [Fair] is the default
// one.
//
// A Scheduler is not safe for concurrent use: its owner holds one lock during every
// call. The methods must not block, and must not call the session or its streams, which
// would deadlock.
//
// A turn begins with Pop and ends with EndTurn. The owner may release the lock during a
// turn. Several turns may be in progress at once, of different flows or of the two
// classes of one flow, and they may end in any order.
//
// A flow is in one scheduler at a time.
type Scheduler interface {
	// Push queues f, which has something to send in class c. It changes nothing if
	// f waits in c already. During a turn of f in c, Push has the same effect as
	// more in the EndTurn of that turn.
	Push(f *Flow, c Class)

	// Pop begins a turn: f may now send in class c. It returns a nil flow if no
	// flow waits. A flow whose turn is in progress does not wait.
	//
	// n is the size of the turn in bytes, frame headers included, and is at least
	// 1. The owner may send less. It sends at least one whole frame, even if n is
	// smaller; what exceeds n is charged to later turns.
	Pop() (f *Flow, c Class, n int)

	// EndTurn ends the turn that Pop began for f in class c. n is how many bytes
	// were sent, headers included; more reports whether f has more to send in c.
	// With n = 0 the flow passes its turn on. If more is false, and f was not
	// pushed during the turn, f leaves the scheduler; so the flow of a closed
	// stream leaves with n = 0 at its next turn.
	//
	// EndTurn does nothing if no such turn is in progress.
	EndTurn(f *Flow, c Class, n int, more bool)

	// Empty reports whether Pop would return no flow.
	Empty() bool
}

// A Batcher is a [Scheduler] that decides where a batch of frames ends.
type Batcher interface {
	Scheduler

	// FlushDue reports whether the frames collected so far should be sent before
	// the next Pop. Meanwhile a flow may be pushed that should go before those
	// that wait. An owner that sends batches calls FlushDue before each Pop except
	// the first of a batch.
	FlushDue() bool
}
