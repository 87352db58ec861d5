package printer

import (
	"bufio"
	"encoding/json"
	"time"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// JSON prints an object in a line for each event.
type JSON struct {
	W      *bufio.Writer
	Select Select
	// Err is the first error of W.
	Err error
}

// An object is a line of JSON. -help lists its names.
type object struct {
	Time    string  `json:"time,omitempty"` // RFC 3339, UTC
	Event   string  `json:"event"`
	Conn    int     `json:"conn"`
	From    string  `json:"from,omitempty"`
	To      string  `json:"to,omitempty"`
	Offset  *int64  `json:"offset,omitempty"`
	Version uint8   `json:"version,omitempty"`
	Command string  `json:"command,omitempty"`
	Stream  *uint32 `json:"stream,omitempty"`
	Length  *uint16 `json:"length,omitempty"`

	Consumed *uint32 `json:"consumed,omitempty"`
	Window   *uint32 `json:"window,omitempty"`
	Room     *int64  `json:"room,omitempty"`
	Missing  int     `json:"missing,omitempty"`
	Took     float64 `json:"took,omitempty"` // seconds
	Meaning  string  `json:"meaning,omitempty"`
	Problem  string  `json:"problem,omitempty"`
	Text     string  `json:"text,omitempty"`
	Data     []byte  `json:"data,omitempty"`
}

var eventNames = map[conversation.Kind]string{
	conversation.Begin: "begin", conversation.Frame: "frame", conversation.Note: "note", conversation.Problem: "problem",
	conversation.Stalled: "stall", conversation.End: "end",
}

// Handle prints an event.
func (p *JSON) Handle(e *conversation.Event) {
	if !p.Select.wants(e) {
		return
	}
	o := object{Event: eventNames[e.Kind], Conn: e.Conn.ID, Text: e.Text, Meaning: e.Meaning, Time: jsonTime(e.Time)}
	switch e.Kind {
	case conversation.End:
	case conversation.Begin:
		o.From, o.To = e.Conn.A, e.Conn.B
	default:
		o.From, o.To = e.Conn.From(e.Dir), e.Conn.From(e.Dir.Other())
	}
	if e.Kind == conversation.Problem {
		o.Problem, o.Text = e.Text, ""
	}
	if e.Kind == conversation.Stalled {
		o.Stream = &e.Header.StreamID
	}
	if e.Kind == conversation.Frame {
		p.frame(&o, e)
	}
	p.print(o)
}

func (p *JSON) frame(o *object, e *conversation.Event) {
	h := e.Header
	o.Version, o.Command, o.Stream, o.Length, o.Offset = uint8(h.Version), h.Command.String(), &h.StreamID, &h.Length, &e.Offset
	o.Missing, o.Took = e.Missing, e.Took.Seconds()
	if e.Violation != nil {
		o.Problem = e.Violation.Error()
	} else if h.Command == wire.UPD {
		o.Consumed, o.Window = &e.Update.Consumed, &e.Update.Window
	}
	if room, ok := e.Room(); ok {
		o.Room = &room
	}
	if p.Select.Data {
		o.Data = e.Payload
	}
}

func (p *JSON) print(o any) {
	b, err := json.Marshal(o)
	if err == nil {
		_, err = p.W.Write(append(b, '\n'))
	}
	if p.Err == nil {
		p.Err = err
	}
}

func jsonTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
