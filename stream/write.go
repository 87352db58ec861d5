package stream

import (
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

const (
	// frameTarget is the payload of a frame of which two fill a batch.
	frameTarget = (wire.BatchSize - 4*wire.HeaderSize) / 2
	// maxPending is how much copied data may wait to be sent: two batches.
	maxPending = 4 * frameTarget
	// minBorrow is the length from which a Write is sent from its caller's buffer
	// instead of being copied. Below it, sending several together saves more than the
	// copy costs.
	minBorrow = 32 << 10
	// minBorrowFirst is the same for the first Write after a Read, which goes out alone.
	minBorrowFirst = 4 << 10
	// maxShortEnd is up to which length the end of a long Write is sent with what
	// follows.
	maxShortEnd = 8 << 10
)

// Write writes p. It returns when all of p was handed to the transport or copied, so
// that p may be reused, and will reach the transport unless the session ends. It blocks
// while too much waits to be sent or, in version 2, the peer's window is full. It
// returns early at its deadline, with net.ErrClosed after Close or CloseWrite, with
// [ErrPeerClosed], or with the reason for the end of the session. n is then the number of
// bytes that were written before that; no others will be sent.
//
// Small writes that follow each other are sent together. The first one after a Read
// goes straight out.
func (s *Stream) Write(p []byte) (n int, err error) { return s.writeNext(p, false) }

// writeNext is Write. If isRest, p goes with the Write before it, if that was one of bulk data.
func (s *Stream) writeNext(p []byte, isRest bool) (n int, err error) {
	n, err = s.write(p, isRest)
	return n, s.opError("write", err)
}

func (s *Stream) write(p []byte, isRest bool) (n int, err error) {
	s.mu.Lock()
	defer s.unlock()
	h := &s.send
	for {
		if err := s.writeErr(); err != nil {
			return 0, err
		}
		if !h.writing {
			break
		}
		s.wait(&h.writers)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if s.limiter() == nil && !isRest && len(p) < minBulkWrite && len(p) <= maxPending-int(h.unsent) {
		switch {
		case h.wroteSinceRead:
			s.endBulk()
			n = s.accept(p)
			s.queueData(SendSoon)
		case len(p) < minBorrowFirst:
			s.endBulk()
			h.wroteSinceRead = true
			n = s.accept(p)
			s.queueData(SendNow)
		}
		if n == len(p) {
			return n, nil
		}
	}
	k, err := s.writeInParts(p[n:], isRest)
	return n + k, err
}

// writeInParts writes p no faster than the stream's rate, if there is one. Other Writes wait meanwhile.
func (s *Stream) writeInParts(p []byte, isRest bool) (n int, err error) {
	s.send.writing = true
	defer s.endWrite()
	for n < len(p) {
		part := len(p) - n
		if l := s.limiter(); l != nil {
			part = min(part, l.Burst(), s.shared.MaxFrame)
			if err := s.waitForRate(part); err != nil {
				return n, err
			}
		}
		k, err := s.writePart(p[n:n+part], isRest)
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// endWrite lets the next Write begin.
func (s *Stream) endWrite() {
	s.send.writing = false
	if s.rare != nil {
		s.rare.bulk.last = time.Now()
	}
	s.send.writers.wake()
	s.queueData(SendSoon) // FIN, if the stream was closed meanwhile
}

// writePart writes p, waiting as long as it takes. If a rate is set meanwhile where there was
// none, it writes less.
func (s *Stream) writePart(p []byte, isRest bool) (n int, err error) {
	h := &s.send
	isBulk := s.noteBulk(len(p), isRest)
	if !h.wroteSinceRead {
		h.wroteSinceRead = true
		return s.writeBorrowed(p)
	}
	// The end of a Write that does not fill a batch is left for the next one to go with, if that
	// is bulk data, or if the end is short.
	end := min((int(h.unsent)+len(p))%s.fullBatch(), len(p))
	switch {
	case isBulk:
		s.hold()
		if len(p)-end < minBorrow {
			return s.writeCopied(p)
		}
	case len(p) < minBorrow:
		return s.writeCopied(p)
	case end >= min(maxShortEnd, len(p)):
		return s.writeBorrowed(p)
	}
	n, err = s.writeBorrowed(p[:len(p)-end])
	if err == nil {
		err = s.writeErr()
	}
	if err != nil || n < len(p)-end || end == 0 {
		return n, err
	}
	k, err := s.writeCopied(p[n:])
	return n + k, err
}

// maxFrame returns the most payload in a frame. A little less than MaxFrame is better if two frames
// then fill a batch.
func (s *Stream) maxFrame() int {
	if n := s.shared.MaxFrame; n < frameTarget || n > frameTarget+frameTarget/50 {
		return min(n, wire.MaxBatchPayload)
	}
	return frameTarget
}

// fullBatch returns how much payload fills a batch with frames of full size.
func (s *Stream) fullBatch() int {
	n := s.maxFrame()
	return max(1, (wire.BatchSize-2*wire.HeaderSize)/(n+wire.HeaderSize)) * n
}

// writeCopied copies p to what is pending, and waits for room there. What finds no room in
// SendBudget is sent from where it is.
func (s *Stream) writeCopied(p []byte) (n int, err error) {
	h := &s.send
	for {
		if err := s.writeErr(); err != nil {
			return n, err
		}
		room := maxPending - int(h.unsent)
		if room <= 0 {
			s.queueData(SendNow)
			s.settle()
			if h.unsent >= maxPending && s.writeErr() == nil {
				s.wait(&h.writers)
			}
			continue
		}
		k := s.accept(p[n : n+min(room, len(p)-n)])
		n += k
		urgency := SendSoon
		if s.holds() && int(h.unsent) >= s.fullBatch() {
			urgency = SendNow
		}
		s.queueData(urgency)
		if n == len(p) {
			return n, nil
		}
		if k == 0 {
			k, err := s.writeBorrowed(p[n:])
			return n + k, err
		}
	}
}

// writeBorrowed has p sent from where it is, and waits until that is done, or until a rate is
// set where there was none.
func (s *Stream) writeBorrowed(p []byte) (n int, err error) {
	h := &s.send
	unlimited := s.limiter() == nil
	h.borrowed = p
	for {
		s.queueData(SendNow)
		s.settle()
		switch err := s.writeErr(); {
		case h.borrows > 0:
			// Being sent right now; that takes no waiting for the peer.
		case len(h.borrowed) == 0:
			return len(p), nil
		case err != nil || unlimited && s.limiter() != nil:
			n = len(p) - len(h.borrowed)
			h.borrowed = nil
			return n, err
		}
		if h.borrows > 0 || s.inLine&dataLine != 0 || !s.canSend() {
			s.wait(&h.writers)
		}
	}
}

// writeErr returns why Write must fail.
func (s *Stream) writeErr() error {
	switch {
	case s.closed != notClosed || s.send.state != sendOpen:
		return s.closedErr()
	case s.send.peer == readerGone:
		return ErrPeerClosed
	case s.session != sessionUp:
		return s.sessionErr()
	case s.rare != nil && s.rare.writeLimit.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// accept copies p to the pending data, or the first part of it if SendBudget has no more, and
// returns how much.
func (s *Stream) accept(p []byte) (n int) {
	h := &s.send
	for n < len(p) {
		room := s.pendingRoom()
		if len(room) == 0 {
			tail := s.newPending(len(p) - n)
			if tail == nil {
				return n
			}
			h.pending.Push(tail)
			room = s.pendingRoom()
		}
		k := copy(room, p[n:])
		h.pending.Tail().W += k
		h.unsent += int32(k)
		n += k
	}
	return n
}

// pendingRoom returns the free end of the last pending buffer. A buffer holds whole frames if
// that leaves little of it unused.
func (s *Stream) pendingRoom() []byte {
	tail := s.send.pending.Tail()
	if tail == nil {
		return nil
	}
	size := len(tail.Data)
	if end := size % s.maxFrame(); end <= size/8 {
		size -= end
	}
	return tail.Data[tail.W:max(size, tail.W)]
}

// newPending returns a buffer for n more bytes or less, or nil if SendBudget has none. It is as large as
// what is pending, so that there are few, but all of them take at most two bytes for each that is
// pending, and one smallest buffer.
func (s *Stream) newPending(n int) *buffer.Buf {
	h := &s.send
	size := buffer.Class(n)
	for 2*size <= min(int(h.unsent), buffer.Max) {
		size *= 2
	}
	limit := 2*(int(h.unsent)+n) + buffer.Min - int(h.held)
	for size > buffer.Min && size > limit {
		size /= 2
	}
	if b := s.shared.SendBudget; b != nil && !b.TryTake(size) {
		return nil
	}
	h.held += int32(size)
	return buffer.Get(size)
}

// ReadFrom reads from r and writes to the stream until r ends, which is no error, or
// either fails. It blocks as Write does, and as long as r.Read does.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	b := buffer.Get(buffer.Max)
	defer b.Free()
	p := b.Data
	if frame := s.maxFrame(); frame < len(p) {
		p = p[:len(p)-len(p)%frame]
	}
	isRest := false
	for {
		n, err := r.Read(p)
		if n > 0 {
			k, werr := s.writeNext(p[:n], isRest)
			total += int64(k)
			if werr != nil {
				return total, werr
			}
		}
		// What follows a full buffer may be the rest of what r had at once.
		isRest = n == len(p)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
