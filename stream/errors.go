package stream

import "errors"

// ErrPeerClosed is why a Write fails once the peer is known to have closed both
// directions: what is written can reach nobody. The protocol tells in two ways:
// by a second FIN, and by a FIN that answers data.
var ErrPeerClosed = errors.New("stream closed by peer")

// ErrStalled is why Reads and Writes fail on a stream that its session has aborted: it held
// unread data, for which others had no room left, and its reader took none of it.
var ErrStalled = errors.New("stream aborted: its data was not read")
