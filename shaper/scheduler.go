package shaper

import "strconv"

// Class says which of its two queues a flow waits in.
type Class uint8

const (
	// Control is for the few small frames that others wait for: SYN, NOP and
	// window updates.
	Control Class = iota
	// Data is for payload, and for the FIN that must not overtake it.
	Data
)

// String returns "control" or "data".
func (c Class) String() string {
	switch c {
	case Control:
		return "control"
	case Data:
		return "data"
	}
	return "class " + strconv.Itoa(int(c))
}

// A Scheduler orders the turns of many flows on one transport.
//
// It is driven under one lock that its owner holds during every call; it is not
// safe for concurrent use, and its methods neither block nor call the owner: a
// scheduler that calls its session, or a stream of it, waits for itself for ever. The lock
// may be released between a Pop and its EndTurn: that is a turn in progress. Any
// number of turns may be in progress at once, of different flows or of the two
// classes of one flow, and they may be settled in any order.
//
// A flow is in one scheduler at a time.
type Scheduler interface {
	// Push says that f has something to send in class c. It changes nothing if
	// f waits in c already. During a turn of f in c it makes the scheduler treat
	// the turn's EndTurn as if more were true.
	Push(f *Flow, c Class)

	// Pop begins a turn: f may now send in class c. It returns a nil flow if
	// nobody waits; flows whose turn is in progress do not wait.
	//
	// n, above zero, is how many bytes the turn is meant for, frame headers
	// included. The owner cuts it to what it wants to send at once, and sends at
	// least one whole frame however small n is: what exceeds n is charged to
	// later turns.
	Pop() (f *Flow, c Class, n int)

	// EndTurn ends the turn that Pop began for f in class c: n bytes were sent,
	// headers included, and f has more to send in c or it has not. A frame
	// without payload still costs its header. n = 0 says that f could not use
	// its turn, and passes it on. With n = 0 and more false the flow of a closed
	// stream leaves the scheduler.
	//
	// It does nothing if no such turn is in progress.
	EndTurn(f *Flow, c Class, n int, more bool)

	// Empty reports whether Pop would return no flow.
	Empty() bool
}

// A Batcher is a Scheduler that has a say in what is sent together.
type Batcher interface {
	Scheduler

	// FlushDue reports whether what was collected so far should be sent before the
	// next Pop: a flow may be back by then that ought to go before those that wait.
	// An owner that sends batches asks before each Pop but the first of a batch.
	FlushDue() bool
}
