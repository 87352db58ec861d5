package wire_test

import (
	"bufio"
	"io"
	"strconv"
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

// BenchmarkDecoder decodes frames from memory, through a bufio.Reader as a tool
// would give it.
func BenchmarkDecoder(b *testing.B) {
	for _, size := range []int{0, 64, 1024, 32760, wire.MaxPayload} {
		input := encode(psh(wire.V1, 3, random(size)))
		newDecoder := func() *wire.Decoder {
			return wire.NewDecoder(bufio.NewReaderSize(&endless{data: input}, 64<<10))
		}
		b.Run("read/"+strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(input)))
			d := newDecoder()
			buf := make([]byte, 0, size)
			for b.Loop() {
				if _, err := d.Next(); err != nil {
					b.Fatal(err)
				}
				if _, err := d.AppendPayload(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("skip/"+strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(input)))
			d := newDecoder()
			for b.Loop() {
				if _, err := d.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncoder(b *testing.B) {
	for _, size := range []int{0, 64, 1024, 32760, wire.MaxPayload} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(wire.HeaderSize + size))
			e := wire.NewEncoder(io.Discard)
			payload := []byte(random(size))
			h := wire.Header{Version: wire.V1, Command: wire.PSH, Length: uint16(size), StreamID: 3}
			for b.Loop() {
				if err := e.Encode(h, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
