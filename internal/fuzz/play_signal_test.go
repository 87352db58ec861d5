package fuzz

import (
	"context"
	"errors"
	"math"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/wire"
)

// Signals of a play, in both directions (docs/protocol.md, "Signals"), and CloseNow.

// The ids of the client's signals. Those of the server are one less.
const (
	drainID        = math.MaxUint32
	pingID         = drainID - 2
	unknownID      = drainID - 6 // drainID-4 closes: what follows it is dropped
	lowestSignalID = math.MaxUint32 - 15
)

// signals is what the model knows of signals.
type signals struct {
	draining  bool   // the peer has said that it takes no more streams
	came      [2]int // the peer's drain signals and pings,
	echoed    [2]int // and the session's echoes
	echoDue   [2]bool
	pinging   *call
	pingsMost int  // calls of Ping
	pingsMay  int  // calls of Flush, which may ping
	pingsSent int  // that the peer has got
	pingOut   bool // the peer has got one, and has not answered
}

// signalID returns the id of a signal that this side sends, or the peer.
func (p *play) signalID(id uint32, mine bool) uint32 {
	if p.client == mine {
		return id
	}
	return id - 1
}

// peerSignals sends a signal or an echo of the peer.
func (p *play) peerSignals(what string) {
	g := &p.signals
	id, mine := uint32(unknownID), false
	switch what {
	case "drain":
		id = drainID
	case "ping":
		id = pingID
	case "drain-echo": // nobody has asked
		id, mine = drainID, true
	case "ping-echo":
		if p.model.stalled {
			return // whether a ping was sent is not known
		}
		id, mine = pingID, true
		g.pingOut = false
	}
	p.send(wire.Header{Command: wire.FIN, StreamID: p.signalID(id, mine)}, nil)
	for i, signal := range []string{"drain", "ping"} {
		if what != signal || p.model.closed && signal != "ping" {
			continue
		}
		g.came[i]++
		if !p.model.closed { // a session that closes answers pings only while it sends its data
			g.echoDue[i] = true
		}
	}
	if what == "drain" && !p.model.closed {
		g.draining, p.model.draining = true, true
	}
}

// signalSent checks a signal or an echo that the session has sent.
func (p *play) signalSent(h wire.Header) {
	g := &p.signals
	for i, id := range []uint32{drainID, pingID} {
		if h.Command == wire.FIN && h.StreamID == p.signalID(id, false) {
			g.echoDue[i] = false
			if g.echoed[i]++; g.echoed[i] > g.came[i] {
				p.failf("the session sends echo %v, and %d signals came", h, g.came[i])
			}
			return
		}
	}
	if h.Command != wire.FIN || h.StreamID != p.signalID(pingID, true) {
		p.failf("the session sends %v", h)
	}
	if g.pingsSent++; g.pingsSent > g.pingsMost+g.pingsMay || g.pingOut {
		p.failf("the session sends ping %d, after %d calls of Ping", g.pingsSent, g.pingsMost)
	}
	g.pingOut = true
}

// ping calls Ping, unless a call of it waits.
func (p *play) ping() {
	g := &p.signals
	if g.pinging != nil {
		return
	}
	if p.model.end == nil && !p.model.closed {
		g.pingsMost++
	}
	g.pinging = p.start("Ping", 0, func(*call) (int, error) {
		_, err := p.s.Ping(context.Background())
		return 0, err
	})
}

// checkSignals compares Ping and Draining with the model.
func (p *play) checkSignals() {
	g := &p.signals
	heard := false
	select {
	case <-p.s.Draining():
		heard = true
	default:
	}
	if heard != g.draining && !p.model.closed && p.model.end == nil {
		p.failf("Draining is closed: %v, want %v", heard, g.draining)
	}
	c, over := g.pinging, p.model.end != nil || p.s.Err() != nil
	switch {
	case c == nil:
	case !c.done.Load():
		if over || !g.pingOut && !p.model.stalled && !p.model.closed {
			p.failf("Ping does not return")
		}
	case c.err == nil:
		if g.pingsMay == 0 && (g.pingOut || g.pingsSent < g.pingsMost) {
			p.failf("Ping returns without an echo")
		}
		g.pinging = nil
	case !over && !p.model.closed || !errors.Is(c.err, p.s.Err()) && !p.model.closed:
		p.failf("Ping: %v", c.err)
	default:
		g.pinging = nil
	}
}

// mustHaveEchoed checks that all echoes that are due were sent.
func (p *play) mustHaveEchoed() {
	for i, due := range p.signals.echoDue {
		if due {
			p.failf("%d drain signals and pings came, and the last of kind %d has no echo", p.signals.came, i)
		}
	}
}

// closeNow calls CloseNow, which ends everything at once, also a Close that waits.
func (p *play) closeNow() {
	p.flushes, p.cut = false, true
	p.model.close()
	now := p.start("CloseNow", 0, func(*call) (int, error) { return 0, p.s.CloseNow() })
	if p.closing == nil {
		p.closing = now
	}
	synctest.Wait()
	for _, c := range []*call{now, p.closing} {
		if !c.done.Load() {
			p.failf("%s does not return after CloseNow", c.name)
		}
	}
	if now.err != nil {
		p.failf("CloseNow: %v", now.err)
	}
}
