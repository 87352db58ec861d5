package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

type released struct{ times int }

func (r *released) Release() { r.times++ }

// A batch of either kind holds the frames that were added, whole and in order. AppendRest returns
// them from any byte on. Each Releaser is called once. The batch can be used again.
func TestBatchHoldsTheFramesThatWereAdded(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		b := wire.NewBatch(vectored)
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 300 {
			var want bytes.Buffer
			enc := wire.NewEncoder(&want)
			encode := func(h wire.Header, p []byte) {
				h.Length = uint16(len(p))
				if err := enc.Encode(h, p); err != nil {
					t.Fatal(err)
				}
			}
			var owners []*released
			for !b.Full() {
				h := wire.Header{Version: wire.V2, Command: wire.PSH, StreamID: 1 + rng.Uint32N(9)}
				switch rng.IntN(4) {
				case 0:
					p := make([]byte, min(rng.IntN(1000), b.Room()))
					b.Frame(h, p)
					encode(h, p)
				case 1:
					u := wire.WindowUpdate{Consumed: rng.Uint32(), Window: rng.Uint32()}
					b.Update(h, u)
					h.Command = wire.UPD
					encode(h, u.Append(nil))
				default:
					var whole []byte
					b.Begin(h)
					for room := b.Room(); b.TakesPayload() && rng.IntN(5) > 0; {
						p := make([]byte, min(1+rng.IntN(1<<(1+rng.IntN(14))), room-len(whole)))
						for i := range p {
							p[i] = byte(rng.Uint32())
						}
						whole = append(whole, p...)
						if len(p) > 0 && b.Payload(p) {
							if !vectored {
								t.Fatal("a copying batch refers to a payload")
							}
							owners = append(owners, new(released))
							b.Retain(owners[len(owners)-1])
						} else {
							clear(p) // it must have a copy
						}
					}
					b.End()
					encode(h, whole)
				}
			}
			if b.Len() != want.Len() || b.Len() > wire.BatchSize {
				t.Fatalf("round %d: Len is %d, %d bytes were added", round, b.Len(), want.Len())
			}
			whole := b.Bytes()
			if vectored {
				whole = bytes.Join(b.Parts(), nil)
			}
			if !bytes.Equal(whole, want.Bytes()) {
				t.Fatalf("round %d: the bytes are not those of the frames", round)
			}
			for range 10 {
				n := rng.IntN(b.Len() + 1)
				if !bytes.Equal(want.Bytes()[n:], b.AppendRest(nil, n)) {
					t.Fatalf("round %d: the bytes from %d on are others", round, n)
				}
			}
			b.Release()
			for _, o := range owners {
				if o.times != 1 {
					t.Fatalf("released %d times", o.times)
				}
			}
			if b.Len() != 0 || b.Full() || b.Room() != wire.MaxBatchPayload {
				t.Fatalf("after Release: Len %d, Full %v, Room %d", b.Len(), b.Full(), b.Room())
			}
		}
	}
}

// A batch allocates nothing once its buffers have grown, also for many small pieces.
func TestBatchAllocatesNothing(t *testing.T) {
	p := make([]byte, 20_000)
	r := new(released)
	for _, vectored := range []bool{false, true} {
		b := wire.NewBatch(vectored)
		fill := func() {
			for n := 0; !b.Full(); n++ {
				b.Begin(wire.Header{Version: wire.V1, Command: wire.PSH, StreamID: 1})
				for k := range 4 {
					if size := min(1+k*(n%500), b.Room()); b.TakesPayload() && size > 0 && b.Payload(p[:size]) {
						b.Retain(r)
					}
				}
				b.End()
			}
			b.Release()
		}
		fill()
		if n := testing.AllocsPerRun(100, fill); n != 0 {
			t.Errorf("vectored %v: %v allocations", vectored, n)
		}
	}
}

