package fuzz

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// What the application of a play does with the session and its streams.

func (p *play) open() {
	if p.model.stalled && len(p.streams) > 100 {
		return
	}
	want := p.model.opening()
	st, err := p.s.OpenStream(context.Background())
	if !want.allows(0, err) {
		p.failf("OpenStream: %v, want %v", err, want)
	}
	if err == nil {
		p.streams = append(p.streams, &played{modelStream: p.model.open(st.ID()), st: st})
	}
}

func (p *play) shut() {
	m := p.model
	if p.closing != nil {
		return
	}
	p.flushes = !m.stalled && m.end == nil
	for _, st := range p.streams {
		if st.writing != nil || st.givenUp || m.windows && st.written > st.edge && !st.dropped {
			p.flushes = false
		}
	}
	for _, st := range m.waiting {
		p.refused[st.id] = 0
	}
	m.close()
	p.closing = p.start("Session.Close", 0, func(*call) (int, error) { return 0, p.s.Close() })
}

// streamActs does what s says as the application, to stream st.
func (p *play) streamActs(s step, st *played) {
	switch s.name {
	case "read":
		if st.reading == nil {
			size := s.arg(1)
			if p.model.closed {
				size = max(size, 1) // a Read of nothing may still succeed on a finished stream
			}
			st.reading = p.start("Read", size, func(c *call) (int, error) {
				c.buf = make([]byte, c.size)
				return st.st.Read(c.buf)
			})
		}
	case "writeto":
		if st.reading == nil {
			to := &sink{t: p.t, id: st.id, off: st.read}
			st.reading = p.start("WriteTo", 1, func(*call) (int, error) {
				n, err := st.st.WriteTo(to)
				return int(n), err
			})
			st.reading.sink = to
		}
	case "write":
		if st.writing == nil {
			data := pattern(st.id).bytes(st.written, p.spend(s.arg(1)))
			st.writing = p.start("Write", len(data), func(*call) (int, error) { return st.st.Write(data) })
		}
	case "readfrom":
		if n := p.spend(s.arg(1)); st.writing == nil && n > 0 {
			src := &source{pattern(st.id), st.written, n}
			st.writing = p.start("ReadFrom", src.left, func(*call) (int, error) {
				n, err := st.st.ReadFrom(src)
				return int(n), err
			})
		}
	case "flush":
		p.flush(st, s.duration(1))
	case "closewrite":
		err := st.st.CloseWrite()
		if p.model.noHalfClose {
			if !errors.Is(err, errors.ErrUnsupported) {
				p.failf("CloseWrite: %v, want %v", err, errors.ErrUnsupported)
			}
			break
		}
		if err != nil {
			p.failf("CloseWrite: %v", err)
		}
		st.closeWrite()
	case "closeread":
		if err := st.st.CloseRead(); err != nil {
			p.failf("CloseRead: %v", err)
		}
		st.closeRead()
	case "close":
		lossless := !st.dropped && p.model.end == nil && !p.model.closed
		if err := st.st.Close(); err != nil && lossless {
			p.failf("Close: %v", err)
		}
		st.close()
	case "readdeadline", "writedeadline":
		at := time.Time{}
		if d := s.duration(1); d > 0 {
			at = time.Now().Add(d)
		}
		set, deadline := st.st.SetReadDeadline, &st.readDeadline
		if s.name == "writedeadline" {
			set, deadline = st.st.SetWriteDeadline, &st.writeDeadline
		}
		err := set(at)
		if (err != nil) != st.closed || err != nil && !errors.Is(err, net.ErrClosed) {
			p.failf("Set%s: %v", s.name, err)
		}
		if err == nil {
			*deadline = at
		}
	}
}

// A sink takes what WriteTo writes.
type sink struct {
	t  *testing.T
	id uint32

	mu  sync.Mutex
	off int
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !pattern(s.id).matches(b, s.off) {
		s.t.Errorf("WriteTo gives wrong data of stream %d at %d", s.id, s.off)
	}
	s.off += len(b)
	return len(b), nil
}

func (s *sink) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off
}

// A source is what ReadFrom reads.
type source struct {
	pattern pattern
	off     int
	left    int
}

func (s *source) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.pattern.bytes(s.off, min(len(b), s.left)))
	s.off += n
	s.left -= n
	return n, nil
}
