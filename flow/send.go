package flow

// InitialWindow is how many bytes a peer may send on a new stream before it has received
// a window update. All deployed peers assume this number.
const InitialWindow = 262144

// A SendWindow counts how many bytes may be sent on one stream. The zero value is the
// window of a new stream: [InitialWindow] bytes.
//
// A sender that has more data than Available should send exactly Available bytes, even if
// that makes the last frame short. From such a frame the receiver learns that the sender
// waits for its window.
//
// A SendWindow is not safe for concurrent use. No method blocks. No method allocates,
// except Update for its error.
type SendWindow struct {
	sent     uint32 // bytes sent, modulo 2^32
	consumed uint32 // bytes that the peer's application has read, modulo 2^32
	window   biased // of the last update
}

// Available returns how many bytes may be sent now. It is never negative.
//
// The protocol compares in signed 32-bit arithmetic: a window of 2^31 or more counts as
// negative and stops the stream.
func (w *SendWindow) Available() int {
	return int(max(0, int64(int32(w.window.value()))-int64(w.sent-w.consumed)))
}

// Sent returns how many bytes were sent, modulo 2^32.
func (w *SendWindow) Sent() uint32 { return w.sent }

// AddSent records that n bytes were sent, where 0 <= n <= Available.
func (w *SendWindow) AddSent(n int) { w.sent += uint32(n) }

// Update applies a window update from the peer: its application has read consumed bytes of
// the stream (modulo 2^32), and window bytes beyond those may be sent. The window may be
// smaller than the one before; Available can then be 0 until the peer has read enough.
// Update ignores an update that is older than the last one. If the peer claims to have
// read bytes that were never sent, the error is a [*ConsumedError], and the window is
// unchanged.
func (w *SendWindow) Update(consumed, window uint32) error {
	if int32(w.sent-consumed) < 0 {
		return &ConsumedError{Consumed: consumed, Sent: w.sent}
	}
	if int32(consumed-w.consumed) < 0 {
		return nil // older than the last one
	}
	w.consumed = consumed
	w.window = bias(window)
	return nil
}
