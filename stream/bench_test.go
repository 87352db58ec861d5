package stream_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// An outlet is a session for benchmarks of a stream alone. Its transport takes everything at once and discards it,
// so that no call waits.
type outlet struct {
	core     stream.Core
	cfg      *stream.Shared
	batch    *wire.Batch
	turn     int    // size of a turn in bytes
	out      int    // bytes of frames
	frames   int    // PSH frames
	written  uint32 // payload bytes
	updated  uint32 // written, at the last update of the peer
	finished bool
}

func newOutlet(v wire.Version) *outlet {
	o := &outlet{batch: wire.NewBatch(true), turn: turn}
	o.cfg = &stream.Shared{Version: v, MaxFrameSize: 32760, Budget: flow.NewAccount(32 << 20), LocalAddr: addr("here"), RemoteAddr: addr("there")}
	return o
}

// turn is the number of bytes that a session's scheduler lets a stream send at a time.
const turn = 32 << 10

func (o *outlet) SendControl(stream.Urgency) {
	o.core.AppendControl(o.batch)
	o.send()
}

func (o *outlet) SendData(stream.Urgency) {
	for more := true; more; {
		before := o.batch.Len()
		if more = o.core.AppendData(o.batch, o.turn); o.batch.Len() > before+2*wire.HeaderSize {
			o.frames++
		}
		if !more || o.batch.Full() {
			o.send()
		}
	}
}

func (o *outlet) send() {
	o.out += o.batch.Len()
	o.batch.Release()
}

// write calls Write with p. The peer reads everything before the window is used up.
func (o *outlet) write(b *testing.B, p []byte) {
	if _, err := o.core.Stream().Write(p); err != nil {
		b.Fatal(err)
	}
	o.written += uint32(len(p))
	if o.cfg.Version == wire.V2 && o.written-o.updated >= flow.InitialWindow/4 {
		o.updated = o.written
		if err := o.core.HandleUpdate(wire.WindowUpdate{Consumed: o.written, Window: flow.InitialWindow}); err != nil {
			b.Fatal(err)
		}
	}
}

func (o *outlet) Flush()             {}
func (o *outlet) Opened()            {}
func (o *outlet) SetWeight(int)      {}
func (o *outlet) Now() time.Duration { return time.Since(benchStart) }
func (o *outlet) Finished()          { o.finished = true }

var benchStart = time.Now()

// overVersions runs a benchmark for both versions and these sizes of payloads, on a stream that the peer has
// opened.
func overVersions(b *testing.B, sizes []int, run func(b *testing.B, o *outlet, p []byte)) {
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%v/size=%d", v, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				o := newOutlet(v)
				o.core.Init(o.cfg, o, 1, false)
				run(b, o, make([]byte, size))
			})
		}
	}
}

// BenchmarkWrite is a Write that is sent at once. The smaller one is copied, the larger one is sent from the
// caller's buffer.
func BenchmarkWrite(b *testing.B) {
	overVersions(b, []int{64, 32 << 10}, func(b *testing.B, o *outlet, p []byte) {
		for b.Loop() {
			o.write(b, p)
		}
		if o.out < b.N*len(p) {
			b.Errorf("%d bytes were handed out, want %d and headers", o.out, b.N*len(p))
		}
	})
}

// BenchmarkDeliverRead is a frame that is copied from the session's buffer and then read.
func BenchmarkDeliverRead(b *testing.B) {
	overVersions(b, []int{64, 32 << 10}, func(b *testing.B, o *outlet, p []byte) {
		s := o.core.Stream()
		buf := make([]byte, len(p))
		for b.Loop() {
			o.core.Deliver(p, false)
			if _, err := io.ReadFull(s, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReserveCommitRead is a frame that the session reads into the stream's memory and that is then read. It
// saves a copy against BenchmarkDeliverRead.
func BenchmarkReserveCommitRead(b *testing.B) {
	overVersions(b, []int{32 << 10}, func(b *testing.B, o *outlet, p []byte) {
		s := o.core.Stream()
		for b.Loop() {
			for left := len(p); left > 0; {
				lent := o.core.Reserve(left, false)
				if len(lent) == 0 {
					b.Fatal("nothing was lent")
				}
				o.core.Commit(len(lent))
				left -= len(lent)
			}
			if _, err := io.ReadFull(s, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpenWriteClose is the whole cost of a stream that is opened, carries 64 bytes in each direction, and is
// closed by both sides. It allocates the stream and nothing else.
func BenchmarkOpenWriteClose(b *testing.B) {
	p := make([]byte, 64)
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		b.Run(v.String(), func(b *testing.B) {
			b.ReportAllocs()
			session := newOutlet(v)
			for b.Loop() {
				o := &outlet{cfg: session.cfg, batch: session.batch}
				o.core.Init(o.cfg, o, 1, true)
				o.core.Start()
				s := o.core.Stream()
				o.write(b, p)
				o.core.Deliver(p, false)
				if _, err := io.ReadFull(s, p); err != nil {
					b.Fatal(err)
				}
				o.core.HandleFIN()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				if !o.finished {
					b.Fatal("the stream has not finished")
				}
			}
		})
	}
}
