package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/smuxkit/smuxkit/wire"
)

// A program that owns its buffers needs only two functions.
func Example() {
	payload := "hello"
	h := wire.Header{Version: wire.V1, Command: wire.PSH, Length: uint16(len(payload)), StreamID: 3}
	frame := append(h.Append(nil), payload...)
	fmt.Printf("% x\n", frame)

	h, err := wire.ParseHeader(frame)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h)
	fmt.Printf("%s\n", frame[wire.HeaderSize:][:h.Length])
	// Output:
	// 01 02 05 00 03 00 00 00 68 65 6c 6c 6f
	// v1 PSH stream=3 length=5
	// hello
}

// The error describes what the peer sent, for people and for programs.
func ExampleParseHeader_errors() {
	_, err := wire.ParseHeader([]byte("GET / HTTP/1.1\r\n"))
	fmt.Println(err)

	_, err = wire.ParseHeader([]byte{1, 3, 0, 0, 9, 0, 0, 0})
	var bad *wire.HeaderError
	if errors.Is(err, wire.ErrNOPStreamID) && errors.As(err, &bad) {
		fmt.Println("a NOP for stream", bad.Header.StreamID)
	}

	_, err = wire.ParseHeader([]byte{1, 2, 0})
	fmt.Println(err == io.ErrUnexpectedEOF)
	// Output:
	// wire: version is neither 1 nor 2: Version(71) Command(69) stream=1414012975 length=8276 [474554202f204854]
	// a NOP for stream 9
	// true
}

// An Encoder writes whole frames, and refuses those that the peer would not accept.
func ExampleEncoder() {
	var conn bytes.Buffer // or a net.Conn
	e := wire.NewEncoder(&conn)

	payload := []byte("hello")
	update := wire.WindowUpdate{Consumed: 0, Window: 1 << 20}.Append(nil)
	err := errors.Join(
		e.Encode(wire.Header{Version: wire.V2, Command: wire.SYN, StreamID: 3}, nil),
		e.Encode(wire.Header{Version: wire.V2, Command: wire.PSH, StreamID: 3, Length: uint16(len(payload))}, payload),
		e.Encode(wire.Header{Version: wire.V2, Command: wire.UPD, StreamID: 3, Length: wire.UpdateSize}, update),
	)
	fmt.Println(conn.Len(), "bytes,", err)

	// An invalid frame is not sent.
	err = e.Encode(wire.Header{Version: wire.V2, Command: wire.SYN}, nil)
	fmt.Println(conn.Len(), "bytes,", err)
	// Output:
	// 37 bytes, <nil>
	// 37 bytes, wire: stream id is 0: v2 SYN stream=0 length=0 [0200000000000000]
}

// A Decoder reads frame by frame until the connection ends.
func ExampleDecoder() {
	conn := bytes.NewReader([]byte("\x01\x00\x00\x00\x03\x00\x00\x00\x01\x02\x05\x00\x03\x00\x00\x00hello"))
	d := wire.NewDecoder(conn)
	var payload []byte
	for {
		h, err := d.Next()
		if err == io.EOF {
			fmt.Println("end, between two frames")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		// The same buffer for every frame; or leave the payload, and the next
		// Next skips it.
		if payload, err = d.AppendPayload(payload[:0]); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v %q\n", h, payload)
	}
	// Output:
	// v1 SYN stream=3 length=0 ""
	// v1 PSH stream=3 length=5 "hello"
	// end, between two frames
}

// A capture tool reads one direction of a recorded connection. It prints the start and the
// header of each frame, counts the bytes of each stream, and prints how and where the
// recording ends.
func ExampleDecoder_capture() {
	d := wire.NewDecoder(bufio.NewReader(bytes.NewReader(recording())))
	carried := map[uint32]int64{}
	for {
		h, err := d.Next()
		if err != nil {
			printEnd(d, err)
			break
		}
		fmt.Printf("%4d  %v", d.InputOffset()-wire.HeaderSize, h)
		switch h.Command {
		case wire.UPD:
			// Small and of interest: read it.
			var buf [wire.UpdateSize]byte
			p, err := d.AppendPayload(buf[:0])
			if err != nil {
				break // the following Next reports it
			}
			if u, err := wire.ParseWindowUpdate(p); err == nil {
				fmt.Printf(": has read %d, may get %d more", u.Consumed, u.Window)
			}
		case wire.PSH:
			// The payload is left unread, which makes Next skip it.
			carried[h.StreamID] += int64(h.Length)
		}
		fmt.Println()
	}
	for _, id := range slices.Sorted(maps.Keys(carried)) {
		fmt.Printf("stream %d: %d bytes\n", id, carried[id])
	}
	// Output:
	//    0  v2 SYN stream=3 length=0
	//    8  v2 PSH stream=3 length=11
	//   27  v2 UPD stream=3 length=8: has read 131072, may get 262144 more
	//   43  v2 NOP stream=0 length=0
	//   51  v2 PSH stream=3 length=600
	//  159  cut off, 500 bytes missing of a payload
	// stream 3: 611 bytes
}

// printEnd prints why the recording ends, and at which byte.
func printEnd(d *wire.Decoder, err error) {
	var bad *wire.HeaderError
	switch {
	case err == io.EOF:
		fmt.Printf("%4d  complete, %v\n", d.InputOffset(), d.Version())
	case err == io.ErrUnexpectedEOF:
		fmt.Printf("%4d  cut off, %d bytes missing of a payload\n", d.InputOffset(), d.Unread())
	case errors.As(err, &bad):
		fmt.Printf("%4d  not smux: %v\n", d.InputOffset()-wire.HeaderSize, bad)
	default:
		fmt.Println(err)
	}
}

// recording makes the capture that ExampleDecoder_capture reads.
func recording() []byte {
	var out bytes.Buffer
	e := wire.NewEncoder(&out)
	send := func(c wire.Command, id uint32, payload []byte) {
		h := wire.Header{Version: wire.V2, Command: c, Length: uint16(len(payload)), StreamID: id}
		if err := e.Encode(h, payload); err != nil {
			panic(err)
		}
	}
	send(wire.SYN, 3, nil)
	send(wire.PSH, 3, []byte("GET / now\r\n"))
	send(wire.UPD, 3, wire.WindowUpdate{Consumed: 128 << 10, Window: 256 << 10}.Append(nil))
	send(wire.NOP, 0, nil)
	send(wire.PSH, 3, make([]byte, 600))
	return out.Bytes()[:out.Len()-500]
}
