package shaper

// MaxWeight is the largest weight of a [Flow].
const MaxWeight = 256

// A Flow is one sender's place in a [Scheduler]. It is usually a field of the sender,
// and Owner points back to the sender. The zero value is ready for use and has weight 1.
// A Flow must not be copied while it is in a scheduler.
//
// The lock that guards the scheduler guards the Flow as well.
type Flow struct {
	// Owner is the sender. No scheduler of this package uses it.
	Owner any

	next   [2]*Flow // the flow behind this one in a list, by class
	credit int32    // bytes of data that may still be sent in this round; negative: debt
	round  uint16   // the round of the last credit; 0: none yet
	weight uint8    // minus 1, so that the zero value is weight 1
	state  state
}

// SetWeight sets f's share of the data bytes relative to other flows: a flow of twice
// the weight gets twice the bytes while both have more to send. The default is 1. Values
// below 1 count as 1, values above [MaxWeight] as MaxWeight. The weight takes effect with
// the flow's next credit. SetWeight may be called at any time, with the lock that guards
// the scheduler held.
func (f *Flow) SetWeight(w int) {
	f.weight = uint8(min(max(w, 1), MaxWeight) - 1)
}

// Weight returns f's weight, 1 to [MaxWeight].
func (f *Flow) Weight() int { return int(f.weight) + 1 }

// state holds, for each class, where a flow is.
//
//	control: none --Push--> controlWaits --Pop--> controlTurn --EndTurn--> none or controlWaits
//	data:    none --Push--> dataNew or dataOld --Pop--> the same with dataTurn
//	         --EndTurn--> none, dataNew or dataOld
type state uint8

const (
	controlWaits state = 1 << iota // in the control list
	controlTurn                    // popped, turn not ended
	controlAgain                   // pushed since it was popped
	dataNew                        // in the list of new flows, or popped from it
	dataOld                        // in the list of old flows, or popped from it
	dataTurn                       // popped from that list, turn not ended
	dataAgain                      // pushed since it was popped

	controlBits = controlWaits | controlTurn | controlAgain
	dataBits    = dataNew | dataOld | dataTurn | dataAgain
)

func (s state) has(bits state) bool { return s&bits != 0 }
