package shaper

// MaxWeight is the largest weight of a flow.
const MaxWeight = 256

// A Flow is one sender's place in a [Scheduler]. It is meant to be a field of
// what it stands for, which Owner leads back to. The zero value is ready for use
// and has weight 1. A Flow must not be copied while a scheduler knows it.
//
// The lock that guards the scheduler guards the Flow as well.
type Flow struct {
	// Owner is for the scheduler's owner alone: what this flow belongs to.
	Owner any

	node   [2]node // by class
	credit int32   // bytes of data that may still be sent in this round; below zero is debt
	round  uint16  // the round that credit was given for; 0 is never
	weight uint8   // less one, so that the zero value is weight 1
	state  state
}

// SetWeight sets f's share of the data bytes relative to the other flows:
// twice the weight, twice the bytes while both have more to send. It is 1 until
// set; values below 1 count as 1, values above [MaxWeight] as MaxWeight. It takes
// effect from the flow's next credit. It may be called at any time, under the
// lock that guards the scheduler.
func (f *Flow) SetWeight(w int) {
	f.weight = uint8(min(max(w, 1), MaxWeight) - 1)
}

// Weight returns f's weight, 1 to [MaxWeight].
func (f *Flow) Weight() int { return int(f.weight) + 1 }

// state holds, for each class, where a flow is.
//
// Control: none -> controlWaits -> (Pop) controlTurn -> (EndTurn) none or controlWaits.
// Data: none -> dataNew or dataOld -> (Pop) the same and dataTurn -> (EndTurn) none,
// or dataNew or dataOld.
type state uint8

const (
	controlWaits state = 1 << iota // in the control list
	controlTurn                    // popped, not yet settled
	controlAgain                   // pushed since it was popped
	dataNew                        // in the list of new flows, or popped from it
	dataOld                        // in the list of old flows, or popped from it
	dataTurn                       // popped from that list, not yet settled
	dataAgain                      // pushed since it was popped

	controlBits = controlWaits | controlTurn | controlAgain
	dataBits    = dataNew | dataOld | dataTurn | dataAgain
)

func (s state) has(bits state) bool { return s&bits != 0 }
