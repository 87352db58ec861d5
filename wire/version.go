package wire

import "strconv"

// A Version is a version of the protocol. Every frame carries it. There is no
// negotiation: all frames of a connection, in both directions, carry the same version.
type Version uint8

// The supported versions. Version 2 is version 1 with [UPD] frames.
const (
	V1 Version = 1
	V2 Version = 2
)

// String returns "v1" or "v2", or "Version(7)" for an unknown version.
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V2:
		return "v2"
	}
	return "Version(" + strconv.Itoa(int(v)) + ")"
}

// known reports whether v is V1 or V2. Because the difference wraps below 0, one
// comparison is enough.
func (v Version) known() bool { return v-V1 <= V2-V1 }
