package stream

import (
	"io"
	"os"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

// Read reads data of the stream into p. It blocks until there is some, and ends
// without with io.EOF once the peer's FIN has come and everything before it was read;
// with net.ErrClosed after Close or CloseRead; at its deadline; or with the reason for
// the end of the session, after the data that had arrived. It fails with flow.ErrWindow if the peer
// has sent too far beyond its window; that closes the stream. io.EOF is returned
// bare and means FIN alone, other errors come in a *net.OpError.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	n, err := s.read(p)
	s.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return 0, s.opError("read", err)
}

func (s *Stream) read(p []byte) (int, error) {
	flushed := false
	for {
		if err := s.readErr(); err != nil {
			return 0, err
		}
		switch {
		case len(p) == 0:
			return 0, nil
		case s.unread > 0:
			n := s.copyOut(p)
			s.took(n, n)
			return n, nil
		}
		if err := s.endErr(); err != nil {
			s.spoke = false
			return 0, err
		}
		if !flushed && s.waiting() {
			flushed = true
			s.flush()
			continue
		}
		if s.reading != nil {
			s.wait(&s.readers) // for the Read that came first
			continue
		}
		if n := s.readInto(p); n > 0 {
			s.took(n, 0)
			return n, nil
		}
	}
}

// waiting reports whether something waits to be sent before a Read waits for its peer.
func (s *Stream) waiting() bool {
	return s.controlQueued || s.dataQueued || s.bulk.holding()
}

// flush has sent what waits to be sent. It releases s.mu meanwhile.
func (s *Stream) flush() {
	s.bulk.end()
	s.submit(Soon)
	s.mu.Unlock()
	s.link.Flush()
	s.mu.Lock()
}

// readInto waits with p ready to be filled and returns how much of it was.
func (s *Stream) readInto(p []byte) int {
	r := readingPool.Get().(*reading)
	r.buf, r.n = p, 0
	s.reading = r
	for s.lent == lentReader || r.n == 0 && s.unread == 0 && s.readErr() == nil && s.endErr() == nil {
		s.wait(&s.readers)
	}
	n := r.n
	s.reading = nil
	r.buf = nil
	readingPool.Put(r)
	s.readers.wake() // the next Read that wants to be first
	return n
}

// readErr returns why reading must fail even if there is data.
func (s *Stream) readErr() error {
	switch {
	case s.discard:
		return s.closedErr() // also after Session.Close
	case s.readLimit.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// endErr returns what a reader gets who has read everything: nil, if more may come.
func (s *Stream) endErr() error {
	if s.in == inEnded {
		return io.EOF
	}
	if s.over() {
		return s.err
	}
	return nil
}

// copyOut moves unread bytes to p.
func (s *Stream) copyOut(p []byte) (n int) {
	s.touched = s.cfg.round.Load()
	for s.unread > 0 && n < len(p) {
		head := s.queue.Head()
		k := copy(p[n:], head.Bytes())
		head.R += k
		n += k
		s.unread -= k
		if head.Len() > 0 {
			break
		}
		if head == s.queue.Tail() && s.lent == lentQueue {
			break
		}
		s.queue.Pop().Free()
	}
	s.dropEmpty()
	return n
}

// took accounts for n bytes that the application has taken, of which budgeted had been
// charged to the budget. It may release s.mu meanwhile.
func (s *Stream) took(n, budgeted int) {
	s.spoke = false
	done := s.finish()
	update := s.credited(n)
	if budgeted == 0 && !done && !update {
		return
	}
	s.mu.Unlock()
	if budgeted > 0 {
		s.cfg.Budget.Return(budgeted)
	}
	if done {
		s.link.Finished()
	}
	if update {
		s.link.SendControl(Now)
	}
	s.mu.Lock()
}

// credited tells the receive window that n bytes were taken and reports whether an
// UPD is to be put in line.
func (s *Stream) credited(n int) bool {
	if !s.receives() || s.err != nil {
		return false
	}
	if !s.window.Read(n, s.now()) || s.updateDue {
		return false
	}
	return s.queueUpdate()
}

// queueUpdate has an UPD sent, and reports whether the session is to be told.
func (s *Stream) queueUpdate() bool {
	s.updateDue = true
	submit := !s.controlQueued
	s.controlQueued = true
	return submit
}

// consumed accounts for data that was thrown away as it arrived, without the lock:
// its sender need not wait for a reader.
func (s *Stream) consumed(n int) {
	s.mu.Lock()
	update := s.credited(n)
	s.mu.Unlock()
	if update {
		s.link.SendControl(Soon)
	}
}

// WriteTo writes what Read would return to w, without a copy of its own, until
// io.EOF, which is no error, or any other error. It blocks as Read does, and as long
// as w.Write does.
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	for {
		b, err := s.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, s.opError("read", err)
		}
		want := b.Len()
		n, err := w.Write(b.Bytes())
		b.Free()
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < want {
			return total, io.ErrShortWrite
		}
	}
}

// next waits for unread data and takes the first buffer of it.
func (s *Stream) next() (*buffer.Buf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flushed := false
	for {
		if err := s.readErr(); err != nil {
			return nil, err
		}
		if s.unread > 0 {
			return s.takeBuffer(), nil
		}
		if err := s.endErr(); err != nil {
			return nil, err
		}
		if !flushed && s.waiting() {
			flushed = true
			s.flush()
			continue
		}
		s.wait(&s.readers)
	}
}

// takeBuffer takes the first buffer with unread bytes off the queue.
func (s *Stream) takeBuffer() *buffer.Buf {
	s.touched = s.cfg.round.Load()
	b := s.queue.Head()
	if b == s.queue.Tail() && s.lent == lentQueue {
		// The session is still filling it.
		full := b
		b = buffer.Get(full.Len())
		b.Append(full.Bytes())
		full.R = full.W
	} else {
		s.queue.Pop()
	}
	s.unread -= b.Len()
	s.took(b.Len(), b.Len())
	return b
}
