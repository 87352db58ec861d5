package printer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// A Select says which events are printed.
type Select struct {
	Stream uint32 // frames of this stream alone; 0 is all
	Conn   int    // this connection alone; 0 is all
	Data   bool   // payloads, too
}

// wants reports whether e is printed.
func (s Select) wants(e *conversation.Event) bool {
	if s.Conn != 0 && e.Conn.ID != s.Conn {
		return false
	}
	if s.Stream != 0 && (e.Kind == conversation.Frame || e.Kind == conversation.Stalled) {
		return e.Header.StreamID == s.Stream
	}
	return true
}

// A TimeFormat says how times are printed.
type TimeFormat uint8

const (
	Relative TimeFormat = iota // seconds since the first event
	UTC                        // time of day
	None
)

// Text prints a line for each event.
type Text struct {
	W      *bufio.Writer
	Select Select
	Times  TimeFormat

	first time.Time
}

// Handle prints an event.
func (p *Text) Handle(e *conversation.Event) {
	if p.first.IsZero() {
		p.first = e.Time
	}
	if !p.Select.wants(e) {
		return
	}
	switch e.Kind {
	case conversation.Begin:
		p.time(e)
		fmt.Fprintf(p.W, "#%d   %s > %s\n", e.Conn.ID, e.Conn.A, e.Conn.B)
	case conversation.Frame:
		p.frame(e)
	case conversation.Note:
		p.line(e, "note: "+e.Text)
	case conversation.Problem:
		p.line(e, "PROBLEM: "+e.Text)
	case conversation.Stalled:
		p.line(e, fmt.Sprintf("stream %d was %s", e.Header.StreamID, e.Text))
	case conversation.End:
		p.time(e)
		fmt.Fprintf(p.W, "#%d   end\n", e.Conn.ID)
	}
}

// time prints the column of the time, or of the offset if there are no times.
func (p *Text) time(e *conversation.Event) {
	switch {
	case p.Times == None:
	case e.Time.IsZero():
		if e.Kind == conversation.Frame {
			fmt.Fprintf(p.W, "%8d ", e.Offset)
		} else {
			fmt.Fprintf(p.W, "%8s ", "-")
		}
	case p.Times == UTC:
		fmt.Fprint(p.W, e.Time.UTC().Format("15:04:05.000000 "))
	default:
		fmt.Fprintf(p.W, "%11.6f ", e.Time.Sub(p.first).Seconds())
	}
}

func (p *Text) line(e *conversation.Event, text string) {
	p.time(e)
	fmt.Fprintf(p.W, "#%d %v %s\n", e.Conn.ID, e.Dir, text)
}

func (p *Text) frame(e *conversation.Event) {
	h := e.Header
	var b strings.Builder
	if h.Command <= wire.UPD {
		b.WriteString(h.Command.String())
	} else {
		fmt.Fprintf(&b, "command %d", h.Command)
	}
	if h.StreamID > 0xfffffff0-1 {
		fmt.Fprintf(&b, " id %#x", h.StreamID)
	} else if h.Command != wire.NOP || h.StreamID != 0 {
		fmt.Fprintf(&b, " stream %d", h.StreamID)
	}
	switch {
	case e.Violation != nil:
		fmt.Fprintf(&b, ", length %d, PROBLEM: %v", h.Length, e.Violation)
	case h.Command == wire.PSH:
		fmt.Fprintf(&b, ", length %d", h.Length)
	case h.Command == wire.UPD:
		fmt.Fprintf(&b, ", consumed %d, window %d", e.Update.Consumed, e.Update.Window)
	}
	if room, ok := e.Room(); ok {
		fmt.Fprintf(&b, ", room %d", room)
	}
	if e.Missing > 0 {
		fmt.Fprintf(&b, ", %d bytes of it are missing", e.Missing)
	}
	if e.Took >= conversation.MinStall {
		fmt.Fprintf(&b, ", took %v", e.Took)
	}
	if e.Meaning != "" {
		b.WriteString(": " + e.Meaning)
	}
	p.line(e, b.String())
	if p.Select.Data && len(e.Payload) > 0 {
		for line := range strings.Lines(hex.Dump(e.Payload)) {
			p.W.WriteString("        " + line)
		}
	}
}
