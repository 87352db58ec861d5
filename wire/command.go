package wire

import "strconv"

// A Command is the type of a frame.
type Command uint8

// The commands. All except [PSH] are control frames. Of these only [UPD] has a payload.
const (
	SYN Command = 0 // opens a stream
	FIN Command = 1 // the sender writes no more on the stream
	PSH Command = 2 // data of a stream; may be empty
	NOP Command = 3 // keep-alive; its stream id is 0
	UPD Command = 4 // [WindowUpdate] of a stream; version 2 only
)

// String returns the command's name in capitals, or "Command(9)" for an unknown command.
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
