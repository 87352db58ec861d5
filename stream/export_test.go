package stream

import "github.com/smuxkit/smuxkit/internal/buffer"

// HoldUnread has the stream count n more unread bytes than lie in its queue: nobody wants to hold
// gigabytes in a test.
func (p *Port) HoldUnread(n int) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.unread += n
	p.s.cfg.Budget.Take(n)
}

// Pending returns how many bytes of Writes were copied and wait to be sent.
func (p *Port) Pending() int {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return int(p.s.unsent)
}

// MinBuffer is the size of the smallest buffer.
const MinBuffer = buffer.Min

// Unread returns how many bytes wait for their reader.
func (p *Port) Unread() int {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread
}
