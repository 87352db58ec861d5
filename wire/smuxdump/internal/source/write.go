package source

import (
	"io"
	"net"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// A Writer writes connections to a pcap file, as TCP segments that it makes up, with the times and bytes that it is
// given. It is not safe for concurrent use.
type Writer struct {
	out *pcapgo.Writer
	err error
}

// NewWriter writes the header of a file of IP packets to w, and returns a Writer.
func NewWriter(w io.Writer) (*Writer, error) {
	out := pcapgo.NewWriterNanos(w)
	return &Writer{out: out}, out.WriteFileHeader(1<<16, layers.LinkTypeRaw)
}

// segmentSize is the most bytes of data in a segment.
const segmentSize = 1400

// A ConnWriter writes one connection.
type ConnWriter struct {
	w     *Writer
	addrs [2]*net.TCPAddr
	seq   [2]uint32
}

// Open writes the handshake of a connection from a to b.
func (w *Writer) Open(a, b net.Addr, t time.Time) *ConnWriter {
	c := &ConnWriter{w: w, addrs: [2]*net.TCPAddr{tcpAddr(a), tcpAddr(b)}, seq: [2]uint32{1000, 2000}}
	c.segment(conversation.Forward, t, &layers.TCP{SYN: true}, nil)
	c.segment(conversation.Backward, t, &layers.TCP{SYN: true, ACK: true}, nil)
	c.segment(conversation.Forward, t, &layers.TCP{ACK: true}, nil)
	return c
}

func tcpAddr(a net.Addr) *net.TCPAddr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t
	}
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} // of no TCP connection
}

// Data writes bytes of direction d.
func (c *ConnWriter) Data(d conversation.Dir, t time.Time, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), segmentSize)
		c.segment(d, t, &layers.TCP{ACK: true, PSH: true}, p[:n])
		p = p[n:]
	}
	return c.w.err
}

// Close writes the end of both directions.
func (c *ConnWriter) Close(t time.Time) error {
	for _, d := range []conversation.Dir{conversation.Forward, conversation.Backward} {
		c.segment(d, t, &layers.TCP{FIN: true, ACK: true}, nil)
	}
	return c.w.err
}

// segment writes a segment with the flags of tcp.
func (c *ConnWriter) segment(d conversation.Dir, t time.Time, tcp *layers.TCP, data []byte) {
	if c.w.err != nil {
		return
	}
	src, dst := c.addrs[d], c.addrs[d.Other()]
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(src.Port), layers.TCPPort(dst.Port)
	tcp.Seq, tcp.Window = c.seq[d], 65535
	if tcp.ACK {
		tcp.Ack = c.seq[d.Other()]
	}
	c.seq[d] += uint32(len(data))
	if tcp.SYN || tcp.FIN {
		c.seq[d]++
	}
	ip := ipLayer(src.IP, dst.IP)
	if err := tcp.SetNetworkLayerForChecksum(ip.(gopacket.NetworkLayer)); err != nil {
		c.w.err = err
		return
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if c.w.err = gopacket.SerializeLayers(buf, opts, ip, tcp, gopacket.Payload(data)); c.w.err != nil {
		return
	}
	packet := buf.Bytes()
	c.w.err = c.w.out.WritePacket(gopacket.CaptureInfo{Timestamp: t, CaptureLength: len(packet), Length: len(packet)}, packet)
}

// ipLayer returns the header of a packet.
func ipLayer(src, dst net.IP) gopacket.SerializableLayer {
	if a, b := src.To4(), dst.To4(); a != nil && b != nil {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: a, DstIP: b}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src.To16(), DstIP: dst.To16()}
}
