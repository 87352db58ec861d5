package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// A flood is a hostile peer: a connection to a session, on which frames come as fast as it takes them. The session's
// application accepts each stream, reads it and closes it. The figure is the CPU time of the session's process for each
// frame.
type flood struct {
	frames int
	kind   floodKind
}

type floodKind uint8

const (
	floodStreams  floodKind = iota // SYN and FIN of new streams, in turns
	floodLateData                  // a byte for a stream that was closed
	floodNOP                       // NOP; yamux: answers to pings
	floodWindows                   // window updates for a stream that was closed
)

// A dialect builds the frames of a protocol.
type dialect interface {
	open(id uint32) []byte // a stream
	end(id uint32) []byte
	data(id uint32, payload []byte) []byte
	nop() []byte
	window(id uint32) []byte
}

// smuxDialect is smux, in the version of its value.
type smuxDialect byte

func (v smuxDialect) frame(command byte, id uint32, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{byte(v), command}, uint16(len(payload)))
	return append(binary.LittleEndian.AppendUint32(b, id), payload...)
}

func (v smuxDialect) open(id uint32) []byte                 { return v.frame(0, id, nil) }
func (v smuxDialect) end(id uint32) []byte                  { return v.frame(1, id, nil) }
func (v smuxDialect) data(id uint32, payload []byte) []byte { return v.frame(2, id, payload) }
func (v smuxDialect) nop() []byte                           { return v.frame(3, 0, nil) }
func (v smuxDialect) window(id uint32) []byte               { return v.frame(4, id, make([]byte, 8)) }

// yamuxDialect is yamux, of both libraries.
type yamuxDialect struct{}

func (yamuxDialect) frame(kind byte, flags uint16, id, length uint32) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, kind}, flags)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, id), length)
}

func (y yamuxDialect) open(id uint32) []byte { return y.frame(1, 1, id, 0) }
func (y yamuxDialect) end(id uint32) []byte  { return y.frame(1, 4, id, 0) }
func (y yamuxDialect) data(id uint32, payload []byte) []byte {
	return append(y.frame(0, 0, id, uint32(len(payload))), payload...)
}
func (y yamuxDialect) nop() []byte             { return y.frame(2, 2, 0, 0) }
func (y yamuxDialect) window(id uint32) []byte { return y.frame(1, 0, id, 1) }

// dialects are those of the peers that floods are measured with.
var dialects = map[string]dialect{
	"xtaci-v1": smuxDialect(1), "xtaci-v2": smuxDialect(2), "ours-v1": smuxDialect(1), "ours-v2": smuxDialect(2),
	"yamux": yamuxDialect{}, "go-yamux": yamuxDialect{},
}

// floodPiece is how many frames are sent with one Write.
const floodPiece = 512

// send is the hostile peer.
func (f flood) send(e *end) figures {
	var addr string
	e.hear(&addr)
	c, err := e.dialTo(addr)
	check(err)
	d := dialects[e.peer.name]
	echoes := listenForEchoes(c)

	const first = 1 // the stream that is closed
	write := func(frames ...[]byte) {
		_, err := c.Write(slices.Concat(frames...))
		check(err)
	}
	id := uint32(first)
	// ask waits until all that was sent has been handled: then the echo arrives. A session whose backlog is full may
	// refuse a stream, so it tries again.
	ask := func() {
		for echoed := false; !echoed; id += 2 {
			write(d.open(id), d.data(id, mark))
			echoed = echoes(100 * time.Millisecond)
			write(d.end(id))
		}
	}
	ask()
	ask() // the end of the first was handled before

	n := f.frames
	if e.Size != 0 {
		n = e.Size
	}
	e.meet() // the other end looks at its clock
	e.hear(new(string))
	for sent := 0; sent < n; sent += floodPiece {
		var piece []byte
		for range floodPiece / 2 {
			piece = append(piece, f.pair(d, id, first)...)
			id += 2
		}
		write(piece)
	}
	ask()
	e.tell((n + floodPiece - 1) / floodPiece * floodPiece)
	e.meet()
	return nil
}

// pair is two frames: id is a new stream, and closed one that was closed.
func (f flood) pair(d dialect, id, closed uint32) []byte {
	var one []byte
	switch f.kind {
	case floodStreams:
		return append(d.open(id), d.end(id)...)
	case floodLateData:
		one = d.data(closed, []byte{0})
	case floodNOP:
		one = d.nop()
	case floodWindows:
		one = d.window(closed)
	}
	return append(one, one...)
}

// mark is what the application echoes, so that it can be found among frames.
var mark = bytes.Repeat([]byte{0xa5}, messageSize)

// listenForEchoes reads from c, and returns a function that waits for the next mark in it.
func listenForEchoes(c net.Conn) (echo func(within time.Duration) bool) {
	found := make(chan error, 64)
	go func() {
		buf := make([]byte, 0, 128<<10)
		for {
			n, err := c.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if err != nil {
				found <- errors.Join(errors.New("the session has ended"), err)
				return
			}
			if i := bytes.Index(buf, mark); i >= 0 {
				found <- nil
				buf = buf[:copy(buf, buf[i+len(mark):])]
			} else if keep := len(buf) - len(mark); keep > 0 {
				buf = buf[:copy(buf, buf[keep:])] // it may be cut
			}
		}
	}()
	return func(within time.Duration) bool {
		select {
		case err := <-found:
			check(err)
			return true
		case <-time.After(within):
			return false
		}
	}
}

// receive is the session and its application.
func (f flood) receive(e *end) figures {
	m := e.acceptSession()
	go func() {
		buf := make([]byte, messageSize)
		for {
			s, err := m.Accept()
			if err != nil {
				return
			}
			serveEcho(s, buf)
		}
	}()
	e.meet()
	cpu, start := cpuTime(), time.Now()
	e.tell("go")
	var frames float64
	e.hear(&frames)
	cpu = cpuTime() - cpu
	took := time.Since(start)
	if frames == 0 {
		check(fmt.Errorf("no frames in %v", took))
	}
	e.meet()
	return figures{"CPU ns": float64(cpu.Nanoseconds()) / frames, "k/s": frames / took.Seconds() / 1e3}
}

// serveEcho is all that the application does with a stream.
func serveEcho(s net.Conn, buf []byte) {
	if _, err := io.ReadFull(s, buf); err == nil {
		_, _ = s.Write(buf)
	}
	_ = s.Close()
}
