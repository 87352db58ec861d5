package conversation

import "errors"

// What several frames together break. A session of smuxkit ends for all but ErrAfterFIN.
var (
	ErrParity   = errors.New("SYN with an id that is the other side's to open")
	ErrInUse    = errors.New("SYN with the id of an open stream")
	ErrConsumed = errors.New("CONSUMED is more than what was sent")
	ErrAfterFIN = errors.New("data after FIN")
)
