package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/source"
)

const (
	toServer = conversation.Forward
	toClient = conversation.Backward
)

// A packet is a packet of a capture, without a link layer.
type packet struct {
	time time.Time
	ip   []byte
	cut  int // bytes that were not captured
}

// start is the time of the first packet.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A script makes the packets of connections, a millisecond after each other.
type script struct {
	t    *testing.T
	now  time.Time
	file bytes.Buffer
	w    *source.Writer
}

func newScript(t *testing.T) *script {
	s := &script{t: t, now: start}
	var err error
	s.w, err = source.NewWriter(&s.file)
	must(t, err)
	return s
}

// connect adds a connection between the n-th ports.
func (s *script) connect(n int) *scriptConn {
	a, b := *clientAddr, *serverAddr
	a.Port += n
	return s.connectAddrs(&a, &b)
}

func (s *script) connectAddrs(a, b net.Addr) *scriptConn {
	return &scriptConn{s, s.w.Open(a, b, s.tick())}
}

func (s *script) tick() time.Time {
	s.now = s.now.Add(time.Millisecond)
	return s.now
}

// packets returns the packets so far.
func (s *script) packets() []packet {
	s.t.Helper()
	r, err := pcapgo.NewReader(bytes.NewReader(s.file.Bytes()))
	must(s.t, err)
	var all []packet
	for {
		data, ci, err := r.ReadPacketData()
		if err == io.EOF {
			return all
		}
		must(s.t, err)
		all = append(all, packet{time: ci.Timestamp, ip: data})
	}
}

type scriptConn struct {
	s *script
	w *source.ConnWriter
}

// send sends bytes in one packet, or in several if they are many.
func (c *scriptConn) send(d conversation.Dir, p []byte) {
	must(c.s.t, c.w.Data(d, c.s.tick(), p))
}

// frames sends frames in one packet.
func (c *scriptConn) frames(d conversation.Dir, frames ...[]byte) { c.send(d, bytes.Join(frames, nil)) }

func (c *scriptConn) close() { must(c.s.t, c.w.Close(c.s.tick())) }

// frame returns a frame of version 2.
func frame(cmd wire.Command, id uint32, payload string) []byte {
	return frameOf(wire.V2, cmd, id, payload)
}

func frameOf(v wire.Version, cmd wire.Command, id uint32, payload string) []byte {
	h := wire.Header{Version: v, Command: cmd, Length: uint16(len(payload)), StreamID: id}
	return append(h.Append(nil), payload...)
}

func syn(id uint32) []byte              { return frame(wire.SYN, id, "") }
func fin(id uint32) []byte              { return frame(wire.FIN, id, "") }
func psh(id uint32, data string) []byte { return frame(wire.PSH, id, data) }
func upd(id, consumed, window uint32) []byte {
	return frame(wire.UPD, id, string(wire.WindowUpdate{Consumed: consumed, Window: window}.Append(nil)))
}

// hello is a short conversation.
func hello(c *scriptConn) {
	c.frames(toServer, syn(1), psh(1, "hello"))
	c.frames(toClient, upd(1, 5, 262144), psh(1, "world"))
	c.frames(toServer, fin(1))
	c.frames(toClient, fin(1))
	c.close()
}

// pcap returns a capture of the packets, each in a link layer.
func pcap(t *testing.T, link layers.LinkType, wrap func([]byte) []byte, packets []packet) []byte {
	t.Helper()
	var out bytes.Buffer
	w := pcapgo.NewWriter(&out)
	must(t, w.WriteFileHeader(65536, link))
	for _, p := range packets {
		data := p.ip
		if wrap != nil {
			data = wrap(data)
		}
		ci := gopacket.CaptureInfo{Timestamp: p.time, CaptureLength: len(data) - p.cut, Length: len(data)}
		must(t, w.WritePacket(ci, data[:len(data)-p.cut]))
	}
	return out.Bytes()
}

// raw returns a capture of packets without a link layer.
func raw(t *testing.T, packets []packet) []byte {
	t.Helper()
	return pcap(t, layers.LinkTypeRaw, nil, packets)
}

// etherType returns the type of an IP packet for Ethernet.
func etherType(ip []byte) []byte {
	if ip[0]>>4 == 6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

// links are link layers, by name.
var links = map[string]struct {
	link layers.LinkType
	wrap func(ip []byte) []byte
}{
	"raw":      {layers.LinkTypeRaw, nil},
	"ethernet": {layers.LinkTypeEthernet, func(ip []byte) []byte { return join(make([]byte, 12), etherType(ip), ip) }},
	"padded":   {layers.LinkTypeEthernet, func(ip []byte) []byte { return join(make([]byte, 12), etherType(ip), ip, make([]byte, 6)) }},
	"vlan": {layers.LinkTypeEthernet, func(ip []byte) []byte {
		return join(make([]byte, 12), []byte{0x81, 0, 0, 7}, etherType(ip), ip)
	}},
	"vlan in vlan": {layers.LinkTypeEthernet, func(ip []byte) []byte {
		return join(make([]byte, 12), []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 8}, etherType(ip), ip)
	}},
	"linux cooked": {layers.LinkTypeLinuxSLL, func(ip []byte) []byte {
		return join([]byte{0, 0, 0, 1, 0, 6}, make([]byte, 8), etherType(ip), ip)
	}},
	"linux cooked 2": {layers.LinkTypeLinuxSLL2, func(ip []byte) []byte {
		return join(etherType(ip), []byte{0, 0, 0, 0, 0, 1, 0, 1, 0, 6}, make([]byte, 8), ip)
	}},
	"null":          {layers.LinkTypeNull, func(ip []byte) []byte { return join(family(binary.LittleEndian, ip), ip) }},
	"null of a Mac": {layers.LinkTypeNull, func(ip []byte) []byte { return join(family(binary.BigEndian, ip), ip) }},
	"loop":          {layers.LinkTypeLoop, func(ip []byte) []byte { return join(family(binary.BigEndian, ip), ip) }},
}

// family returns the address family that BSD's loopback puts before a packet.
func family(order binary.ByteOrder, ip []byte) []byte {
	b := make([]byte, 4)
	if ip[0]>>4 == 6 {
		order.PutUint32(b, 30)
	} else {
		order.PutUint32(b, 2)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
