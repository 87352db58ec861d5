package stream

import (
	"io"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

const (
	// lendWrite is the length from which a Write is sent from its caller's buffer
	// instead of being copied. Below it, sending several together saves more than the
	// copy costs.
	lendWrite = 32 << 10
	// lendFirst is the same for the first Write after a Read, which goes out alone.
	lendFirst = 4 << 10
	// shortEnd is up to which length the end of a long Write is sent with what
	// follows.
	shortEnd = 8 << 10
	// maxPending is how much copied data may wait to be sent: two batches.
	maxPending = 4 * frameTarget
)

// Write writes p. It returns when all of p was handed to the transport or copied, so
// that p may be reused, and will reach the transport unless the session dies. It blocks
// while too much waits to be sent or, in version 2, the peer's window is full; and
// ends early at its deadline, with net.ErrClosed after Close or CloseWrite, with
// [ErrPeerClosed], or with the reason for the end of the session. n is then the number of
// bytes that were written before that, no others will be sent.
//
// Small writes that follow each other are sent together. The first one after a Read
// goes straight out.
func (s *Stream) Write(p []byte) (n int, err error) { return s.writeNext(p, false) }

// writeNext is Write. If rest, p goes with the Write before it, if that was one of bulk data.
func (s *Stream) writeNext(p []byte, rest bool) (n int, err error) {
	s.mu.Lock()
	n, err = s.write(p, rest)
	s.mu.Unlock()
	return n, s.opError("write", err)
}

func (s *Stream) write(p []byte, rest bool) (n int, err error) {
	for {
		if err := s.writeErr(); err != nil {
			return 0, err
		}
		if !s.writing {
			break
		}
		s.wait(&s.writers)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if s.rate != nil {
		return s.writeInParts(p)
	}
	copied := 0
	switch room := maxPending - int(s.unsent); {
	case len(p) > room || len(p) >= minBulkWrite || rest && s.bulk != nil:
	case s.spoke:
		copied = s.accept(p)
		s.bulk.end()
		s.submit(Soon)
	case len(p) < lendFirst:
		s.spoke = true
		copied = s.accept(p)
		s.bulk.end()
		s.submit(Now)
	}
	if copied == len(p) {
		return copied, nil
	}
	if s.bulk != nil {
		s.bulk.rest = rest
	}
	n, err = s.writeInParts(p[copied:])
	return copied + n, err
}

// writePart writes p, waiting as long as it takes. If a rate is set meanwhile where there was
// none, it writes less.
func (s *Stream) writePart(p []byte) (n int, err error) {
	isBulk := s.noteBulk(len(p))
	if !s.spoke {
		s.spoke = true
		return s.writeLent(p)
	}
	// The end of a Write that does not fill a batch is left for the next one to go with, if that
	// is bulk data, or if the end is short.
	rest := min((int(s.unsent)+len(p))%s.batch(), len(p))
	switch {
	case isBulk:
		s.hold()
		if len(p)-rest < lendWrite {
			return s.writeCopied(p)
		}
	case len(p) < lendWrite:
		return s.writeCopied(p)
	case rest >= min(shortEnd, len(p)):
		return s.writeLent(p)
	}
	n, err = s.writeLent(p[:len(p)-rest])
	if err == nil {
		err = s.writeErr()
	}
	if err != nil || n < len(p)-rest || rest == 0 {
		return n, err
	}
	k, err := s.writeCopied(p[n:])
	return n + k, err
}

// frame returns the most payload in a frame. A little less than MaxFrame is better if two frames
// then fill a batch.
func (s *Stream) frame() int {
	if n := s.cfg.MaxFrame; n < frameTarget || n > frameTarget+frameTarget/50 {
		return min(n, frameMax)
	}
	return frameTarget
}

// batch returns how much payload fills a batch with frames of full size.
func (s *Stream) batch() int {
	n := s.frame()
	return max(1, (batchLimit-2*wire.HeaderSize)/(n+wire.HeaderSize)) * n
}

// writeDone lets the next Write begin.
func (s *Stream) writeDone() {
	s.writing = false
	s.bulk.wrote()
	s.writers.wake()
	s.submit(Soon) // FIN, if the stream was closed meanwhile
}

// writeInParts writes p no faster than the stream's rate, if there is one.
func (s *Stream) writeInParts(p []byte) (n int, err error) {
	s.writing = true
	defer s.writeDone()
	for n < len(p) {
		part := len(p) - n
		if s.rate != nil {
			part = min(part, s.rate.Burst(), s.cfg.MaxFrame)
			if err := s.awaitRate(part); err != nil {
				return n, err
			}
		}
		k, err := s.writePart(p[n : n+part])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// awaitRate waits until n bytes may be written, and takes them off the rate.
func (s *Stream) awaitRate(n int) error {
	for {
		if err := s.writeErr(); err != nil {
			return err
		}
		if s.rate == nil {
			return nil
		}
		d := s.rate.Delay(n, time.Now())
		if d == 0 {
			s.rate.Reserve(n, time.Now())
			return nil
		}
		timer := time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.writers.wake()
		})
		s.wait(&s.writers)
		timer.Stop()
	}
}

// SetSendRate limits the data that is written to so many bytes a second in the long run, and at
// most burst bytes at once; burst 0 is what the rate brings in a tenth of a second. A rate of 0
// is no limit, which is the default. Calls that are blocked go on at the new rate.
func (s *Stream) SetSendRate(bytesPerSecond float64, burst int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = flow.NewLimiter(bytesPerSecond, burst)
	s.writers.wake()
}

// SetWeight sets the stream's share of what its session sends, in relation to the other streams
// that have something to send: with twice the weight, twice the bytes. It is 1 by default and at
// most 256.
func (s *Stream) SetWeight(weight int) { s.link.SetWeight(weight) }

// accept copies p to the pending data, or the first part of it if SendBudget has no more, and
// returns how much.
func (s *Stream) accept(p []byte) (n int) {
	for n < len(p) {
		room := s.pendingRoom()
		if len(room) == 0 {
			tail := s.newPending(len(p) - n)
			if tail == nil {
				return n
			}
			s.pending.Push(tail)
			room = s.pendingRoom()
		}
		k := copy(room, p[n:])
		s.pending.Tail().W += k
		s.unsent += int32(k)
		n += k
	}
	return n
}

// pendingRoom returns the free end of the last pending buffer. A buffer holds whole frames if
// that leaves little of it unused.
func (s *Stream) pendingRoom() []byte {
	tail := s.pending.Tail()
	if tail == nil {
		return nil
	}
	size := len(tail.Data)
	if end := size % s.frame(); end <= size/8 {
		size -= end
	}
	return tail.Data[tail.W:max(size, tail.W)]
}

// newPending returns a buffer for n more bytes or less, or nil if SendBudget has none. It is as large as
// what is pending, so that there are few, but all of them take at most two bytes for each that is
// pending, and one smallest buffer.
func (s *Stream) newPending(n int) *buffer.Buf {
	size := buffer.Class(n)
	for 2*size <= min(int(s.unsent), buffer.Max) {
		size *= 2
	}
	limit := 2*(int(s.unsent)+n) + buffer.Min - int(s.held)
	for size > buffer.Min && size > limit {
		size /= 2
	}
	if b := s.cfg.SendBudget; b != nil && !b.TryTake(size) {
		return nil
	}
	s.held += int32(size)
	return buffer.Get(size)
}

// release gives n bytes of buffers back to SendBudget.
func (s *Stream) release(n int32) {
	s.held -= n
	if b := s.cfg.SendBudget; b != nil {
		b.Return(int(n))
	}
}

// writeCopied copies p to what is pending, and waits for room there. What finds no room in
// SendBudget is sent from where it is.
func (s *Stream) writeCopied(p []byte) (n int, err error) {
	for {
		if err := s.writeErr(); err != nil {
			return n, err
		}
		if room := maxPending - int(s.unsent); room > 0 {
			k := s.accept(p[n : n+min(room, len(p)-n)])
			n += k
			if s.bulk.holding() && int(s.unsent) >= s.batch() {
				s.submit(Now)
			} else {
				s.submit(Soon)
			}
			if n == len(p) {
				return n, nil
			}
			if k == 0 {
				k, err := s.writeLent(p[n:])
				return n + k, err
			}
			continue
		}
		s.submit(Now)
		if s.unsent >= maxPending && s.writeErr() == nil {
			s.wait(&s.writers)
		}
	}
}

// writeLent has p sent from where it is, and waits until that is done, or until a rate is
// set where there was none.
func (s *Stream) writeLent(p []byte) (n int, err error) {
	unlimited := s.rate == nil
	s.lending = p
	for {
		s.submit(Now)
		switch err := s.writeErr(); {
		case s.loans > 0:
			// Being sent right now; that takes no waiting for the peer.
		case len(s.lending) == 0:
			return len(p), nil
		case err != nil || unlimited && s.rate != nil:
			n = len(p) - len(s.lending)
			s.lending = nil
			return n, err
		}
		if !s.sendable() || s.dataQueued || s.loans > 0 {
			s.wait(&s.writers)
		}
	}
}

// writeErr returns why Write must fail.
func (s *Stream) writeErr() error {
	switch {
	case s.closed || s.out != outOpen:
		return s.closedErr()
	case s.peerClosed:
		return ErrPeerClosed
	case s.err != nil:
		return s.err
	case s.writeLimit.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// submit puts the stream in line to send its data, if there is any that may be sent. It
// releases s.mu meanwhile.
func (s *Stream) submit(u Urgency) {
	if s.dataQueued && u != Now || !s.sendable() {
		return
	}
	s.dataQueued = true
	s.mu.Unlock()
	s.link.SendData(u)
	s.mu.Lock()
}

// ReadFrom reads from r and writes to the stream until r ends, which is no error, or
// either fails. It blocks as Write does, and as long as r.Read does.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	b := buffer.Get(buffer.Max)
	defer b.Free()
	p := b.Data
	if frame := s.frame(); frame < len(p) {
		p = p[:len(p)-len(p)%frame]
	}
	filled := false
	for {
		n, err := r.Read(p)
		if n > 0 {
			k, werr := s.writeNext(p[:n], filled)
			total += int64(k)
			if werr != nil {
				return total, werr
			}
		}
		// What follows a full buffer may be the rest of what r had at once.
		filled = n == len(p)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
