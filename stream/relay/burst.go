package relay

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

// In this file, a direction whose source is a socket holds a large buffer only while data comes:
//
//	quiet: Read waits with a small buffer --data--> busy: data is copied with a large buffer
//	  ^                                                |
//	  +----no data for maxQuiet to 2 * maxQuiet--------+
//
// So a proxy with many connections that say nothing takes little memory. A conn that waits costs no timer, and one that
// is busy sets a deadline once in maxQuiet.
const maxQuiet = time.Second

// hasHarmlessDeadlines reports whether Read of c goes on after a deadline has passed. Some conns are closed by that, those
// of WebSockets for instance.
var hasHarmlessDeadlines = isSocket

// copyInBursts copies with a large buffer only while data comes.
func (d *direction) copyInBursts() (ending, error) {
	from := &reader{d: d}
	for {
		if how, err, ended := d.copyFirst(from); ended {
			return how, err
		}
		from.begin()
		how, err := d.copyFrom(from)
		if !from.end() {
			return how, err
		}
	}
}

// copyFirst waits for data with a small buffer, and copies the first of it. ended says that the direction has ended.
func (d *direction) copyFirst(from *reader) (how ending, err error, ended bool) {
	b := buffer.Get(buffer.Min)
	defer b.Release()
	n, readErr := from.Read(b.Data)
	if n > 0 {
		to := &writer{d: d}
		if _, err := to.Write(b.Data[:n]); err != nil {
			return endWrite, err, true
		}
	}
	switch {
	case readErr == io.EOF:
		return endTold, nil, true
	case readErr != nil:
		return endRead, readErr, true
	}
	return 0, nil, false
}

// A reader reads from the src of a direction for ReadFrom, which does not say whether its error is that of a Read.
type reader struct {
	d   *direction
	err error // of Read, but not io.EOF

	burst  burstState
	active bool // data came since the deadline was set
}

type burstState uint8

const (
	noBurst burstState = iota // Read waits for as long as it takes
	inBurst                   // Read returns io.EOF once there was no data for maxQuiet
	quiet                     // it has done so
)

// begin begins a burst.
func (r *reader) begin() {
	r.burst, r.active = inBurst, false
	_ = r.d.src.SetReadDeadline(time.Now().Add(maxQuiet))
}

// end ends the burst, and reports whether that was because no data came.
func (r *reader) end() (wasQuiet bool) {
	wasQuiet = r.burst == quiet
	r.burst = noBurst
	_ = r.d.src.SetReadDeadline(time.Time{})
	return wasQuiet
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.d.src.Read(p)
		if n > 0 {
			r.active = true
			r.d.j.noteMoved()
		}
		switch {
		case err == nil || err == io.EOF:
		case r.burst == noBurst || !errors.Is(err, os.ErrDeadlineExceeded):
			r.err = err
		case r.active:
			r.begin()
			if n == 0 {
				continue
			}
			err = nil
		default:
			r.burst = quiet
			err = io.EOF
		}
		return n, err
	}
}
