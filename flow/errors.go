package flow

import (
	"errors"
	"fmt"
)

var (
	// ErrConsumed is wrapped by the error of [SendWindow.Update]: the peer claims to
	// have read bytes that were never sent to it.
	ErrConsumed = errors.New("flow: peer consumed more than was sent")

	// ErrWindow is returned by [ReceiveWindow.AddReceived]: the peer sent further beyond
	// its window than is tolerated.
	ErrWindow = errors.New("flow: peer sent beyond its window")
)

// A ConsumedError is an update that acknowledges more bytes than were sent. It wraps
// [ErrConsumed].
type ConsumedError struct {
	Consumed uint32 // bytes read, according to the update, modulo 2^32
	Sent     uint32 // bytes sent on the stream so far, modulo 2^32
}

// Error returns both numbers.
func (e *ConsumedError) Error() string {
	return fmt.Sprintf("%v: %d of %d bytes (modulo 2^32)", ErrConsumed, e.Consumed, e.Sent)
}

// Unwrap returns [ErrConsumed].
func (e *ConsumedError) Unwrap() error { return ErrConsumed }
