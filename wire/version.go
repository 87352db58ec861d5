package wire

import "strconv"

// Version is the protocol version that every frame carries. There is no
// negotiation: all frames of a connection, both ways, carry the same one.
type Version uint8

// The versions that are spoken. Version 2 is version 1 with [UPD] frames.
const (
	V1 Version = 1
	V2 Version = 2
)

// String returns "v1" or "v2", or "Version(7)" for a version that is neither.
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V2:
		return "v2"
	}
	return "Version(" + strconv.Itoa(int(v)) + ")"
}

// known reports whether v is a version that is spoken. Wrapping below 0 makes
// it one comparison.
func (v Version) known() bool { return v-V1 <= V2-V1 }
