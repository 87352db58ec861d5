package flow

import (
	"errors"
	"fmt"
)

var (
	// ErrConsumed is matched by the error of SendWindow.Update: the peer says
	// that its application read bytes that were never sent to it.
	ErrConsumed = errors.New("flow: peer consumed more than was sent")

	// ErrWindow is matched by the error of ReceiveWindow.Received: the peer
	// sent beyond every window it was ever granted.
	ErrWindow = errors.New("flow: peer sent beyond its window")
)

// A ConsumedError says how far a window update was off. It matches ErrConsumed.
type ConsumedError struct {
	Consumed uint32 // what the update said, modulo 2^32
	Sent     uint32 // what was sent on the stream so far, modulo 2^32
}

func (e *ConsumedError) Error() string {
	return fmt.Sprintf("%v: it says %d of %d (modulo 2^32)", ErrConsumed, e.Consumed, e.Sent)
}

// Unwrap returns ErrConsumed.
func (e *ConsumedError) Unwrap() error { return ErrConsumed }

// A WindowError says how far a peer overran its window. It matches ErrWindow.
type WindowError struct {
	Received uint32 // bytes that arrived on the stream so far, modulo 2^32
	Limit    uint32 // the highest position ever granted, modulo 2^32
}

// Over is the number of bytes that arrived beyond the highest limit.
func (e *WindowError) Over() int { return int(e.Received - e.Limit) }

func (e *WindowError) Error() string {
	return fmt.Sprintf("%v: %d bytes beyond position %d (modulo 2^32)", ErrWindow, e.Over(), e.Limit)
}

// Unwrap returns ErrWindow.
func (e *WindowError) Unwrap() error { return ErrWindow }
