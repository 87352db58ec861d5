package wire_test

import (
	"bufio"
	"bytes"
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/wire"
)

// endless is a reader that repeats its bytes forever.
type endless struct {
	data []byte
	off  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.off:])
	e.off = (e.off + n) % len(e.data)
	return n, nil
}

// Results are stored here so that the compiler cannot remove the work.
var (
	sink      uint32
	sinkBytes []byte
)

// Valid frames cost no allocation.
func TestCodecAllocatesNothing(t *testing.T) {
	input := encode(conversation...)
	buf := make([]byte, 0, wire.MaxPayload)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	reading := wire.NewDecoder(&endless{data: input})
	skipping := wire.NewDecoder(bufio.NewReader(&endless{data: input}))
	pooled := wire.NewDecoder(nil)
	source := bytes.NewReader(nil)
	encoder := wire.NewEncoder(io.Discard)
	payloads := make([][]byte, len(conversation))
	for i, f := range conversation {
		payloads[i] = []byte(f.Payload)
	}

	tests := map[string]func(){
		"Header": func() {
			for _, f := range conversation {
				h, err := wire.ParseHeader(f.Header.Append(buf[:0]))
				must(err)
				must(h.Validate())
			}
		},
		"WindowUpdate": func() {
			_, err := wire.ParseWindowUpdate(wire.WindowUpdate{Consumed: 1, Window: 2}.Append(buf[:0]))
			must(err)
		},
		"Decoder that reads": func() {
			for range conversation {
				_, err := reading.Next()
				must(err)
				buf, err = reading.AppendPayload(buf[:0])
				must(err)
			}
		},
		"Decoder that skips": func() {
			for range conversation {
				_, err := skipping.Next()
				must(err)
			}
		},
		"Decoder that is reset": func() {
			source.Reset(input)
			pooled.Reset(source)
			for range conversation {
				_, err := pooled.Next()
				must(err)
			}
			if _, err := pooled.Next(); err != io.EOF {
				t.Fatal(err)
			}
		},
		"Encoder": func() {
			encoder.Reset(io.Discard)
			for i, f := range conversation {
				must(encoder.Encode(f.Header, payloads[i]))
			}
			var b [wire.UpdateSize]byte
			u := wire.WindowUpdate{Consumed: 1, Window: 2}
			must(encoder.Encode(upd0, u.Append(b[:0])))
		},
		"end of input": func() {
			_, err := wire.ParseHeader(buf[:0])
			if err != io.EOF {
				t.Fatal(err)
			}
		},
	}
	for name, f := range tests {
		if n := testing.AllocsPerRun(50, f); n != 0 {
			t.Errorf("%s: %v allocations a run, want none", name, n)
		}
	}
}

var upd0 = wire.Header{Version: wire.V2, Command: wire.UPD, Length: wire.UpdateSize, StreamID: 3}
