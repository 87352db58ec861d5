package stream

import (
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

const (
	// frameTarget is the payload of a frame if two frames, with room for two FINs, fill a batch.
	frameTarget = (wire.BatchSize - 4*wire.HeaderSize) / 2
	// An end of a long Write that is shorter than maxShortEnd is copied, and sent together with what follows.
	maxShortEnd = 8 << 10
)

// Write writes p to the stream. It returns when all of p was copied or handed to the transport. The caller may then
// reuse p. The data will be sent, unless the session ends, the peer closes both directions, or its time after Close is
// over ([Shared].Linger, which package session takes from its Config.LingerTimeout). Write blocks while too much data
// waits to be sent ([Shared].MaxSendBuffer, which package session takes from its Config.MaxStreamSendBuffer). A long
// Write also blocks while the transport is full or, in version 2, the peer's window.
//
// Write fails with os.ErrDeadlineExceeded at its deadline, with [net.ErrClosed] after Close or CloseWrite, with
// [ErrPeerClosed], [ErrRefused], [ErrStalled] or [flow.ErrWindow], or with the reason for the end of the
// session. Then it has written the first n bytes of p, and no others will be sent.
//
// The first Write after a Read is sent at once. Small Writes that follow it are sent together.
func (s *Stream) Write(p []byte) (n int, err error) { return s.writeNext(p, false) }

// writeNext is Write. isRest says that p may be the rest of what the Write before it began; see noteBulk.
func (s *Stream) writeNext(p []byte, isRest bool) (n int, err error) {
	n, err = s.write(p, isRest)
	return n, s.opError("write", err)
}

// write waits until no other Write is in progress, and then writes p. If p is short and there is room, it copies p and
// returns at once. The first short Write after a Read is sent now, and later ones are sent together.
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
	if !s.shared.WriteThrough && s.limiter() == nil && !isRest && len(p) < minBulkWrite && len(p) <= s.shared.maxPending()-int(h.unsent) {
		switch {
		case h.wroteSinceRead:
			s.endBulk()
			n = s.copyIn(p)
			s.queueData(SendSoon)
		case len(p) < s.shared.minBorrow(true):
			s.endBulk()
			h.wroteSinceRead = true
			n = s.copyIn(p)
			s.queueData(SendNow)
		}
		if n == len(p) {
			return n, nil
		}
	}
	k, err := s.writeInParts(p[n:], isRest)
	return n + k, err
}

