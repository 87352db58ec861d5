package source

import (
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/reassembly"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

const (
	// maxConns is the most TCP connections that are followed at the same time. At that many, the half that was quiet for
	// the longest time is given up: their later bytes are those of new connections.
	maxConns = 1 << 14
	// maxPages and maxPagesPerConn are how many pages of 2 KB out-of-order segments take, for all connections and for
	// one. Beyond that, what is missing before them counts as lost.
	maxPages        = 1 << 15
	maxPagesPerConn = 1 << 12
)

// An assembler puts TCP segments together, and feeds connections with them.
type assembler struct {
	set    *conversation.Set
	filter Filter
	lib    *reassembly.Assembler
	open   map[*tcpConn]bool
	now    time.Time // of the newest packet
	late   lateConns

	flushed time.Time // when missing bytes were last given up
	since   int       // segments since then

	maxConns int
	givingUp bool  // connections end because too many are open
	givenUp  int64 // such connections on which frames were found
}

func newAssembler(set *conversation.Set, f Filter) *assembler {
	a := &assembler{set: set, filter: f, open: make(map[*tcpConn]bool), maxConns: maxConns}
	a.lib = reassembly.NewAssembler(reassembly.NewStreamPool(a))
	a.lib.MaxBufferedPagesTotal, a.lib.MaxBufferedPagesPerConnection = maxPages, maxPagesPerConn
	return a
}

// handle handles a segment.
func (a *assembler) handle(network gopacket.Flow, segment *layers.TCP, ci gopacket.CaptureInfo) {
	if p := a.filter.Port; p != 0 && int(segment.SrcPort) != p && int(segment.DstPort) != p {
		return
	}
	if ci.Timestamp.After(a.now) {
		a.now = ci.Timestamp
	}
	if len(a.open) >= a.maxConns {
		a.giveUp()
	}
	// A flush looks at all connections. So it waits for as many segments, whatever the times in the capture are.
	if a.since++; a.since > len(a.open) && a.now.Sub(a.flushed) > flushAfter/2 {
		a.flushed, a.since = a.now, 0
		a.lib.FlushWithOptions(reassembly.FlushOptions{T: a.now.Add(-flushAfter)})
	}
	a.lib.AssembleWithContext(network, segment, segmentContext(ci))
}

// close ends all connections.
func (a *assembler) close() {
	a.lib.FlushAll()
	left := make([]*tcpConn, 0, len(a.open))
	for c := range a.open {
		left = append(left, c)
	}
	slices.SortFunc(left, func(x, y *tcpConn) int { return x.conn.ID - y.conn.ID })
	for _, c := range left {
		c.conn.Close(a.now)
	}
}

// New follows a new connection. The library calls it for a segment of an unknown one.
func (a *assembler) New(network, transport gopacket.Flow, segment *layers.TCP, ac reassembly.AssemblerContext) reassembly.Stream {
	key := connKey{network, transport}
	if !segment.SYN && (len(segment.Payload) == 0 || a.late.has(key)) {
		return nil // nothing to show, or left over of a connection that is over
	}
	src := net.JoinHostPort(network.Src().String(), strconv.Itoa(int(segment.SrcPort)))
	dst := net.JoinHostPort(network.Dst().String(), strconv.Itoa(int(segment.DstPort)))
	c := &tcpConn{a: a, key: key, last: ac.GetCaptureInfo().Timestamp}
	// The first segment is of the side that connects, unless it answers a SYN. In the middle of a connection, the lower
	// port is taken for the one that was connected to.
	if segment.SYN && segment.ACK || !segment.SYN && segment.SrcPort < segment.DstPort {
		c.flip = true
		src, dst = dst, src
	}
	c.conn = a.set.Open(src, dst, c.last)
	a.open[c] = true
	return c
}

// giveUp ends the half of the connections that was quiet for the longest time, or all if their times are the same.
func (a *assembler) giveUp() {
	a.givingUp = true
	defer func() { a.givingUp = false }()
	times := make([]time.Time, 0, len(a.open))
	for c := range a.open {
		times = append(times, c.last)
	}
	slices.SortFunc(times, time.Time.Compare)
	a.lib.FlushCloseOlderThan(times[len(times)/2])
	if len(a.open) > 3*a.maxConns/4 {
		a.lib.FlushAll()
	}
}

// A segmentContext is the context of a segment for the library.
type segmentContext gopacket.CaptureInfo

// GetCaptureInfo returns the context.
func (c segmentContext) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(c) }

// A connKey names a connection by its addresses and ports, in one direction.
type connKey [2]gopacket.Flow

// lateConns are the connections that were closed last: their late segments begin no new ones.
type lateConns struct {
	keys [256]connKey
	next int
}

func (l *lateConns) add(k connKey) {
	l.keys[l.next%len(l.keys)] = k
	l.next++
}

func (l *lateConns) has(k connKey) bool {
	reverse := connKey{k[0].Reverse(), k[1].Reverse()}
	return slices.Contains(l.keys[:], k) || slices.Contains(l.keys[:], reverse)
}

// A tcpConn is a connection that is put together. It implements reassembly.Stream.
type tcpConn struct {
	a    *assembler
	key  connKey
	conn *conversation.Conn
	flip bool // the library's client-to-server is Backward
	last time.Time

	dirs [2]tcpDir
	// The handshake: when SYN and its answer came.
	syn, synAck time.Time
}

