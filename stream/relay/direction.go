package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

// A direction copies what src sends to dst. Its fields moved, how and err belong to its goroutine until that has sent
// the direction to join.ended; over and srcDone belong to the goroutine of Join.
type direction struct {
	j        *join
	src, dst net.Conn

	moved int64 // bytes that dst has taken
	how   ending
	err   error // of the Read or Write that failed

	over    bool // the direction has ended
	srcDone bool // Done of src is closed

	mu        sync.Mutex // guards isSpliced
	isSpliced bool       // splice copies, and interrupt may end it
}

// An ending says how a direction ended.
type ending uint8

const (
	endTold   ending = iota // src has ended, and dst was told so
	endUntold               // src has ended, and dst could not be told
	endRead                 // Read of src has failed
	endWrite                // Write to dst has failed
)

// run copies until src has ended or a call fails.
func (d *direction) run() {
	d.how, d.err = endRead, errGone // if a conn ends this goroutine
	defer func() { d.j.ended <- d }()
	how, err := d.copy()
	if how == endTold && !d.tell() {
		how = endUntold
	}
	d.how, d.err = how, err
}

// errGone is what has happened if a method of a conn did not return: it has called runtime.Goexit, as FailNow of a test
// does. (After a panic, the program ends.)
var errGone = errors.New("relay: a conn has ended its goroutine (runtime.Goexit) and did not return")

// tell tells dst that src has ended, and reports whether it could.
func (d *direction) tell() bool {
	c, ok := d.dst.(interface{ CloseWrite() error })
	return ok && c.CloseWrite() == nil
}

// copy copies in the way that needs the fewest copies.
func (d *direction) copy() (ending, error) {
	if splices(d.dst, d.src) {
		how, err, rest := d.splice()
		if !rest {
			return how, err
		}
	}
	if w, ok := d.src.(io.WriterTo); ok && !isSocket(d.src) {
		to := &writer{d: d}
		_, err := w.WriteTo(to)
		return ended(err, to.err)
	}
	if hasHarmlessDeadlines(d.src) {
		return d.copyInBursts()
	}
	return d.copyFrom(&reader{d: d})
}

// copyFrom copies until from ends.
func (d *direction) copyFrom(from *reader) (ending, error) {
	r, ok := d.dst.(io.ReaderFrom)
	if !ok || isSocket(d.dst) {
		return d.copyBuffer(from)
	}
	n, err := r.ReadFrom(from)
	d.moved += n
	if from.err != nil || err == nil {
		return ended(from.err, nil)
	}
	return ended(nil, err)
}

// ended returns how a copy ended. readErr may be that of the copy as a whole if writeErr is not nil.
func ended(readErr, writeErr error) (ending, error) {
	switch {
	case writeErr != nil:
		return endWrite, writeErr
	case readErr != nil:
		return endRead, readErr
	}
	return endTold, nil
}

// copyBuffer is copyFrom with a buffer of its own.
func (d *direction) copyBuffer(from *reader) (ending, error) {
	b := buffer.Get(buffer.Max)
	defer b.Release()
	to := &writer{d: d}
	for {
		n, err := from.Read(b.Data)
		if n > 0 {
			if _, err := to.Write(b.Data[:n]); err != nil {
				return endWrite, err
			}
		}
		switch {
		case err == io.EOF:
			return endTold, nil
		case err != nil:
			return endRead, err
		}
	}
}

// isSocket reports whether c is a TCP or Unix socket. WriteTo and ReadFrom of a socket save copies between sockets only.
func isSocket(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// splices reports whether io.Copy may move data from src to dst within the kernel.
func splices(dst, src net.Conn) bool {
	_, toTCP := dst.(*net.TCPConn)
	_, fromTCP := src.(*net.TCPConn)
	return isSocket(dst) && isSocket(src) && (toTCP || fromTCP)
}

// splice copies between two sockets within the kernel, where the system can do that, until the clock runs: it cannot say
// when bytes have moved. rest says that there may be more to copy. interrupt ends it.
func (d *direction) splice() (how ending, err error, rest bool) {
	if !d.beginSplice() {
		return 0, nil, true
	}
	n, err := io.Copy(d.dst, d.src)
	d.moved += n
	d.endSplice()
	switch {
	case err == nil:
		return endTold, nil, false
	case errors.Is(err, os.ErrDeadlineExceeded) && d.j.timed.Load():
		// The deadline of interrupt. Only a wait for data of src ends with it, so that no data is lost.
		return 0, nil, true
	case d.tell():
		return endRead, err, false
	}
	return endWrite, err, false // a socket that has failed cannot be half-closed
}

// beginSplice reports whether the clock does not run yet.
func (d *direction) beginSplice() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isSpliced = !d.j.timed.Load()
	return d.isSpliced
}

// endSplice clears the deadline that interrupt may have set.
func (d *direction) endSplice() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isSpliced = false
	_ = d.src.SetReadDeadline(time.Time{})
}

// interrupt ends splice. The clock runs.
func (d *direction) interrupt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isSpliced {
		_ = d.src.SetReadDeadline(time.Unix(1, 0))
	}
}

// A writer writes to the dst of a direction for WriteTo, which does not say whether its error is that of a Write.
type writer struct {
	d   *direction
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.d.dst.Write(p)
	if n > 0 {
		w.d.moved += int64(n)
		w.d.j.noteMoved()
	}
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = err
	}
	return n, err
}
