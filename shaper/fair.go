package shaper

const (
	// DefaultQuantum is the credit that a flow of weight 1 gets in each round:
	// one frame of the default size with its header.
	DefaultQuantum = 32 << 10
	// MinQuantum and MaxQuantum bound what [WithQuantum] accepts. A quantum far
	// below a frame costs Pop several rounds a frame; one above 4 MiB would let
	// a heavy flow's credit overflow.
	MinQuantum = 1 << 10
	MaxQuantum = 4 << 20

	// maxControlRun is how many bytes of control go out ahead of as many bytes of
	// data that waits: 1,024 pairs of SYN and FIN, and at most half a default frame.
	maxControlRun = 16 << 10
	// controlQuantum is what one control turn is meant for: 64 window updates
	// with their headers. Other control flows wait no longer than that.
	controlQuantum = 1 << 10
	// maxNewRun is how many quanta of new flows' data go out in a row while an
	// old flow waits, so that streams opened without end cannot starve it.
	maxNewRun = 8
	// minTurnPart is the part of a quantum that a turn of a new flow counts for at
	// least in that, and minRestPart the part of it that makes the rest of a light
	// flow's credit worth a turn.
	minTurnPart = 16
	minRestPart = 2
	// maxDebt bounds what a single EndTurn can charge a flow.
	maxDebt = 1 << 30
)

// Fair is the default [Scheduler].
//
// Control goes first, in turns, in the order of Push, until it is 16 KiB ahead of data
// that waits. From then on data gets at least as many bytes as control.
//
// Data is shared by deficit round robin in bytes: in each round a flow may send
// its credit, a quantum times its weight, and one frame may exceed it, the debt
// being taken from the next round's credit. A flow that becomes ready joins the
// new flows, which are served before the old ones. It keeps its place at the head
// while its credit lasts and it has more to send. When the credit is used up it
// gets the next round's and goes to the tail of the old flows.
//
// A flow that runs empty leaves, but what is left of its credit is all it has
// until the old flows have moved on to another round: if it is refilled before,
// it joins the new flows if half a quantum is left, or anything and its weight is above
// 1; otherwise it waits with the old ones for the next round's credit. So a flow that
// sends less than its share goes next, one that uses it up does not, and emptying and
// refilling never gains a byte. (FQ-CoDel, whose two lists these are, leaves an
// emptied flow in the old list instead. There a small flow that is back at once
// waits a whole round, and one that empties just before its credit ends gets up to
// 1.8 times its share.)
//
// Shares are exact when each turn is settled before the next begins, or uses about
// the n it is meant for. A flow has one turn at a time, so with many short turns
// in progress, a batch of a tenth of the flows or more, heavy flows fall behind.
//
// Every operation takes constant time and allocates nothing, however many flows
// there are: a flow is visited once per quantum that it sends.
//
// The zero value is ready for use.
type Fair struct {
	control, newFlows, oldFlows list

	quantum int    // bytes; 0 until first used
	round   uint16 // of the old flows; never 0 once used

	controlRun int // bytes of control less those of data, since data last did not wait
	newRun     int // bytes of new flows' data since an old flow had a turn or did not wait

	// heavy says that a flow of more than the least weight has left in this round
	// with credit for another turn.
	heavy bool
}

var _ Batcher = (*Fair)(nil)

// A FairOption changes what [NewFair] makes.
type FairOption func(*Fair)

// WithQuantum sets the bytes that a flow of weight 1 may send in each round,
// instead of [DefaultQuantum]. It should be the size of the largest frame, header
// included: less costs more rounds a frame, more makes others wait longer.
// Values below [MinQuantum] or above [MaxQuantum] are taken as these.
func WithQuantum(bytes int) FairOption {
	return func(s *Fair) { s.quantum = min(max(bytes, MinQuantum), MaxQuantum) }
}

// NewFair returns an empty scheduler.
func NewFair(options ...FairOption) *Fair {
	s := new(Fair)
	for _, option := range options {
		option(s)
	}
	return s
}

// Push implements [Scheduler].
func (s *Fair) Push(f *Flow, c Class) {
	if c == Control {
		switch {
		case f.state.has(controlTurn):
			f.state |= controlAgain
		case !f.state.has(controlWaits):
			s.control.pushBack(f, Control)
			f.state |= controlWaits
		}
		return
	}
	switch {
	case f.state.has(dataTurn):
		f.state |= dataAgain
	case !f.state.has(dataNew | dataOld):
		s.join(f)
	}
}

// Pop implements [Scheduler]. For data, n is never below the quantum.
func (s *Fair) Pop() (f *Flow, c Class, n int) {
	dataWaits := !s.newFlows.empty() || !s.oldFlows.empty()
	if !dataWaits {
		s.controlRun = 0
	}
	if !s.control.empty() && s.controlRun < maxControlRun {
		return s.beginControlTurn(), Control, controlQuantum
	}
	if !dataWaits {
		return nil, Control, 0
	}
	f = s.beginDataTurn()
	s.controlRun -= s.quantum // as if it were all used, until the turn is settled
	if f.state.has(dataNew) {
		return f, Data, s.quantum
	}
	return f, Data, max(int(f.credit), s.quantum)
}

// EndTurn implements [Scheduler].
func (s *Fair) EndTurn(f *Flow, c Class, n int, more bool) {
	n = min(max(n, 0), maxDebt)
	if c == Control {
		if f.state.has(controlTurn) {
			s.endControlTurn(f, n, more)
		}
		return
	}
	if f.state.has(dataTurn) {
		s.endDataTurn(f, n, more)
	}
}

