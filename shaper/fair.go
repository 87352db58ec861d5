package shaper

const (
	// DefaultQuantum is the credit in bytes that a flow of weight 1 gets in each
	// round: one frame of the default size with its header.
	DefaultQuantum = 32 << 10
	// MinQuantum and MaxQuantum bound the quantum of [WithQuantum]. A quantum far
	// below the size of a frame costs Pop several rounds per frame. Above 4 MiB the
	// credit of a heavy flow would overflow.
	MinQuantum = 1 << 10
	MaxQuantum = 4 << 20

	// maxControlRun is how many bytes control may be ahead of data that waits:
	// 1,024 pairs of SYN and FIN. That is at most half a default frame.
	maxControlRun = 16 << 10
	// controlQuantum is the size of a control turn: 64 window updates with their
	// headers.
	controlQuantum = 1 << 10
	// maxNewRun is how many quanta of data new flows may send in a row while an old
	// flow waits. So a flood of new streams cannot starve old ones.
	maxNewRun = 8
	// A turn of a new flow counts in that for at least 1/minTurnPart of a quantum.
	// A light flow's credit is useful from 1/minRestPart of a quantum on.
	minTurnPart = 16
	minRestPart = 2
	// maxDebt bounds the bytes that one EndTurn charges to a flow.
	maxDebt = 1 << 30
)

// Fair is the default [Scheduler].
//
// Control flows go first, in the order of Push, until they are 16 KiB ahead of data
// that waits. From then on data gets at least as many bytes as control.
//
// Data is shared by deficit round robin in bytes. In each round a flow may send its
// credit, which is a quantum times its weight. One frame may exceed the credit; the debt
// is taken from the next round's credit. There are two lists of flows: new flows are
// served before old ones. A flow that becomes ready joins the new flows. It keeps its
// place at the head while it has credit and more to send. When its credit is used up, it
// gets the credit of the next round and goes to the tail of the old flows.
//
// A flow that has nothing more to send leaves, and keeps the rest of its credit. It gets
// no other credit until the old flows have begun another round. If it is pushed before
// that, it joins the new flows if half a quantum is left, or if anything is left and its
// weight is above 1. Otherwise it waits with the old flows for the next round's credit.
// So a flow that sends less than its share goes next, a flow that uses up its share does
// not, and leaving and coming back never gains a byte. (The two lists are those of
// FQ-CoDel, RFC 8290, which leaves an empty flow in the old list instead. There a small
// flow that comes back at once waits a whole round, and a flow that leaves just before
// its credit ends gets up to 1.8 times its share.)
//
// Shares are exact if each turn ends before the next begins, or uses about its n bytes.
// A flow has one turn at a time. So if many short turns are in progress at once, of a
// tenth of the flows or more, heavy flows get less than their share.
//
// Every operation takes constant time and allocates nothing. A flow is visited once per
// quantum that it sends, whatever the number of flows.
//
// The zero value is ready for use.
type Fair struct {
	control, newFlows, oldFlows list

	quantum int    // bytes; 0 until first used
	round   uint16 // of the old flows; 0 until first used
	// heavyLeft: a flow of weight 2 or more has left in this round with useful credit.
	heavyLeft bool

	controlRun int // bytes of control minus bytes of data, since no data waited
	newRun     int // bytes of new flows' data, since an old flow had a turn or none waited
}

var _ Batcher = (*Fair)(nil)

// A FairOption configures the scheduler that [NewFair] returns.
type FairOption func(*Fair)

// WithQuantum sets the bytes that a flow of weight 1 may send in each round. The default
// is [DefaultQuantum]. It should be the size of the largest frame, header included: a
// smaller quantum costs more rounds per frame, a larger one makes other flows wait
// longer. Values below [MinQuantum] count as MinQuantum, values above [MaxQuantum] as
// MaxQuantum.
func WithQuantum(bytes int) FairOption {
	return func(s *Fair) { s.quantum = min(max(bytes, MinQuantum), MaxQuantum) }
}

