package fuzz

import (
	"errors"
	"io"
	"os"
	"time"
)

// What an application does with one end of a stream of a pair.

// read and write queue something for the end to do.
func (e *end) read(task func())  { e.reads.do(&e.work, task) }
func (e *end) write(task func()) { e.writes.do(&e.work, task) }

// act does what s says to an end.
func (e *end) act(s step) {
	p := e.side.p
	switch s.name {
	case "read":
		size := s.arg(2)
		e.read(func() { e.readSome(size) })
	case "writeto":
		e.read(e.readAll)
	case "also":
		e.also(s.args[2].text, s.arg(3))
	case "write":
		size := p.spend(s.arg(2))
		e.write(func() { e.writeSome(size) })
	case "readfrom":
		size := p.spend(s.arg(2))
		e.write(func() { e.writeFrom(size) })
	case "closewrite":
		e.write(e.closeWrite)
	case "cutwrite":
		e.closeWrite()
	case "closeread":
		e.readClosed.Store(true)
		_ = e.st.CloseRead()
	case "close":
		e.close()
	case "flush":
		p.introduce()
		e.flush(s.duration(2))
	case "readdeadline", "writedeadline":
		at := time.Time{}
		if d := s.duration(2); d > 0 {
			at = time.Now().Add(d)
		}
		if s.name == "readdeadline" {
			_ = e.st.SetReadDeadline(at)
		} else {
			_ = e.st.SetWriteDeadline(at)
		}
	}
}

// also makes another goroutine read or write, as much of size as it can.
func (e *end) also(what string, size int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if what == "read" {
		e.readsMixed = true
		e.work.Go(func() { e.readSome(size) })
		return
	}
	size = e.side.p.spend(size)
	e.writesMixed = true
	e.work.Go(func() { e.writeSome(size) })
}

// readSome, readAll, writeSome and writeFrom go on until they are done or fail. After a failure they do nothing. A
// deadline is no failure.
func (e *end) readSome(size int) {
	buf := make([]byte, min(size, 40_000))
	for size > 0 && !e.hasFailed(&e.readErr) {
		n, err := e.st.Read(buf[:min(size, len(buf))])
		e.took(buf[:n])
		size -= n
		if timedOut(err) {
			return
		}
		e.failed(&e.readErr, err)
	}
}

func (e *end) readAll() {
	if e.hasFailed(&e.readErr) {
		return
	}
	_, err := e.st.WriteTo(writerFunc(e.took))
	if err == nil {
		err = io.EOF
	}
	e.failed(&e.readErr, err)
}

func (e *end) hasFailed(err *error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return *err != nil
}

// failed records why reading or writing has ended.
func (e *end) failed(kept *error, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if *kept == nil && !timedOut(err) {
		*kept = err
	}
}

// timedOut reports whether err is from a deadline of the stream, after which it goes on.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded)
}

type writerFunc func(b []byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// pattern is the pattern that this end writes.
func (e *end) pattern() pattern { return pattern(2*int(e.conduit.id) + e.which) }

// took checks what this end has read.
func (e *end) took(b []byte) {
	from := pattern(2*int(e.conduit.id) + 1 - e.which)
	mixed := e.conduit.mixed(1 - e.which)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !mixed && !e.readsMixed && !from.matches(b, e.taken) {
		e.side.p.t.Errorf("%v: wrong data at %d", e, e.taken)
	}
	e.taken += len(b)
}

// offset is the offset of the next Write.
func (e *end) offset() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.written
}

func (e *end) writeSome(size int) {
	if !e.hasFailed(&e.writeErr) {
		n, err := e.st.Write(e.pattern().bytes(e.offset(), size))
		e.wrote(n, size, err)
	}
}

func (e *end) writeFrom(size int) {
	if !e.hasFailed(&e.writeErr) {
		n, err := e.st.ReadFrom(&source{e.pattern(), e.offset(), size})
		e.wrote(int(n), size, err)
	}
}

func (e *end) wrote(n, size int, err error) {
	if n < 0 || n > size || n < size && err == nil {
		e.side.p.t.Errorf("%v: a Write of %d bytes returned %d, %v", e, size, n, err)
	}
	e.mu.Lock()
	e.written += n
	e.mu.Unlock()
	e.failed(&e.writeErr, err)
}

func (e *end) closeWrite() {
	if e.side.p.noHalfClose {
		if err := e.st.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			e.side.p.t.Errorf("%v: CloseWrite with NoHalfClose: %v", e, err)
		}
		return
	}
	e.writeClosed.Store(true)
	if err := e.st.CloseWrite(); err != nil {
		e.side.p.t.Errorf("%v: CloseWrite: %v", e, err)
	}
	e.closeDone.Store(true)
}

func (e *end) close() {
	e.closed.Store(true)
	e.writeClosed.Store(true)
	e.readClosed.Store(true)
	_ = e.st.Close()
	e.closeDone.Store(true)
}

// conclude makes the end write everything queued, close that direction, and read to the end. With NoHalfClose one of
// the ends closes after its Writes, and the other when it has read everything. The caller holds p.mu.
func (e *end) conclude() {
	_ = e.st.SetDeadline(time.Time{})
	first := e.which == int(e.conduit.id/2%2)
	switch {
	case !e.side.p.noHalfClose:
		e.write(e.closeWrite)
		e.read(e.readAll)
	case first:
		e.write(e.close)
		e.read(e.readAll)
	default:
		e.read(func() {
			e.readAll()
			e.close()
		})
	}
}

// waits reports whether a call of the end has not returned.
func (e *end) waits() bool { return e.reads.busy() || e.writes.busy() }

// busy reports whether the worker has something to do.
func (w *worker) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

// isDone reports whether the channel of Stream.Done is closed.
func (e *end) isDone() bool {
	select {
	case <-e.st.Done():
		return true
	default:
		return false
	}
}
