package wire_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/smuxkit/smuxkit/wire"
)

// A Header is a value of 8 bytes, which can hold any frame's header, valid or not.
func ExampleHeader() {
	h := wire.Header{Version: wire.V2, Command: wire.FIN, StreamID: 3}
	fmt.Println(h)
	fmt.Printf("% x\n", h.Append(nil))
	fmt.Println(h.Validate())

	h.Length = 5 // only PSH and UPD have a payload
	fmt.Println(h.Validate())
	// Output:
	// v2 FIN stream=3 length=0
	// 02 01 00 00 03 00 00 00
	// <nil>
	// wire: control frame announces data: v2 FIN stream=3 length=5 [0201050003000000]
}

// A WindowUpdate is the payload of a UPD frame.
func ExampleWindowUpdate() {
	u := wire.WindowUpdate{Consumed: 100_000, Window: 1 << 20}
	h := wire.Header{Version: wire.V2, Command: wire.UPD, Length: wire.UpdateSize, StreamID: 3}
	frame := u.Append(h.Append(nil))
	fmt.Println(len(frame), "bytes")

	got, err := wire.ParseWindowUpdate(frame[wire.HeaderSize:])
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the stream may carry", got.Consumed+got.Window, "bytes before the next update")
	// Output:
	// 16 bytes
	// the stream may carry 1148576 bytes before the next update
}

// A HeaderError has the header as it was received, so that an error can say what the peer sent instead.
func ExampleHeaderError() {
	_, err := wire.NewDecoder(strings.NewReader("SSH-2.0-OpenSSH_9.9\r\n")).Next()
	var bad *wire.HeaderError
	if errors.As(err, &bad) && errors.Is(err, wire.ErrVersion) {
		fmt.Printf("no smux: the peer begins with %q\n", bad.Header.Append(nil))
	}
	// Output:
	// no smux: the peer begins with "SSH-2.0-"
}

// A lease is a buffer that a batch may refer to. Its Release says that the owner may use the buffer again.
type lease struct{ data []byte }

func (l *lease) Release() { fmt.Println("the buffer is free") }

// A vectored batch refers to large payloads. A Releaser tells their owner when the batch no longer does.
func ExampleReleaser() {
	payload := &lease{data: make([]byte, 4096)}
	b := wire.NewBatch(true)
	b.Begin(wire.Header{Version: wire.V1, Command: wire.PSH, StreamID: 1})
	if b.Payload(payload.data) { // the batch has no copy: do not change the data
		b.Retain(payload)
	}
	b.End()

	conn := io.Discard // usually a net.Conn
	for _, part := range b.Parts() {
		if _, err := conn.Write(part); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(b.Len(), "bytes were sent")
	b.Release() // also after a failed write
	// Output:
	// 4104 bytes were sent
	// the buffer is free
}