// NewFair returns an empty [Fair] scheduler.
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
	s.controlRun -= s.quantum // a turn counts as a quantum until it ends
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

// FlushDue implements [Batcher]. It returns true at the end of a round in which a flow of
// weight 2 or more has left with useful credit. Without this flush, a heavy flow whose
// writes are shorter than its credit would get no more than the light flows that fill up
// each batch.
func (s *Fair) FlushDue() bool {
	return s.heavyLeft && s.control.empty() && s.newFlows.empty() && !s.oldFlows.empty() && s.oldFlows.head.round == s.nextRound()
}

// beginControlTurn begins a turn of the first flow that has control to send. A turn
// counts as a whole controlQuantum until it ends.
func (s *Fair) beginControlTurn() *Flow {
	f := s.control.popFront(Control)
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

// beginDataTurn begins a turn of a flow with credit. At least one flow must wait.
func (s *Fair) beginDataTurn() *Flow {
	if s.oldFlows.empty() {
		s.newRun = 0
	}
	if !s.newFlows.empty() && s.newRun < maxNewRun*s.quantum {
		f := s.newFlows.popFront(Data)
		f.state |= dataTurn
		s.newRun += s.quantum // a turn counts as a quantum until it ends
		return f
	}
	s.newRun = 0
	for {
		f := s.oldFlows.popFront(Data)
		// A turn between those of new flows, after maxNewRun, begins no round: new
		// flows still have the credit of this one.
		if s.newFlows.empty() && f.round == s.nextRound() {
			s.round = f.round
			s.heavyLeft = false
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
	case !more: // it leaves, and keeps its credit for the rest of the round
		s.heavyLeft = s.heavyLeft || f.Weight() > 1 && s.hasUsefulCredit(f)
	case f.credit <= 0:
		s.renew(f)
	case n == 0: // it passes its turn on
		s.wait(&s.oldFlows, f)
	case !wasNew:
		s.oldFlows.pushFront(f, Data)
		f.state |= dataOld
	case int(f.credit) > int(f.weight)*s.quantum: // still in its first quantum (weight is minus 1)
		s.newFlows.pushFront(f, Data)
		f.state |= dataNew
	default: // a heavy flow: other new flows go between its further quanta
		s.wait(&s.newFlows, f)
	}
}

// join adds a flow that becomes ready to one of the two lists.
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
	case s.round: // it has the rest of this round's credit
	case s.nextRound(): // it left before the round of its credit began
		s.wait(&s.oldFlows, f)
		return
	default:
		missed := int64(s.round - f.round) // modulo 2^16: at worst less debt is forgiven
		rest := int64(max(f.credit, 0))
		if s.hasUsefulCredit(f) {
			rest = 0 // unused credit ends with its round
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

// hasUsefulCredit reports whether the credit of f is enough for another turn in this
// round. A heavy flow has several turns in a round and would lose some if it had to wait.
func (s *Fair) hasUsefulCredit(f *Flow) bool {
	return int(f.credit) >= s.quantum/minRestPart || f.credit > 0 && f.Weight() > 1
}

// renew gives f its credit for the next round, and puts it at the tail of the old flows.
func (s *Fair) renew(f *Flow) {
	f.credit += int32(s.share(f))
	f.round = s.nextRound()
	s.wait(&s.oldFlows, f)
}

// wait puts f at the tail of l, which is newFlows or oldFlows.
func (s *Fair) wait(l *list, f *Flow) {
	l.pushBack(f, Data)
	f.state &^= dataNew | dataOld
	if l == &s.newFlows {
		f.state |= dataNew
	} else {
		f.state |= dataOld
	}
}

// share returns the credit of f for one round.
func (s *Fair) share(f *Flow) int { return f.Weight() * s.quantum }

// nextRound returns the round after this one. It skips 0, which means no round.
func (s *Fair) nextRound() uint16 {
	if s.round == 1<<16-1 {
		return 1
	}
	return s.round + 1
}