// Empty implements [Scheduler].
func (s *Fair) Empty() bool {
	return s.control.empty() && s.newFlows.empty() && s.oldFlows.empty()
}

// FlushDue implements [Batcher]. It is true where a round ends, if a flow of weight 2 or more
// has run empty in it that could send more. Otherwise one whose writes are shorter than
// its credit would get no more than the light ones that fill up each batch.
func (s *Fair) FlushDue() bool {
	return s.heavy && s.control.empty() && s.newFlows.empty() && !s.oldFlows.empty() && s.oldFlows.head.round == s.nextRound()
}

// beginControlTurn begins a turn of the first flow that has control to send. Turns in
// progress count as if they used their whole quantum until they are settled.
func (s *Fair) beginControlTurn() *Flow {
	f := s.control.head
	s.control.remove(f, Control)
	f.state = f.state&^controlWaits | controlTurn
	s.controlRun += controlQuantum
	return f
}

func (s *Fair) endControlTurn(f *Flow, n int, more bool) {
	more = more || f.state.has(controlAgain)
	f.state &^= controlBits
	s.controlRun = max(0, s.controlRun-controlQuantum+n)
	if more {
		s.control.pushBack(f, Control)
		f.state |= controlWaits
	}
}

// beginDataTurn begins a turn of a flow with credit. At least one flow waits.
func (s *Fair) beginDataTurn() *Flow {
	if s.oldFlows.empty() {
		s.newRun = 0
	}
	if !s.newFlows.empty() && s.newRun < maxNewRun*s.quantum {
		f := s.newFlows.head
		s.newFlows.remove(f, Data)
		f.state |= dataTurn
		s.newRun += s.quantum // as if it were all used, until the turn is settled
		return f
	}
	s.newRun = 0
	for {
		f := s.oldFlows.head
		s.oldFlows.remove(f, Data)
		// A turn out of order, between new flows, begins no round: they have not
		// had what this one gives them.
		if s.newFlows.empty() && f.round == s.nextRound() {
			s.round = f.round
			s.heavy = false
		}
		if f.credit > 0 {
			f.state |= dataTurn
			return f
		}
		s.renew(f) // its debt exceeds a round's credit
	}
}

func (s *Fair) endDataTurn(f *Flow, n int, more bool) {
	more = more || f.state.has(dataAgain)
	wasNew := f.state.has(dataNew)
	f.state &^= dataBits
	f.credit = int32(max(int(f.credit)-n, -maxDebt))
	s.controlRun = max(0, s.controlRun+s.quantum-n)
	if wasNew {
		s.newRun = max(0, s.newRun-s.quantum+max(n, s.quantum/minTurnPart))
	}
	switch {
	case !more: // it leaves; what credit it has is good for the rest of the round
		s.heavy = s.heavy || f.Weight() > 1 && s.hasUsefulCredit(f)
	case f.credit <= 0:
		s.renew(f)
	case n == 0: // it could not use its turn: the others must not wait for it
		s.wait(&s.oldFlows, f)
	case !wasNew:
		s.oldFlows.pushFront(f, Data)
		f.state |= dataOld
	case int(f.credit) > int(f.weight)*s.quantum: // still in its first quantum
		s.newFlows.pushFront(f, Data)
		f.state |= dataNew
	default: // a heavy flow: other new ones go between its further quanta
		s.wait(&s.newFlows, f)
	}
}

// join lets in a flow that becomes ready.
func (s *Fair) join(f *Flow) {
	if s.quantum == 0 {
		s.quantum = DefaultQuantum
	}
	if s.round == 0 {
		s.round = 1
	}
	share := s.share(f)
	switch f.round {
	case 0: // its first time
		f.credit = int32(share)
		f.round = s.round
	case s.round: // it has had this round's credit, and keeps the rest
	case s.nextRound(): // its last turn came before the round that its credit is for
		s.wait(&s.oldFlows, f)
		return
	default:
		missed := int64(s.round - f.round) // modulo 2^16: merely less is forgiven
		rest := int64(max(f.credit, 0))
		if s.hasUsefulCredit(f) {
			rest = 0 // it did not use that
		}
		f.credit = int32(min(int64(f.credit)+missed*int64(share), int64(share)+rest))
		f.round = s.round
	}
	if s.hasUsefulCredit(f) {
		s.wait(&s.newFlows, f)
	} else {
		s.renew(f)
	}
}

// hasUsefulCredit reports whether f, which has left or is back, has credit for another turn. A heavy
// one, which has several in a round, would lose some if it had to wait.
func (s *Fair) hasUsefulCredit(f *Flow) bool {
	return int(f.credit) >= s.quantum/minRestPart || f.credit > 0 && f.Weight() > 1
}

// renew gives f its credit for the next round, where it waits for its turn.
func (s *Fair) renew(f *Flow) {
	f.credit += int32(s.share(f))
	f.round = s.nextRound()
	s.wait(&s.oldFlows, f)
}

// wait puts f at the tail of l, which is s.newFlows or s.oldFlows.
func (s *Fair) wait(l *list, f *Flow) {
	l.pushBack(f, Data)
	f.state &^= dataNew | dataOld
	if l == &s.newFlows {
		f.state |= dataNew
	} else {
		f.state |= dataOld
	}
}

// share is the credit of f for one round.
func (s *Fair) share(f *Flow) int { return f.Weight() * s.quantum }

// nextRound is the round after this one. 0 is left out: it means never.
func (s *Fair) nextRound() uint16 {
	if s.round == 1<<16-1 {
		return 1
	}
	return s.round + 1
}
