package wire_test

import (
	"bufio"
	"fmt"
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/wire"
)

func BenchmarkAppendHeader(b *testing.B) {
	b.ReportAllocs()
	h := psh(wire.V1, 3, "hello").Header
	buf := make([]byte, 0, wire.HeaderSize)
	for b.Loop() {
		sinkBytes = h.Append(buf)
	}
}

// BenchmarkParseHeader measures PSH apart, which takes a shorter path than other commands.
func BenchmarkParseHeader(b *testing.B) {
	for _, f := range []frame{psh(wire.V1, 3, "hello"), control(wire.V1, wire.SYN, 3), upd(3, 1, 2)} {
		b.Run(f.Header.Command.String(), func(b *testing.B) {
			b.ReportAllocs()
			buf := f.append(nil)
			for b.Loop() {
				h, err := wire.ParseHeader(buf)
				if err != nil {
					b.Fatal(err)
				}
				sink += h.StreamID // not the whole: storing it would cost more than parsing
			}
		})
	}
}

func BenchmarkAppendWindowUpdate(b *testing.B) {
	b.ReportAllocs()
	u := wire.WindowUpdate{Consumed: 1, Window: 2}
	buf := make([]byte, 0, wire.UpdateSize)
	for b.Loop() {
		sinkBytes = u.Append(buf)
	}
}

func BenchmarkParseWindowUpdate(b *testing.B) {
	b.ReportAllocs()
	buf := []byte(upd(3, 1, 2).Payload)
	for b.Loop() {
		u, err := wire.ParseWindowUpdate(buf)
		if err != nil {
			b.Fatal(err)
		}
		sink += u.Window
	}
}

// mixed are the frames of a call and of a little bulk data.
var mixed = []frame{
	control(wire.V2, wire.SYN, 3),
	psh(wire.V2, 3, random(64)),
	psh(wire.V2, 1, random(32760)),
	upd(3, 64, 262144),
	psh(wire.V2, 3, random(1000)),
	control(wire.V2, wire.FIN, 3),
	control(wire.V2, wire.NOP, 0),
}

// benchPayloads are the sizes of nothing, a request, and the largest frame that is safe with all peers.
var benchPayloads = []int{0, 64, 32760}

// BenchmarkDecoder decodes frames from memory through a bufio.Reader, as a tool would: one frame
// per operation, or all seven of mixed. With skip it does not read the payloads.
func BenchmarkDecoder(b *testing.B) {
	decode := func(name string, read bool, frames ...frame) {
		b.Run(name, func(b *testing.B) {
			input := encode(frames...)
			b.ReportAllocs()
			b.SetBytes(int64(len(input)))
			d := wire.NewDecoder(bufio.NewReaderSize(&endless{data: input}, 64<<10))
			buf := make([]byte, 0, wire.MaxPayload)
			for b.Loop() {
				for range frames {
					if _, err := d.Next(); err != nil {
						b.Fatal(err)
					}
					if !read {
						continue
					}
					if _, err := d.AppendPayload(buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	for _, size := range benchPayloads {
		decode(fmt.Sprintf("read/payload=%d", size), true, psh(wire.V1, 3, random(size)))
	}
	decode("read/mixed", true, mixed...)
	decode("skip/mixed", false, mixed...)
}

// BenchmarkEncoder encodes frames to a writer that takes no time.
func BenchmarkEncoder(b *testing.B) {
	for _, size := range benchPayloads {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(wire.HeaderSize + size))
			e := wire.NewEncoder(io.Discard)
			payload := []byte(random(size))
			h := wire.Header{Version: wire.V1, Command: wire.PSH, Length: uint16(size), StreamID: 3}
			if err := e.Encode(h, payload); err != nil { // the encoder's buffer gets its size
				b.Fatal(err)
			}
			for b.Loop() {
				if err := e.Encode(h, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
