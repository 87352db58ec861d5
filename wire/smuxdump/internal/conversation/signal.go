package conversation

import (
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// lastStreamID is the highest id of a stream of smuxkit. A FIN of a higher one is a signal: docs/protocol.md, "Signals".
const lastStreamID = 1<<32 - 1 - 16

// signals are the names of the signals, by how far the id is from the last one of its side.
var signals = [8]string{"drain", "ping", "close"}

// says is what the sender of a signal says with it.
var says = map[string]string{
	"drain": "signal drain: open no more streams here",
	"ping":  "signal ping",
	"close": "signal close: the sender reads no more, and all of its data came before",
}

// handleSignal handles a FIN of a reserved id.
func (c *Conn) handleSignal(e *Event) {
	odd := e.Header.StreamID%2 == 1
	own := odd == (e.Dir == c.Client) // the id is the sender's, not the receiver's
	name := signals[(1<<32-1-e.Header.StreamID)/2]
	switch {
	case name == "":
		e.Meaning = "signal without a meaning"
	case own:
		e.Meaning = says[name]
	default:
		e.Meaning = "echo of " + name
	}
	if name != "ping" {
		return
	}
	if own {
		c.pinged[e.Dir] = e.Time
		return
	}
	if at := c.pinged[e.Dir.Other()]; !at.IsZero() {
		rtt := e.Time.Sub(at)
		c.Ping[e.Dir.Other()].add(rtt)
		c.pinged[e.Dir.Other()] = time.Time{}
		e.Meaning += ", round trip " + rtt.String()
	}
}

// isReserved reports whether no stream has the id.
func isReserved(h wire.Header) bool { return h.StreamID > lastStreamID }
