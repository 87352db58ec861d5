package flow

import (
	"errors"
	"fmt"
)

var (
	// ErrConsumed is matched by the error of [SendWindow.Update]: the peer claims to
	// have read bytes that were never sent to it.
	ErrConsumed = errors.New("flow: peer consumed more than was sent")

	// ErrWindow is returned by [ReceiveWindow.Received]: the peer sent further beyond
	// every window it was ever granted than is tolerated.
	ErrWindow = errors.New("flow: peer sent beyond its window")
)

// A ConsumedError says how far a window update was off. It matches [ErrConsumed].
type ConsumedError struct {
	Consumed uint32 // bytes read, as the update says, modulo 2^32
	Sent     uint32 // bytes sent on the stream so far, modulo 2^32
}

func (e *ConsumedError) Error() string {
	return fmt.Sprintf("%v: it says %d of %d (modulo 2^32)", ErrConsumed, e.Consumed, e.Sent)
}

// Unwrap returns ErrConsumed.
func (e *ConsumedError) Unwrap() error { return ErrConsumed }
