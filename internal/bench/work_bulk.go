package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bulk is data one way, on streams at once, in writes of size bytes.
type bulk struct {
	streams, size int
	sessions      int  // that many sessions have that many streams each; 0: one
	copied        bool // io.Copy with a buffer of size instead of Write
}

// traffic counts what goes through one end of bulk. Writers count calls alone, since
// the fastest of them spend 100 ns a call.
type traffic struct {
	calls   atomic.Int64
	read    atomic.Int64 // bytes, for those who read
	size    int64        // bytes a call, for those who write
	stop    atomic.Bool
	running sync.WaitGroup
}

func (t *traffic) bytes() int64 { return t.read.Load() + t.calls.Load()*t.size }

// sized has the number of sessions that is asked for, or else the size of writes.
func (b bulk) sized(e *end) bulk {
	switch {
	case e.Size != 0 && b.sessions > 0:
		b.sessions = e.Size
	case e.Size != 0:
		b.size = e.Size
	}
	return b
}

func (b bulk) send(e *end) figures {
	b = b.sized(e)
	streams := make([]net.Conn, b.streams*max(b.sessions, 1))
	for part := range slices.Chunk(streams, b.streams) {
		openStreams(e.connect(), part, make([]byte, messageSize))
	}
	var t *traffic
	if b.copied {
		t = copyAll(streams, b.size)
	} else {
		t = writeAll(streams, b.size)
	}
	f := t.observe(e, "send")
	e.meet()
	t.stop.Store(true)
	t.running.Wait()
	e.tell(t.bytes())
	e.meet()
	return f
}

func (b bulk) receive(e *end) figures {
	b = b.sized(e)
	streams := make([]net.Conn, b.streams*max(b.sessions, 1))
	for part := range slices.Chunk(streams, b.streams) {
		acceptStreams(e.acceptSession(), part)
	}
	t := readAll(streams)
	f := t.observe(e, "receive")
	e.meet()
	var sent int64
	e.hear(&sent)
	t.expect(sent)
	e.meet()
	return f
}

// writeAll writes to all streams at once until stop is set.
func writeAll(streams []net.Conn, size int) *traffic {
	t := &traffic{size: int64(size)}
	for _, s := range streams {
		t.running.Go(func() {
			buf := make([]byte, size)
			for !t.stop.Load() {
				_, err := s.Write(buf)
				check(err)
				t.calls.Add(1)
			}
		})
	}
	return t
}

// copyAll is writeAll through io.Copy, from a source that gives size bytes at a time.
func copyAll(streams []net.Conn, size int) *traffic {
	t := &traffic{size: int64(size)}
	for _, s := range streams {
		t.running.Go(func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{s}, source{t}, make([]byte, size))
			check(err)
		})
	}
	return t
}

// A source gives pieces of the traffic's size until that is stopped.
type source struct{ *traffic }

func (s source) Read(p []byte) (int, error) {
	if s.stop.Load() {
		return 0, io.EOF
	}
	s.calls.Add(1)
	return len(p), nil
}

// readAll reads from all streams at once until they end.
func readAll(streams []net.Conn) *traffic {
	t := new(traffic)
	for _, s := range streams {
		t.running.Go(func() {
			buf := make([]byte, readBufferSize(len(streams)))
			for {
				n, err := s.Read(buf)
				t.calls.Add(1)
				t.read.Add(int64(n))
				if err != nil {
					return // expect tells whether it came too early
				}
			}
		})
	}
	return t
}

// readBufferSize is what readers of that many streams use. 10,000 of them share 160 MB.
func readBufferSize(streams int) int {
	if streams > 1000 {
		return 16 << 10
	}
	return 128 << 10
}

// observe takes the figures of this end over the window, which lasts until something
// has moved: the figures divide by it. Each end looks at its own clock and its own
// count, so that none has to be in step with the other.
func (t *traffic) observe(e *end, verb string) figures {
	time.Sleep(e.Warmup)
	start, cpu, calls, bytes, objects := time.Now(), cpuTime(), t.calls.Load(), t.bytes(), mallocs()
	time.Sleep(e.Window)
	for t.bytes() == bytes || t.calls.Load() == calls {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(start).Seconds()
	gb := float64(t.bytes()-bytes) / 1e9
	f := figures{
		verb + " GB/s":          gb / took,
		verb + " allocs a call": (mallocs() - objects) / float64(t.calls.Load()-calls),
		verb + " memory MB":     heldMemory() / 1e6,
	}
	spent := (cpuTime() - cpu).Seconds() / gb
	if e.Ends == bothEnds {
		f["CPU-s/GB"] = spent // of both
	} else {
		f[verb+" CPU-s/GB"] = spent
	}
	return f
}

// expect waits until as much has been received as was sent, and fails once nothing
// has arrived for five seconds.
func (t *traffic) expect(sent int64) {
	before, since := int64(-1), time.Time{}
	for ; t.bytes() != sent; time.Sleep(time.Millisecond) {
		switch received := t.bytes(); {
		case received != before:
			before, since = received, time.Now()
		case time.Since(since) > 5*time.Second:
			check(fmt.Errorf("%d bytes sent, %d received", sent, received))
		}
	}
}

// bothWays is bulk data both ways on the same streams.
type bothWays struct{ streams, size int }

func (b bothWays) dial(e *end) figures {
	streams := make([]net.Conn, b.streams)
	openStreams(e.connect(), streams, make([]byte, messageSize))
	return b.run(e, streams, "back")
}

func (b bothWays) accept(e *end) figures {
	streams := make([]net.Conn, b.streams)
	acceptStreams(e.acceptSession(), streams)
	return b.run(e, streams, "there")
}

func (b bothWays) run(e *end, streams []net.Conn, way string) figures {
	t := readAll(streams)
	w := writeAll(streams, b.size)
	f := t.observe(e, way)
	e.meet()
	w.stop.Store(true)
	w.running.Wait()
	e.meet() // neither end reads any more
	return f
}

// transfer is a fixed amount of data on one stream, timed from the first write until all has arrived. After within, no
// more is written: the rate tells all the same.
type transfer struct {
	size   int64
	within time.Duration
}

func (t transfer) send(e *end) figures {
	s := make([]net.Conn, 1)
	openStreams(e.connect(), s, make([]byte, messageSize))
	if e.Size != 0 {
		t.size = int64(e.Size)
	}
	buf := make([]byte, 128<<10)
	var sent int64
	start := time.Now()
	for sent < t.size && time.Since(start) < t.within {
		n, err := s[0].Write(buf)
		check(err)
		sent += int64(n)
	}
	e.tell(sent)
	e.meet() // all has arrived
	return figures{"MB/s": float64(sent) / 1e6 / time.Since(start).Seconds()}
}

func (t transfer) receive(e *end) figures {
	s := make([]net.Conn, 1)
	acceptStreams(e.acceptSession(), s)
	got := readAll(s)
	var sent int64
	e.hear(&sent)
	got.expect(sent)
	e.meet()
	return nil
}
