package stream

import "errors"

// ErrPeerClosed is returned by Write once the peer has closed both directions of the stream: nobody would read the
// data. The peer's second FIN says so, and with [Shared].NoHalfClose its first. Write also returns ErrPeerClosed if the
// peer has sent one FIN and no window update since, and data has waited for the peer's window for [Shared].Linger.
var ErrPeerClosed = errors.New("stream: closed by peer")

// ErrStalled is returned by Read and Write after the session has aborted the stream. The stream held unread data
// that its reader did not take, and other streams had no room left for theirs.
var ErrStalled = errors.New("stream: aborted, because its data was not read")