// writeInParts writes p, no faster than the stream's rate limit allows. Other Writes wait meanwhile.
func (s *Stream) writeInParts(p []byte, isRest bool) (n int, err error) {
	s.send.writing = true
	defer s.endWrite()
	for n < len(p) {
		part := len(p) - n
		if l := s.limiter(); l != nil {
			part = min(part, l.Burst(), s.shared.MaxFrameSize)
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
	if s.extras != nil {
		s.extras.bulk.last = time.Now()
	}
	s.send.writers.wake()
	if !s.awaitsBatch() {
		s.queueData(SendSoon) // the FIN, if the stream was closed meanwhile
	}
}

// writePart writes p, however long that takes. It writes only a part of p if a rate limit is set meanwhile and there was
// none before.
func (s *Stream) writePart(p []byte, isRest bool) (n int, err error) {
	h := &s.send
	if s.shared.WriteThrough {
		h.wroteSinceRead = true
		return s.writeBorrowed(p)
	}
	isBulk := s.noteBulk(len(p), isRest)
	if !h.wroteSinceRead {
		h.wroteSinceRead = true
		if len(p) < s.shared.minBorrow(true) {
			return s.writeCopied(p, SendNow)
		}
		return s.writeBorrowed(p)
	}
	// The end of p that does not fill a batch is copied, so that it can be sent together with the next Write, if p
	// belongs to bulk data or the end is short.
	end := min((int(h.unsent)+len(p))%s.fullBatch(), len(p))
	switch {
	case isBulk:
		s.hold()
		if len(p) >= s.shared.maxPending()/4 && s.isCrowded() {
			if end = (int(h.unsent) + len(p)) % s.framePayload(); end >= maxShortEnd {
				end = 0
			}
			break
		}
		if len(p)-end < s.shared.minBorrow(false) {
			return s.writeCopied(p, SendSoon)
		}
	case len(p) < s.shared.minBorrow(false):
		return s.writeCopied(p, SendSoon)
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
	k, err := s.writeCopied(p[n:], SendSoon)
	return n + k, err
}

// framePayload returns the payload of full frames. It is a little less than MaxFrameSize if two frames then fill
// a batch.
func (s *Stream) framePayload() int {
	if n := s.shared.MaxFrameSize; n < frameTarget || n > frameTarget+frameTarget/50 {
		return min(n, wire.MaxBatchPayload)
	}
	return frameTarget
}

// fullBatch returns how much payload fills a batch with frames of full size.
func (s *Stream) fullBatch() int {
	n := s.framePayload()
	return max(1, (wire.BatchSize-2*wire.HeaderSize)/(n+wire.HeaderSize)) * n
}

// writeCopied copies p to the pending data, and waits while that is full. If SendBudget has no room, or p is longer than
// the pending data may be, the rest of p is sent from the caller's buffer. u says how soon the data is sent if there is
// less than a full batch of it.
func (s *Stream) writeCopied(p []byte, u Urgency) (n int, err error) {
	h := &s.send
	limit := s.shared.maxPending()
	for {
		if err := s.writeErr(); err != nil {
			return n, err
		}
		room := limit - int(h.unsent)
		if room <= 0 {
			s.queueData(SendNow)
			s.settle()
			if int(h.unsent) >= limit && s.writeErr() == nil {
				s.waitToSend(s.blockCause())
			}
			continue
		}
		k := 0
		if len(p)-n <= limit {
			k = s.copyIn(p[n : n+min(room, len(p)-n)])
			n += k
		}
		if batch := s.fullBatch(); int(h.unsent) >= batch && (s.holds() || len(p) >= batch) {
			u = SendNow
		}
		if u == SendNow || !s.awaitsBatch() {
			s.queueData(u)
		}
		if n == len(p) {
			return n, nil
		}
		if k == 0 {
			k, err := s.writeBorrowed(p[n:])
			return n + k, err
		}
	}
}

// writeBorrowed makes the session send p from the caller's buffer. It waits until that is done, or until a rate limit is
// set and there was none before. With WriteThrough, it also waits until the transport has taken p.
func (s *Stream) writeBorrowed(p []byte) (n int, err error) {
	h := &s.send
	unlimited := s.limiter() == nil
	h.borrowed = p
	for {
		s.queueData(SendNow)
		s.settle()
		switch err := s.writeErr(); {
		case h.borrows > 0:
			// A batch refers to p. It is being written, which does not wait for the peer's window.
		case len(h.borrowed) == 0 && (!s.isGiven() || h.peer == peerClosed):
			return len(p), nil // a peer that has got the data may close before the transport's Write has returned
		case len(h.borrowed) == 0 && err == nil:
			// The transport takes p, or its last part.
		case err != nil || unlimited && s.limiter() != nil:
			n = len(p) - len(h.borrowed)
			h.borrowed = nil
			return n, err
		}
		if h.borrows > 0 || s.queued&dataQueue != 0 || !s.canSend() {
			s.waitToSend(s.blockCause())
		}
	}
}

// writeErr returns why Write fails, or nil.
func (s *Stream) writeErr() error {
	switch {
	case s.closed != notClosed || s.send.state != sendOpen && s.send.state != sendGivenUp:
		return s.closedErr()
	case s.send.peer == peerClosed:
		return s.peerClosedErr()
	case s.session != sessionUp:
		return s.sessionErr()
	case s.extras != nil && s.extras.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// copyIn copies p to the pending data, or only the first part of p if SendBudget has no room for more. It returns how
// many bytes it has copied.
func (s *Stream) copyIn(p []byte) (n int) {
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

// pendingRoom returns the free end of the last pending buffer. It ends at a multiple of a full frame if at most an eighth
// of the buffer is left unused by that: then no frame is in two buffers.
func (s *Stream) pendingRoom() []byte {
	tail := s.send.pending.Tail()
	if tail == nil {
		return nil
	}
	size := len(tail.Data)
	if end := size % s.framePayload(); end <= size/8 {
		size -= end
	}
	return tail.Data[tail.W:max(size, tail.W)]
}

// newPending returns a buffer for up to n more bytes, or nil if SendBudget has no room for one. The more data is pending,
// the larger is the buffer, so that there are few. But all buffers together take at most two bytes for each pending byte,
// and the smallest buffer more.
func (s *Stream) newPending(n int) *buffer.Buf {
	h := &s.send
	size := buffer.Class(n)
	for 2*size <= min(int(h.unsent), buffer.Max) {
		size *= 2
	}
	limit := 2*(int(h.unsent)+n) + buffer.Min - int(h.charged)
	for size > buffer.Min && size > limit {
		size /= 2
	}
	if b := s.shared.SendBudget; b != nil && !b.TryCharge(size) {
		return nil
	}
	h.charged += int32(size)
	return buffer.Get(size)
}

// ReadFrom reads from r and writes to the stream until r returns io.EOF, for which ReadFrom returns nil, or until either
// fails. It blocks as [Stream.Write] does, and while r.Read does. Its error is that of r, unchanged, or that of Write. It
// returns how many bytes it has written; bytes that it has read from r beyond them are lost.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	b := buffer.Get(buffer.Max)
	defer b.Release()
	p := b.Data
	if frame := s.framePayload(); frame < len(p) {
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
		// If the buffer is full, the next data may be the rest of what r had.
		isRest = n == len(p)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
