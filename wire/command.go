package wire

import "strconv"

// Command says what a frame is for.
type Command uint8

// The commands. All but [PSH] are control frames; of those, only [UPD] has a
// payload.
const (
	SYN Command = 0 // opens a stream
	FIN Command = 1 // the sender writes no more on a stream
	PSH Command = 2 // data of a stream; an empty one is legal and means nothing
	NOP Command = 3 // keep-alive; its stream id is 0
	UPD Command = 4 // a stream's [WindowUpdate]; version 2 only
)

// String returns the command's name in capitals, or "Command(9)" for one that
// is unknown.
func (c Command) String() string {
	switch c {
	case SYN:
		return "SYN"
	case FIN:
		return "FIN"
	case PSH:
		return "PSH"
	case NOP:
		return "NOP"
	case UPD:
		return "UPD"
	}
	return "Command(" + strconv.Itoa(int(c)) + ")"
}
