package stream

import (
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

// Read reads data of the stream into p. It blocks until data is available. It returns io.EOF
// after the last byte before the peer's FIN, net.ErrClosed after Close or CloseRead, an error that is
// os.ErrDeadlineExceeded at its deadline, and the reason for the end of the session after
// the data that had arrived. io.EOF is bare and means FIN alone; other errors come in a
// *net.OpError.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.read(p)
	if n > 0 {
		return n, nil
	}
	return 0, s.opError("read", err)
}

func (s *Stream) read(p []byte) (int, error) {
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	h := &s.recv
	flushed := false
	for {
		if err := s.readErr(); err != nil {
			return 0, err
		}
		switch {
		case len(p) == 0:
			return 0, nil
		case h.unread > 0:
			n := s.copyOut(p)
			s.due.returned += n
			s.took(n, now)
			return n, nil
		}
		if err := s.endErr(); err != nil {
			s.send.wroteSinceRead = false
			return 0, err
		}
		if !flushed && s.needsFlush() {
			flushed = true
			s.flush()
			continue
		}
		n := 0
		if h.reading != nil {
			s.wait(&h.readers) // for the Read that came first
		} else {
			n = s.readInto(p)
		}
		now = s.nowUnlocked()
		if n > 0 {
			s.took(n, now)
			return n, nil
		}
	}
}

// nowUnlocked returns the time, and settles what came due. It releases s.mu meanwhile.
func (s *Stream) nowUnlocked() time.Duration {
	if !s.isWindowed() {
		return 0
	}
	defer s.mu.Lock()
	s.unlock()
	return s.now()
}

// needsFlush reports whether something waits to be sent before a Read waits for its peer.
func (s *Stream) needsFlush() bool { return s.inLine != 0 || s.holds() }

// flush has sent what waits to be sent. It releases s.mu meanwhile.
func (s *Stream) flush() {
	s.endBulk()
	s.queueData(SendSoon)
	defer s.mu.Lock()
	s.unlock()
	s.notifier.Flush()
}

// readInto waits with p ready to be filled and returns how much of it was.
func (s *Stream) readInto(p []byte) int {
	h := &s.recv
	r := readingPool.Get().(*reading)
	r.buf, r.n = p, 0
	h.reading = r
	for h.memory == reservedReader || r.n == 0 && h.unread == 0 && s.readErr() == nil && s.endErr() == nil {
		s.wait(&h.readers)
	}
	n := r.n
	h.reading = nil
	r.buf = nil
	readingPool.Put(r)
	h.readers.wake() // the next Read that wants to be first
	return n
}

// readErr returns why reading must fail even if there is data.
func (s *Stream) readErr() error {
	switch {
	case s.recv.discards():
		return s.closedErr() // also after Session.Close
	case s.rare != nil && s.rare.readLimit.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// endErr returns what a reader gets who has read everything: nil, if more may come.
func (s *Stream) endErr() error {
	if s.recv.hasFIN() {
		return io.EOF
	}
	if !s.session.receives() {
		return s.sessionErr()
	}
	return nil
}

// copyOut moves unread bytes to p.
func (s *Stream) copyOut(p []byte) (n int) {
	h := &s.recv
	s.noteTouched()
	for h.unread > 0 && n < len(p) {
		head := h.queue.Head()
		k := copy(p[n:], head.Bytes())
		head.R += k
		n += k
		h.unread -= k
		if head.Len() > 0 {
			break
		}
		if head == h.queue.Tail() && h.memory == reservedQueue {
			break
		}
		h.queue.Pop().Free()
	}
	s.dropEmpty()
	if h.unread > 0 {
		if head := h.queue.Head(); head.R > 0 && (head != h.queue.Tail() || h.memory != reservedQueue) {
			head.Shrink() // a few bytes that nobody reads must not keep so large a buffer
		}
	}
	return n
}

// took accounts for n bytes that the application has taken.
func (s *Stream) took(n int, now time.Duration) {
	s.send.wroteSinceRead = false
	s.noteRead(n, now, SendNow)
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
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	flushed := false
	for {
		if err := s.readErr(); err != nil {
			return nil, err
		}
		if s.recv.unread > 0 {
			return s.takeBuffer(now), nil
		}
		if err := s.endErr(); err != nil {
			return nil, err
		}
		if !flushed && s.needsFlush() {
			flushed = true
			s.flush()
			continue
		}
		s.wait(&s.recv.readers)
		now = s.nowUnlocked()
	}
}

// takeBuffer takes the first buffer with unread bytes off the queue.
func (s *Stream) takeBuffer(now time.Duration) *buffer.Buf {
	h := &s.recv
	s.noteTouched()
	b := h.queue.Head()
	if b == h.queue.Tail() && h.memory == reservedQueue {
		// The session is still filling it.
		full := b
		b = buffer.Get(full.Len())
		b.Append(full.Bytes())
		full.R = full.W
	} else {
		h.queue.Pop()
	}
	n := b.Len()
	h.unread -= n
	s.due.returned += n
	s.took(n, now)
	return b
}
