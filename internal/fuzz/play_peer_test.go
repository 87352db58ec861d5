package fuzz

import (
	"errors"
	"io"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// What the peer of a play does.

// send sends a frame of the peer.
func (p *play) send(h wire.Header, data []byte) { p.sendPart(h, data, len(data)) }

// sendPart sends a frame of the peer with only the first n bytes of its data. sendRest sends the rest.
func (p *play) sendPart(h wire.Header, data []byte, n int) {
	p.sendRest()
	p.model.heard = true
	h.Version = p.version
	h.Length = uint16(len(data))
	p.cable.send(append(h.Append(nil), data[:n]...))
	p.rest = data[n:]
}

// sendRest sends the rest of the peer's last frame.
func (p *play) sendRest() {
	if n := len(p.rest); n > 0 {
		p.cable.send(p.rest)
		p.rest = nil
		p.restOf.data(n)
	}
}

// peerActs does what s says as the peer, to stream st if there is one.
func (p *play) peerActs(s step, st *played) {
	m := p.model
	if m.end != nil || p.cut || p.s.Err() != nil {
		return
	}
	switch s.name {
	case "syn":
		if m.maxStreams < session.DefaultMaxStreams {
			for _, st := range p.streams {
				if m.stalled || st.givenUp || st.finsSent >= st.finsDue && st.finsSent < st.finsMost {
					return // the stream's end cannot be seen
				}
			}
		}
		id := p.nextID
		p.nextID += 2
		p.send(wire.Header{Command: wire.SYN, StreamID: id}, nil)
		switch {
		case m.closed:
		case m.syn(id):
			p.refused[id] = 0
		default:
			p.streams = append(p.streams, &played{modelStream: m.streams[len(m.streams)-1]})
		}
	case "psh", "part":
		p.sendRest()
		n := min(p.spend(s.arg(1)), st.room())
		if st.fins > 0 || n <= 0 && s.arg(1) > 0 {
			return
		}
		now := n
		if s.name == "part" {
			now = n / 2
		}
		p.sendPart(wire.Header{Command: wire.PSH, StreamID: st.id}, pattern(st.id).bytes(st.came, n), now)
		p.restOf = st
		if n == 0 {
			st.empties++
		}
		st.data(now)
	case "fin":
		p.send(wire.Header{Command: wire.FIN, StreamID: st.id}, nil)
		st.fin()
	case "upd":
		if p.version == wire.V1 {
			return
		}
		consumed := st.sent
		if s.arg(1) == 1 {
			consumed = st.consumed
		}
		u := wire.WindowUpdate{Consumed: uint32(consumed), Window: uint32(s.arg(2))}
		p.send(wire.Header{Command: wire.UPD, StreamID: st.id}, u.Append(nil))
		st.update(consumed, s.arg(2))
	case "nop":
		p.send(wire.Header{Command: wire.NOP}, nil)
	case "signal":
		p.peerSignals(s.args[0].text)
	case "bad":
		p.violate(s.args[0].text)
	case "end":
		p.end(s.args[0].text)
	}
}

// violate breaks the protocol as the peer.
func (p *play) violate(how string) {
	h := wire.Header{Version: p.version, Command: wire.NOP}
	var data []byte
	ours, theirs := uint32(2), uint32(1)
	if p.client {
		ours, theirs = 1, 2
	}
	// open is a stream that the session certainly knows.
	open := func(wanted func(st *played) bool) *played {
		for _, st := range p.streams {
			if st.certain() && wanted(st) {
				return st
			}
		}
		return nil
	}
	switch how {
	case "version":
		h.Version = 3 - p.version
	case "command":
		h.Command, h.StreamID = 9, theirs
	case "data":
		h.Command, h.StreamID, data = wire.SYN, theirs, []byte("x")
	case "nop":
		h.StreamID = theirs
	case "zero":
		h.Command, data = wire.PSH, []byte("x")
	case "parity":
		h.Command, h.StreamID = wire.SYN, ours+100
	case "inuse":
		st := open(func(st *played) bool { return !st.opened })
		if st == nil {
			return
		}
		h.Command, h.StreamID = wire.SYN, st.id
	case "update":
		h.Command, h.StreamID, data = wire.UPD, theirs, make([]byte, 8*(2-p.version)+4*(p.version-1))
	case "consumed":
		st := open(func(st *played) bool { return p.version == wire.V2 })
		if st == nil {
			return
		}
		beyond := st.written + 1
		if st.writing != nil {
			beyond += st.writing.size
		}
		h.Command, h.StreamID = wire.UPD, st.id
		data = wire.WindowUpdate{Consumed: uint32(beyond), Window: 1000}.Append(nil)
	}
	h.Length = uint16(len(data))
	p.sendRest()
	p.cable.send(append(h.Append(nil), data...))
	p.ended(&session.ProtocolError{Header: h})
}

// errCable is the error of a broken cable.
var errCable = errors.New("cable is broken")

// end ends the transport.
func (p *play) end(how string) {
	var rest []byte
	err := io.EOF
	reason := io.EOF
	if how != "clean" {
		p.sendRest()
	} else if len(p.rest) > 0 {
		reason = io.ErrUnexpectedEOF
	}
	switch how {
	case "header":
		rest = []byte{byte(p.version), byte(wire.NOP), 0}
		reason = io.ErrUnexpectedEOF
	case "payload":
		reason = io.ErrUnexpectedEOF
		h := wire.Header{Version: p.version, Command: wire.PSH, Length: 100, StreamID: p.nextID + 1000}
		n := p.spend(10)
		for _, st := range p.streams {
			if st.fins == 0 && n <= st.room() {
				h.StreamID = st.id
				rest = pattern(st.id).bytes(st.came, n)
				st.data(n)
				break
			}
		}
		rest = append(h.Append(nil), rest...)
		p.model.heard = true
	case "error":
		err, reason = errCable, errCable
	}
	p.cable.send(rest)
	p.cable.end(err)
	p.ended(reason)
}
