package stream

import (
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

// Read reads data of the stream into p. It blocks until data is available, and then returns what there is.
//
// Read returns io.EOF once the peer's FIN has arrived and all data before it was read. io.EOF means a FIN and nothing
// else, and is not wrapped; all other errors are wrapped in a *net.OpError. Read fails with [net.ErrClosed] after Close
// or CloseRead, with os.ErrDeadlineExceeded at its deadline, and with [ErrRefused], [ErrStalled] or [flow.ErrWindow]. If
// the session ends, Read first returns the data that had arrived, and then fails with the reason for the end.
//
// A Read of zero bytes is a probe: it never blocks. It returns io.EOF or the error that a longer Read would return now, and
// no error if that would return data or wait for some. It changes nothing.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.read(p)
	if n > 0 {
		return n, nil
	}
	return 0, s.opError("read", err)
}

func (s *Stream) read(p []byte) (int, error) {
	now := s.lock()
	defer s.unlock()
	h := &s.recv
	flushed := false
	for {
		if err := s.readErr(); err != nil {
			return 0, err
		}
		switch {
		case len(p) == 0 && h.unread > 0:
			return 0, nil
		case len(p) == 0:
			return 0, s.endErr()
		case h.unread > 0:
			n := s.copyOut(p)
			s.due.returned += n
			s.noteConsumed(n, now)
			return n, nil
		}
		if err := s.endErr(); err != nil {
			s.send.wroteSinceRead = false
			return 0, err
		}
		if !flushed && s.needsFlush() {
			flushed = true
			s.flush()
			now = s.now()
			continue
		}
		n := 0
		if h.waitingRead != nil {
			s.wait(&h.readers) // until the Read that came first has returned
		} else {
			n = s.readInto(p)
		}
		now = s.now()
		if n > 0 {
			s.noteConsumed(n, now)
			return n, nil
		}
	}
}

// needsFlush reports whether something should be sent before a Read waits for the peer. What was queued with SendNow is
// being sent already.
func (s *Stream) needsFlush() bool { return s.queued != 0 && s.unhurried || s.holds() }

// flush makes the session send what is queued, and data that is held back. It releases s.mu meanwhile.
func (s *Stream) flush() {
	s.endBulk()
	s.queueData(SendSoon)
	defer s.mu.Lock()
	s.unlock()
	s.notifier.Flush()
}

// readInto waits until the session has put data straight into p, or has queued some, or Read fails. It returns how many
// bytes of p were filled; with 0 the caller looks for unread data and for an error.
func (s *Stream) readInto(p []byte) int {
	h := &s.recv
	r := waitingReadPool.Get().(*waitingRead)
	r.buf, r.n = p, 0
	h.waitingRead = r
	for h.reserved == reservedReader || r.n == 0 && h.unread == 0 && s.readErr() == nil && s.endErr() == nil {
		s.wait(&h.readers)
	}
	n := r.n
	h.waitingRead = nil
	r.buf = nil
	waitingReadPool.Put(r)
	h.readers.wake() // the other Reads, which wait for this one
	return n
}

// readErr returns why Read fails even if there is data, or nil.
func (s *Stream) readErr() error {
	switch {
	case s.recv.discards():
		return s.closedErr() // after Session.Close, too: it ends reading in this way
	case s.extras != nil && s.extras.readDeadline.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// endErr returns why Read fails after all data was read, or nil if more may arrive.
func (s *Stream) endErr() error {
	switch {
	case s.recv.refusal == refused:
		return ErrRefused
	case s.recv.hasFIN() && s.recv.refusal != refusalLikely:
		return io.EOF
	case !s.session.receives():
		return s.sessionErr()
	}
	return nil
}

// copyOut moves unread bytes to p.
func (s *Stream) copyOut(p []byte) (n int) {
	h := &s.recv
	s.noteActive()
	for h.unread > 0 && n < len(p) {
		head := h.queue.Head()
		k := copy(p[n:], head.Bytes())
		head.R += k
		n += k
		h.unread -= k
		if head.Len() > 0 {
			break
		}
		if head == h.queue.Tail() && h.reserved == reservedQueue {
			break
		}
		h.queue.Pop().Release()
	}
	s.dropEmpty()
	if h.unread > 0 {
		if head := h.queue.Head(); head.R > 0 && (head != h.queue.Tail() || h.reserved != reservedQueue) {
			head.Shrink() // a few unread bytes must not keep a large buffer
		}
	}
	return n
}

// noteConsumed accounts for n bytes that the application has read.
func (s *Stream) noteConsumed(n int, now time.Duration) {
	s.active = true
	s.send.wroteSinceRead = false
	s.noteRead(n, now, SendNow)
}

// WriteTo reads from the stream and writes to w, without copying the data, until io.EOF, for which it returns nil, or
// another error. It blocks as [Stream.Read] does, and while w.Write does. Its error is that of Read, or that of w,
// unchanged; data that w.Write was given and did not take is lost. w must not keep or change the data that it gets.
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
		b.Release()
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < want {
			return total, io.ErrShortWrite
		}
	}
}

// next waits for unread data and returns its first buffer. The buffer belongs to the caller from then on.
func (s *Stream) next() (*buffer.Buf, error) {
	now := s.lock()
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
			now = s.now()
			continue
		}
		s.wait(&s.recv.readers)
		now = s.now()
	}
}

// takeBuffer removes the first buffer from the queue. There is unread data.
func (s *Stream) takeBuffer(now time.Duration) *buffer.Buf {
	h := &s.recv
	s.noteActive()
	b := h.queue.Head()
	if b == h.queue.Tail() && h.reserved == reservedQueue {
		// The session is filling the buffer, so it stays, and the caller gets a copy.
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
	s.noteConsumed(n, now)
	return b
}
