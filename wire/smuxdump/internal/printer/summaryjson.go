package printer

import (
	"time"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// Times are in seconds. See object for the names.
type (
	connObject struct {
		Conn      int            `json:"conn"`
		A         string         `json:"a"` // direction 0 is from a to b
		B         string         `json:"b"`
		Version   uint8          `json:"version,omitempty"`
		Start     string         `json:"start,omitempty"`
		Duration  float64        `json:"duration"`
		Client    string         `json:"client,omitempty"`
		Opened    [2]int64       `json:"opened"`
		Closed    int64          `json:"closed"`
		Refused   int64          `json:"refused"`
		MaxOpen   int            `json:"max_open"`
		Handshake float64        `json:"handshake,omitempty"`
		Ping      [2]timesObject `json:"ping"`
		Answer    timesObject    `json:"answer"`
		Dirs      [2]dirObject   `json:"directions"`
		Problems  []string       `json:"notes,omitempty"`
		Streams   []streamObject `json:"streams"`
	}
	dirObject struct {
		Bytes         int64            `json:"bytes"`
		Data          int64            `json:"data"`
		Frames        map[string]int64 `json:"frames"`
		Missing       int64            `json:"missing,omitempty"`
		Undecoded     int64            `json:"undecoded,omitempty"`
		Retransmitted int64            `json:"retransmitted,omitempty"`
		Transport     stallObject      `json:"blocked_by_transport"`
		Window        stallObject      `json:"blocked_by_windows"` // the sum of all streams
	}
	streamObject struct {
		Stream   uint32        `json:"stream"`
		Opener   string        `json:"opener"`
		State    string        `json:"state"`
		At       float64       `json:"at"`
		Duration float64       `json:"duration"`
		Answer   float64       `json:"answer,omitempty"`
		Dirs     [2]halfObject `json:"directions"`
	}
	halfObject struct {
		Bytes     int64       `json:"bytes"`
		Window    stallObject `json:"blocked_by_window"`
		Transport stallObject `json:"blocked_by_transport"`
		Waits     float64     `json:"window_used_up,omitempty"` // at the end of the stream
		Overrun   int64       `json:"overrun,omitempty"`
	}
	stallObject struct {
		Count int64   `json:"count"`
		Total float64 `json:"total"`
		Max   float64 `json:"max"`
	}
	timesObject struct {
		Count   int64   `json:"count"`
		Min     float64 `json:"min"`
		Average float64 `json:"average"`
		Max     float64 `json:"max"`
	}
)

func stallOf(s conversation.Stall) stallObject {
	return stallObject{s.Count, s.Total.Seconds(), s.Max.Seconds()}
}

func timesOf(t conversation.Times) timesObject {
	return timesObject{t.Count, t.Min.Seconds(), t.Average().Seconds(), t.Max.Seconds()}
}

func summaryOf(c *conversation.Conn, sel Select, problems []string) connObject {
	o := connObject{Conn: c.ID, A: c.A, B: c.B, Version: uint8(c.Version), Start: jsonTime(c.Start), Duration: c.Last.Sub(c.Start).Seconds(),
		Opened: c.Opened, Closed: c.Closed, Refused: c.Refused, MaxOpen: c.MaxOpen, Handshake: c.Handshake.Seconds(),
		Ping: [2]timesObject{timesOf(c.Ping[0]), timesOf(c.Ping[1])}, Answer: timesOf(c.Answer), Problems: problems}
	if c.ClientKnown {
		o.Client = c.From(c.Client)
	}
	for d := range o.Dirs {
		n := c.Direction(conversation.Dir(d))
		frames := make(map[string]int64)
		for cmd, count := range n.Frames {
			if count > 0 {
				frames[wire.Command(cmd).String()] = count
			}
		}
		o.Dirs[d] = dirObject{n.Bytes, n.Data, frames, n.Missing, n.Undecoded, c.Retransmitted[d], stallOf(n.Transport), stallOf(n.Window)}
	}
	o.Streams = []streamObject{} // not null
	for _, s := range c.Streams() {
		if sel.Stream == 0 || sel.Stream == s.ID {
			o.Streams = append(o.Streams, streamOf(c, s))
		}
	}
	return o
}

func streamOf(c *conversation.Conn, s *conversation.Stream) streamObject {
	o := streamObject{Stream: s.ID, Opener: c.From(s.Opener), State: s.State.String(), At: s.Begin.Sub(c.Start).Seconds(),
		Duration: s.End.Sub(s.Begin).Seconds(), Answer: s.Answer.Seconds()}
	for d := range s.Half {
		h := &s.Half[d]
		var waits time.Duration
		if !h.Waits.IsZero() {
			waits = s.End.Sub(h.Waits)
		}
		o.Dirs[d] = halfObject{h.Bytes, stallOf(h.Window), stallOf(h.Transport), waits.Seconds(), h.Overrun}
	}
	return o
}
