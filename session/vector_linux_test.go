//go:build !386 && !portable

package session

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/wire"
)

// A Unix socket gets a batch in pieces of 32 KiB, in order and complete, and a TCP socket gets it at once.
func TestUnixSocketGets32KiBACall(t *testing.T) {
	for _, size := range []int{1, 100, 1 << 10, 5000, 16 << 10, 32680, wire.MaxBatchPayload} {
		b := wire.NewBatch(true)
		data := testutil.Pattern(size).Bytes(size)
		for !b.Full() && b.Room() >= size {
			b.Begin(wire.Header{Version: wire.V1, Command: wire.PSH, StreamID: 1})
			b.Payload(data)
			b.End()
		}
		want := b.AppendRest(nil, 0)
		for _, tcp := range []bool{false, true} {
			v := vector{t: &socket{tcp: tcp}}
			calls := 0
			var got []byte
			for len(got) < len(want) {
				n := v.fill(b.Parts(), len(got))
				if !tcp && n > maxUnixWrite || n < min(maxUnixWrite, len(want)-len(got)) {
					t.Fatalf("frames of %d bytes, tcp %v: a call writes %d of the last %d bytes", size, tcp, n, len(want)-len(got))
				}
				for _, p := range v.iov[:v.used] {
					got = append(got, unsafe.Slice(p.Base, p.Len)...)
				}
				calls++
			}
			if !bytes.Equal(got, want) {
				t.Errorf("frames of %d bytes, tcp %v: other bytes than those of the batch", size, tcp)
			}
			if tcp && calls > 1 {
				t.Errorf("frames of %d bytes: %d calls for a TCP socket", size, calls)
			}
		}
	}
}
