package stream

import "github.com/smuxkit/smuxkit/internal/buffer"

// HoldUnread has the stream count n more unread bytes than lie in its queue: nobody wants to hold
// gigabytes in a test.
func (c *Core) HoldUnread(n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.addUnread(n)
}

// Pending returns how many bytes of Writes were copied and wait to be sent.
func (c *Core) Pending() int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return int(c.s.send.unsent)
}

// MinBuffer is the size of the smallest buffer.
const MinBuffer = buffer.Min

// Unread returns how many bytes wait for their reader.
func (c *Core) Unread() int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.recv.unread
}

// UnreadMemory returns how many bytes the buffers of unread data take.
func (c *Core) UnreadMemory() (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var q buffer.Queue
	for !c.s.recv.queue.Empty() {
		b := c.s.recv.queue.Pop()
		n += len(b.Data)
		q.Push(b)
	}
	c.s.recv.queue = q
	return n
}
