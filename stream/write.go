package stream

import (
	"io"
	"net"
	"os"

	"github.com/smuxkit/smuxkit/internal/buffer"
)

const (
	// lendWrite is the length from which a Write is sent from its caller's
	// buffer instead of being copied.
	lendWrite = 8 << 10
	// maxPending is how much copied data may wait to be sent.
	maxPending = 64 << 10
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
func (s *Stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	n, err = s.write(p)
	s.mu.Unlock()
	return n, s.opError("write", err)
}

func (s *Stream) write(p []byte) (n int, err error) {
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
	if len(p) < lendWrite && int(s.unsent)+len(p) <= maxPending {
		urgency := Soon
		if !s.spoke {
			s.spoke, urgency = true, Now
		}
		s.accept(p)
		s.submit(urgency)
		return len(p), nil
	}
	s.writing = true
	s.spoke = true
	if len(p) < lendWrite {
		n, err = s.writeCopied(p)
	} else {
		n, err = s.writeLent(p)
	}
	s.writing = false
	s.writers.wake()
	s.submit(Soon) // FIN, if the stream was closed meanwhile
	return n, err
}

// accept copies p to the pending data, in buffers that make one frame each.
func (s *Stream) accept(p []byte) {
	s.unsent += int32(len(p))
	for len(p) > 0 {
		tail := s.pending.Tail
		room := 0
		if tail != nil {
			room = min(len(tail.Room()), s.cfg.MaxFrame-tail.W)
		}
		if room <= 0 {
			tail = buffer.Get(int(s.unsent))
			s.pending.Push(tail)
			room = min(len(tail.Room()), s.cfg.MaxFrame)
		}
		p = p[tail.Append(p[:min(room, len(p))]):]
	}
}

// writeCopied waits for room.
func (s *Stream) writeCopied(p []byte) (n int, err error) {
	for {
		if room := maxPending - int(s.unsent); room > 0 {
			k := min(room, len(p)-n)
			s.accept(p[n : n+k])
			n += k
			s.submit(Soon)
		}
		if n == len(p) {
			return n, nil
		}
		if err := s.writeErr(); err != nil {
			return n, err
		}
		if s.unsent < maxPending {
			continue
		}
		s.submit(Now)
		if s.unsent >= maxPending && s.writeErr() == nil {
			s.wait(&s.writers)
		}
	}
}

// writeLent has p sent from where it is, and waits until that is done.
func (s *Stream) writeLent(p []byte) (n int, err error) {
	s.lending = p
	for {
		s.submit(Now)
		switch err := s.writeErr(); {
		case s.loans > 0:
			// Being sent right now; that takes no waiting for the peer.
		case len(s.lending) == 0:
			return len(p), nil
		case err != nil:
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
		return net.ErrClosed
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
	b := buffer.Get(s.cfg.MaxFrame)
	defer b.Free()
	p := b.Data[:min(len(b.Data), s.cfg.MaxFrame)]
	for {
		n, err := r.Read(p)
		if n > 0 {
			k, werr := s.Write(p[:n])
			total += int64(k)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