// A tcpDir is a direction of a tcpConn.
type tcpDir struct {
	seen   bool                // a segment was seen
	reset  bool                // the sender has reset the connection
	ended  bool                // EndDir was called
	end    reassembly.Sequence // behind the last byte that was seen; 0 before the first one
	acked  reassembly.Sequence // what the other side has acknowledged; 0 before that
	closed time.Time           // since when the sender of this direction takes nothing: its window is 0
}

// lost reports whether the other side has acknowledged bytes that were not seen: the capture has lost them, or has them
// later. A FIN may be one that was not counted.
func (t *tcpDir) lost() bool { return t.end != 0 && t.acked != 0 && t.end.Difference(t.acked) > 1 }

func (c *tcpConn) dir(d reassembly.TCPFlowDirection) conversation.Dir {
	if bool(d) != c.flip {
		return conversation.Backward
	}
	return conversation.Forward
}

// Accept looks at a segment before its bytes are put in order.
func (c *tcpConn) Accept(segment *layers.TCP, ci gopacket.CaptureInfo, dir reassembly.TCPFlowDirection, next reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	d := c.dir(dir)
	t := &c.dirs[d]
	c.last = ci.Timestamp
	if !t.seen {
		t.seen = true
		if !segment.SYN {
			*start = true
			c.conn.Middle(d)
		}
	}
	c.noteHandshake(segment, d, ci.Timestamp)
	c.noteWindow(segment, d, ci.Timestamp)
	c.noteSequence(segment, d, next)
	if segment.RST {
		t.reset = true
	}
	return true
}

// noteSequence notes what the segment says about the bytes of both directions.
func (c *tcpConn) noteSequence(segment *layers.TCP, d conversation.Dir, next reassembly.Sequence) {
	t, seq, n := &c.dirs[d], reassembly.Sequence(segment.Seq), len(segment.Payload)
	end := seq.Add(n)
	if segment.SYN {
		end = end.Add(1)
	}
	if t.end == 0 || t.end.Difference(end) > 0 {
		t.end = end
	}
	if n > 0 && next >= 0 {
		ahead := next.Difference(seq)
		if ahead < 0 && !(ahead == -1 && n == 1) { // a probe of TCP's keep-alive has an old byte
			c.conn.Retransmitted[d]++
		}
		c.conn.Behind(d, ahead > 0 || t.lost())
	}
	if other := &c.dirs[d.Other()]; segment.ACK {
		ack := reassembly.Sequence(segment.Ack)
		if other.acked == 0 || other.acked.Difference(ack) > 0 {
			other.acked = ack
		}
		if other.lost() {
			c.conn.Behind(d.Other(), true)
		}
	}
}

func (c *tcpConn) noteHandshake(segment *layers.TCP, d conversation.Dir, t time.Time) {
	switch {
	case segment.SYN && !segment.ACK:
		c.syn = t
	case segment.SYN:
		c.synAck = t
	case !c.syn.IsZero() && !c.synAck.IsZero() && segment.ACK && d == conversation.Forward && c.conn.Handshake == 0:
		c.conn.Handshake = t.Sub(c.syn)
		c.syn = time.Time{}
	}
}

// noteWindow notes when a side takes no data.
func (c *tcpConn) noteWindow(segment *layers.TCP, d conversation.Dir, t time.Time) {
	if segment.SYN || segment.RST {
		return
	}
	at := &c.dirs[d].closed
	switch {
	case segment.Window == 0 && at.IsZero():
		*at = t
	case segment.Window > 0 && !at.IsZero():
		c.conn.Blocked(d.Other(), *at, t, "the receiver's TCP window was 0")
		*at = time.Time{}
	}
}

// ReassembledSG takes bytes in their order.
func (c *tcpConn) ReassembledSG(sg reassembly.ScatterGather, ac reassembly.AssemblerContext) {
	dir, _, end, skip := sg.Info()
	d := c.dir(dir)
	t := c.a.now
	if ac != nil {
		t = ac.GetCaptureInfo().Timestamp
	}
	if t.Before(c.last) {
		t = c.last // bytes that have waited arrive now
	}
	if skip > 0 {
		c.conn.Gap(d, t, int64(skip))
	}
	if n, _ := sg.Lengths(); n > 0 {
		c.conn.Data(d, t, sg.Fetch(n))
	}
	c.conn.Behind(d, c.dirs[d].lost())
	if end {
		how := conversation.EndFIN
		if c.dirs[d].reset {
			how = conversation.EndReset
		}
		c.endDir(d, t, how)
		if how == conversation.EndReset {
			c.endDir(d.Other(), t, how)
		}
	}
}

func (c *tcpConn) endDir(d conversation.Dir, t time.Time, how conversation.Ending) {
	if !c.dirs[d].ended {
		c.dirs[d].ended = true
		c.conn.EndDir(d, t, how)
	}
}

// ReassemblyComplete ends the connection.
func (c *tcpConn) ReassemblyComplete(reassembly.AssemblerContext) bool {
	if c.a.open[c] {
		delete(c.a.open, c)
		if c.a.givingUp && c.conn.Version != 0 {
			c.a.givenUp++
		}
		c.conn.Close(c.last)
		c.a.late.add(c.key)
	}
	return true
}
