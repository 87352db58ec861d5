package flow

// InitialWindow is how many bytes a peer may send on a new stream before it has seen a
// window update. All deployed peers assume this number.
const InitialWindow = 262144

// A SendWindow counts what may be sent on one stream. The zero value is the window of
// a new stream: [InitialWindow] bytes.
//
// A sender that has more data than Available should send exactly Available bytes and
// stop there, however short that makes its last frame. By this cut the receiver
// recognizes a sender that waits for its window.
//
// A SendWindow is not safe for concurrent use. No method blocks or allocates,
// except that Update allocates its error.
type SendWindow struct {
	sent     uint32 // bytes sent, modulo 2^32
	consumed uint32 // bytes that the peer's application has read, modulo 2^32
	window   biased // window of the last update
}

// Available returns how many bytes may be sent now; never less than 0.
//
// The comparison is the protocol's, in signed 32-bit arithmetic: a window of
// 2^31 or more counts as negative and stops the stream.
func (w *SendWindow) Available() int {
	return int(max(0, int64(int32(w.window.value()))-int64(w.sent-w.consumed)))
}

// Sent records that n bytes were sent, where 0 <= n <= Available.
func (w *SendWindow) Sent(n int) { w.sent += uint32(n) }

// Update applies a window update of the peer: its application has read consumed bytes
// in all (modulo 2^32), and window bytes beyond those may be sent. The window may be
// smaller than the one before; Available is then 0 until the peer has read enough. An
// update that is older than one already applied is ignored. The error is a
// [*ConsumedError] if the peer claims to have read bytes that were never sent; the
// window is then unchanged.
func (w *SendWindow) Update(consumed, window uint32) error {
	if int32(w.sent-consumed) < 0 {
		return &ConsumedError{Consumed: consumed, Sent: w.sent}
	}
	if int32(consumed-w.consumed) < 0 {
		return nil // stale
	}
	w.consumed = consumed
	w.window = bias(window)
	return nil
}
