package stream

import (
	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
)

// HoldUnread makes the stream count n more unread bytes than its queue holds. A test can then have gigabytes of
// them.
func (c *Core) HoldUnread(n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.addUnread(n)
}

// Pending returns the number of bytes that Writes copied and that wait to be sent.
func (c *Core) Pending() int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return int(c.s.send.unsent)
}

// MinBuffer is the size of the smallest buffer.
const MinBuffer = buffer.Min

// Unread returns the number of unread bytes.
func (c *Core) Unread() int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.recv.unread
}

// UnreadMemory returns the size of the buffers of unread data.
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

// SkipCounters makes the stream count as if n bytes had gone each way before.
func (c *Core) SkipCounters(n uint32) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	done := uint32(0)
	for left := n; left > 0; {
		k := min(left, 1<<29)
		left -= k
		done += k
		c.s.send.window.AddSent(int(k))
		_ = c.s.send.window.Update(done, flow.InitialWindow)
		_ = c.s.recv.window.AddReceived(int(k), 0, 0)
		c.s.recv.window.AddRead(int(k), 0)
		c.s.recv.window.Update(nil, 0)
	}
}

// BulkStreams returns how many streams count as those with bulk data.
func (c *Shared) BulkStreams() int {
	if r := c.rare.Load(); r != nil {
		return int(r.bulk.Load())
	}
	return 0
}

// Sendable returns how many bytes wait to be sent, those of Writes that wait included, for which the peer's window has room.
func (c *Core) Sendable() int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	n := c.s.send.waiting()
	if c.s.isWindowed() {
		n = min(n, c.s.send.window.Available())
	}
	return n
}