// A vectored batch sends a large payload without copying it.
func ExampleBatch() {
	var conn bytes.Buffer
	b := wire.NewBatch(true)
	b.Frame(wire.Header{Version: wire.V1, Command: wire.SYN, StreamID: 1}, nil)
	b.Begin(wire.Header{Version: wire.V1, Command: wire.PSH, StreamID: 1})
	b.Payload(bytes.Repeat([]byte("data"), 1000))
	b.End()
	for _, part := range b.Parts() { // on a TCP connection: net.Buffers, one system call
		_, _ = conn.Write(part)
	}
	b.Release()

	dec := wire.NewDecoder(&conn)
	for {
		h, err := dec.Next()
		if err == io.EOF {
			break
		}
		fmt.Println(h)
	}
	// Output:
	// v1 SYN stream=1 length=0
	// v1 PSH stream=1 length=4000
}

// Headers returns the header of each frame, with its length, whether payloads were copied or are referred to.
func TestBatchHeadersReturnsEachHeader(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		b := wire.NewBatch(vectored)
		var want []wire.Header
		add := func(c wire.Command, id uint32, payloads ...int) {
			h := wire.Header{Version: wire.V2, Command: c, StreamID: id}
			b.Begin(h)
			for _, n := range payloads {
				b.Payload(make([]byte, n))
				h.Length += uint16(n)
			}
			b.End()
			want = append(want, h)
		}
		for range 2 {
			want = nil
			add(wire.SYN, 1)
			add(wire.PSH, 1, 100)
			add(wire.PSH, 1, 5000)
			add(wire.PSH, 3, 10, 2000, 3000, 1)
			add(wire.FIN, 1)
			b.Update(wire.Header{Version: wire.V2, StreamID: 1}, wire.WindowUpdate{})
			want = append(want, wire.Header{Version: wire.V2, Command: wire.UPD, Length: wire.UpdateSize, StreamID: 1})
			add(wire.FIN, 3)
			if diff := cmp.Diff(want, slices.Collect(b.Headers())); diff != "" {
				t.Errorf("vectored %v (-want +got):\n%s", vectored, diff)
			}
			if n := b.Frames(); n != len(want) {
				t.Errorf("Frames = %d, want %d", n, len(want))
			}
			for h := range b.Headers() {
				if h != want[0] {
					t.Errorf("the first header is %v", h)
				}
				break
			}
			b.Release()
			if got := slices.Collect(b.Headers()); len(got) > 0 {
				t.Errorf("headers of an empty batch: %v", got)
			}
		}
	}
}

// A batch with a limit never exceeds it if frames of data have at most Room bytes, and up to seven frames without data
// are added while it is not Full. An empty one has Room. SetLimit(0) is BatchSize.
func TestBatchKeepsToItsLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, vectored := range []bool{false, true} {
		for _, limit := range []int{1, wire.MinBatchLimit, 65, 100, 1000, 1200, 16 << 10, 60_000, wire.BatchSize, 1 << 20, 0} {
			b := wire.NewBatch(vectored)
			b.SetLimit(limit)
			most := max(limit, wire.MinBatchLimit)
			if limit == 0 || limit > wire.BatchSize {
				most = wire.BatchSize
			}
			for range 200 {
				if b.Full() || b.Room() < most-most/4 && b.Len() == 0 && most > 200 {
					t.Fatalf("limit %d: an empty batch has room for %d bytes", limit, b.Room())
				}
				for !b.Full() {
					if rng.IntN(2) == 0 {
						for range 1 + rng.IntN(7) {
							b.Frame(wire.Header{Version: wire.V1, Command: wire.NOP}, nil)
						}
					} else {
						b.Begin(wire.Header{Version: wire.V1, Command: wire.PSH, StreamID: 1})
						b.Payload(make([]byte, min(b.Room(), 1+rng.IntN(most))))
						b.End()
						b.Frame(wire.Header{Version: wire.V1, Command: wire.FIN, StreamID: 1}, nil)
						b.Frame(wire.Header{Version: wire.V1, Command: wire.FIN, StreamID: 1}, nil)
					}
					if b.Len() > most {
						t.Fatalf("limit %d: a batch of %d bytes", limit, b.Len())
					}
				}
				b.Release()
			}
		}
	}
}
