package conversation

import (
	"cmp"
	"slices"
	"time"
)

// In this file, a connection keeps streams for its summary.

// keep keeps a stream for the summary.
func (c *Conn) keep(s *Stream) {
	if only := c.set.opts.KeepStream; c.set.opts.Keep == 0 || only != 0 && s.ID != only {
		return
	}
	c.kept = append(c.kept, s)
	if len(c.kept) >= 2*c.set.opts.Keep+64 {
		c.trimKept()
	}
}

// trimKept drops the streams that are not worth to be kept.
func (c *Conn) trimKept() {
	slices.SortStableFunc(c.kept, func(a, b *Stream) int {
		return cmp.Or(cmp.Compare(b.blocked(), a.blocked()), cmp.Compare(b.bytes(), a.bytes()), cmp.Compare(a.ID, b.ID))
	})
	if n := c.set.opts.Keep; len(c.kept) > n {
		clear(c.kept[n:])
		c.kept = c.kept[:n]
	}
}

// blocked returns how long the stream was blocked, in both directions.
func (s *Stream) blocked() time.Duration {
	var sum time.Duration
	for i := range s.Half {
		h := &s.Half[i]
		sum += h.Window.Total + h.Transport.Total
		if !h.Waits.IsZero() {
			sum += s.End.Sub(h.Waits)
		}
	}
	return sum
}

func (s *Stream) bytes() int64 { return s.Half[0].Bytes + s.Half[1].Bytes }

// Streams returns the streams that were kept, in the order in which they began. The connection must be over.
func (c *Conn) Streams() []*Stream {
	slices.SortStableFunc(c.kept, func(a, b *Stream) int {
		return cmp.Or(a.Begin.Compare(b.Begin), cmp.Compare(a.ID, b.ID))
	})
	return c.kept
}
