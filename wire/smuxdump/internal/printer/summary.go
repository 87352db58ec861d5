package printer

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// Summary prints the summary of each connection when it is over, as text, or as an object of JSON in a line.
type Summary struct {
	W      *bufio.Writer
	Select Select
	JSON   bool

	problems map[int][]string // of the connections that are not over; see maxProblems
}

// maxProblems is how many problems of a connection a summary tells.
const maxProblems = 10

// Handle prints the connection if it is over.
func (p *Summary) Handle(e *conversation.Event) {
	if !p.Select.wants(e) {
		return
	}
	p.noteProblem(e)
	if e.Kind != conversation.End {
		return
	}
	if p.JSON {
		(&JSON{W: p.W}).print(summaryOf(e.Conn, p.Select, p.problems[e.Conn.ID]))
	} else {
		p.text(e.Conn)
	}
	delete(p.problems, e.Conn.ID)
}

func (p *Summary) noteProblem(e *conversation.Event) {
	var text string
	switch {
	case e.Violation != nil:
		text = fmt.Sprintf("%v %v: %v", e.Dir, e.Header, e.Violation)
	case e.Kind == conversation.Problem, e.Kind == conversation.Note:
		text = fmt.Sprintf("%v %s", e.Dir, e.Text)
	default:
		return
	}
	if p.problems == nil {
		p.problems = make(map[int][]string)
	}
	if id := e.Conn.ID; len(p.problems[id]) < maxProblems {
		p.problems[id] = append(p.problems[id], text)
	}
}

func (p *Summary) text(c *conversation.Conn) {
	version := "no frames"
	if c.Version != 0 {
		version = fmt.Sprintf("version %d", c.Version)
	}
	fmt.Fprintf(p.W, "#%d %s > %s: %s, %v\n", c.ID, c.A, c.B, version, round(c.Last.Sub(c.Start)))
	for _, d := range []conversation.Dir{conversation.Forward, conversation.Backward} {
		p.direction(c, d)
	}
	if c.Version != 0 {
		fmt.Fprintf(p.W, "   streams: > opened %d, < opened %d; %d closed, %d refused, %d still open; at most %d at a time\n",
			c.Opened[0], c.Opened[1], c.Closed, c.Refused, c.Opened[0]+c.Opened[1]-c.Closed-c.Refused, c.MaxOpen)
	}
	p.roundTrips(c)
	for _, text := range p.problems[c.ID] {
		fmt.Fprintf(p.W, "   %s\n", text)
	}
	p.streams(c)
}

func (p *Summary) direction(c *conversation.Conn, d conversation.Dir) {
	n := c.Direction(d)
	role := ""
	if c.ClientKnown {
		role = "server, "
		if c.Client == d {
			role = "client, "
		}
	}
	fmt.Fprintf(p.W, "   %v %s%d bytes, of which %d are data", d, role, n.Bytes, n.Data)
	for cmd, count := range n.Frames {
		if count > 0 {
			fmt.Fprintf(p.W, ", %d %v", count, wire.Command(cmd))
		}
	}
	if n.Missing > 0 {
		fmt.Fprintf(p.W, ", %d bytes missing", n.Missing)
	}
	if n.Undecoded > 0 {
		fmt.Fprintf(p.W, ", %d bytes not decoded", n.Undecoded)
	}
	if c.Retransmitted[d] > 0 {
		fmt.Fprintf(p.W, ", %d segments sent again", c.Retransmitted[d])
	}
	if n.Transport.Count > 0 {
		fmt.Fprintf(p.W, ", blocked by the transport for %s", stall(n.Transport))
	}
	if n.Window.Count > 0 {
		fmt.Fprintf(p.W, ", streams blocked by their windows for %s", stall(n.Window))
	}
	p.W.WriteByte('\n')
}

func (p *Summary) roundTrips(c *conversation.Conn) {
	var parts []string
	if c.Handshake > 0 {
		parts = append(parts, fmt.Sprintf("TCP handshake %v", round(c.Handshake)))
	}
	for d, t := range c.Ping {
		if t.Count > 0 {
			parts = append(parts, fmt.Sprintf("%v ping %s", conversation.Dir(d), times(t)))
		}
	}
	if c.Answer.Count > 0 {
		parts = append(parts, "SYN to first answer "+times(c.Answer))
	}
	if len(parts) > 0 {
		fmt.Fprintf(p.W, "   round trips: %s\n", strings.Join(parts, "; "))
	}
}

// streams prints the table of the streams.
func (p *Summary) streams(c *conversation.Conn) {
	for _, s := range c.Streams() {
		if p.Select.Stream != 0 && s.ID != p.Select.Stream {
			continue
		}
		fmt.Fprintf(p.W, "   stream %d: at %v, %s after %v, > %d bytes, < %d bytes", s.ID, round(s.Begin.Sub(c.Start)),
			s.State, round(s.End.Sub(s.Begin)), s.Half[0].Bytes, s.Half[1].Bytes)
		if s.Answer > 0 {
			fmt.Fprintf(p.W, ", answer after %v", round(s.Answer))
		}
		for d := range s.Half {
			h := &s.Half[d]
			dir := conversation.Dir(d)
			if h.Window.Count > 0 {
				fmt.Fprintf(p.W, "; %v blocked by the window for %s", dir, stall(h.Window))
			}
			if !h.Waits.IsZero() {
				fmt.Fprintf(p.W, "; %v window used up for the last %v", dir, round(s.End.Sub(h.Waits)))
			}
			if h.Transport.Count > 0 {
				fmt.Fprintf(p.W, "; %v blocked by the transport for %s", dir, stall(h.Transport))
			}
			if h.Overrun > 0 {
				fmt.Fprintf(p.W, "; %v %d bytes beyond the window", dir, h.Overrun)
			}
		}
		p.W.WriteByte('\n')
	}
}

func stall(s conversation.Stall) string {
	if s.Count == 1 {
		return round(s.Total).String()
	}
	return fmt.Sprintf("%v in %d times, at most %v", round(s.Total), s.Count, round(s.Max))
}

func times(t conversation.Times) string {
	if t.Count == 1 {
		return round(t.Min).String()
	}
	return fmt.Sprintf("%v/%v/%v (least, average, most of %d)", round(t.Min), round(t.Average()), round(t.Max), t.Count)
}

// round drops digits that say nothing.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
