package main

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The work that rows measure: each is a pair of functions, one for the end that
// dials and opens streams, one for the end that accepts them.

const (
	messageSize    = 64        // of a request and of its echo
	readBufferSize = 128 << 10 // of those who read bulk data
)

// A message whose first byte is keep asks serve to leave the stream open and
// unattended after the echo.
const keep = 'k'

// openStreams opens a stream into each element of streams, with one echo on each,
// so that the other end has accepted them all, in this order.
func openStreams(m mux, streams []net.Conn, message []byte) {
	for i := range streams {
		s, err := m.Open()
		check(err)
		check(echo(s, message))
		streams[i] = s
	}
}

// acceptStreams is the other end of openStreams.
func acceptStreams(m mux, streams []net.Conn) {
	message := make([]byte, messageSize)
	for i := range streams {
		s, err := m.Accept()
		check(err)
		check(answer(s, message))
		streams[i] = s
	}
}

// echo sends message and waits for it to come back.
func echo(s net.Conn, message []byte) error {
	if _, err := s.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(s, message)
	return err
}

// answer is the other end of echo.
func answer(s net.Conn, message []byte) error {
	if _, err := io.ReadFull(s, message); err != nil {
		return err
	}
	_, err := s.Write(message)
	return err
}

// serve answers on every stream that arrives, each with a goroutine of its own,
// until Accept fails. It returns the streams it was asked to keep.
func serve(m mux) (kept []net.Conn) {
	var mu sync.Mutex // guards kept
	for {
		s, err := m.Accept()
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			return kept
		}
		go func() {
			message := messages.Get().(*[messageSize]byte)
			defer messages.Put(message)
			for answer(s, message[:]) == nil {
				if message[0] == keep {
					mu.Lock()
					kept = append(kept, s)
					mu.Unlock()
					return
				}
			}
			s.Close()
		}()
	}
}

// messages spares serve an allocation per stream, which would count as the peer's.
var messages = sync.Pool{New: func() any { return new([messageSize]byte) }}

// acceptEchoes is the accepting end of the rows that measure at the dialing end.
func acceptEchoes(e *end) figures {
	go serve(e.acceptSession())
	e.meet()
	return nil
}

// Bulk.

// bulk is data one way, on streams at once, in writes of size bytes.
type bulk struct{ streams, size int }

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

func (b bulk) send(e *end) figures {
	if e.Size != 0 {
		b.size = e.Size
	}
	streams := make([]net.Conn, b.streams)
	openStreams(e.connect(), streams, make([]byte, messageSize))
	t := writeAll(streams, b.size)
	f := t.observe(e, "send")
	e.meet()
	t.stop.Store(true)
	t.running.Wait()
	e.tell(t.bytes())
	e.meet()
	return f
}

func (b bulk) receive(e *end) figures {
	streams := make([]net.Conn, b.streams)
	acceptStreams(e.acceptSession(), streams)
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

// readAll reads from all streams at once until they end.
func readAll(streams []net.Conn) *traffic {
	t := new(traffic)
	for _, s := range streams {
		t.running.Go(func() {
			buf := make([]byte, readBufferSize)
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
	return figures{
		verb + " GB/s":          gb / took,
		verb + " CPU-s/GB":      (cpuTime() - cpu).Seconds() / gb,
		verb + " allocs a call": (mallocs() - objects) / float64(t.calls.Load()-calls),
	}
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

// Latency.

// pingPong echoes on one stream, one message at a time.
func pingPong(e *end) figures {
	s := make([]net.Conn, 1)
	message := make([]byte, messageSize)
	openStreams(e.connect(), s, message)
	echoes := func(d time.Duration) (n float64, took time.Duration) {
		start := time.Now()
		for took < d {
			check(echo(s[0], message))
			n++
			took = time.Since(start)
		}
		return n, took
	}
	echoes(e.Warmup)
	objects, cpu := mallocs(), cpuTime()
	n, took := echoes(e.Window)
	objects, cpu = mallocs()-objects, cpuTime()-cpu
	e.meet()
	return figures{"us": took.Seconds() * 1e6 / n, "CPU us": cpu.Seconds() * 1e6 / n, "allocs": objects / n}
}

// besideBulk echoes on one stream while others carry bulk data the same way as
// the request.
type besideBulk struct{ streams, size int }

func (b besideBulk) dial(e *end) figures {
	streams := make([]net.Conn, b.streams+1)
	message := make([]byte, messageSize)
	openStreams(e.connect(), streams, message)
	t := writeAll(streams[:b.streams], b.size)
	quiet := streams[b.streams]

	var took []time.Duration
	echoes := func(d time.Duration) {
		took = took[:0]
		for start := time.Now(); len(took) == 0 || time.Since(start) < d; {
			sent := time.Now()
			check(echo(quiet, message))
			took = append(took, time.Since(sent))
		}
	}
	echoes(e.Warmup)
	echoes(e.Window)
	e.meet()
	t.stop.Store(true)
	t.running.Wait()
	e.meet()
	slices.Sort(took)
	percentile := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Nanoseconds()) / 1e3 }
	return figures{"p50 us": percentile(50), "p99 us": percentile(99)}
}

func (b besideBulk) accept(e *end) figures {
	streams := make([]net.Conn, b.streams+1)
	acceptStreams(e.acceptSession(), streams)
	t := readAll(streams[:b.streams])
	go func() {
		for message := make([]byte, messageSize); answer(streams[b.streams], message) == nil; {
		}
	}()
	f := t.observe(e, "bulk")
	e.meet()
	e.meet() // the bulk has been read until then
	return f
}

// Calls.

// maxConnections is how many connections a measurement with raw TCP may make: each
// holds a port for a minute after it was closed, and the kernel's search for a free
// one gets slow long before all 28,000 are taken.
const maxConnections = 16000

// calls opens, echoes and closes streams with that many workers at once.
type calls struct{ workers int }

func (c calls) dial(e *end) figures {
	m := e.connect()
	c.run(e, m, e.Warmup)
	objects, cpu := mallocs(), cpuTime()
	n, took := c.run(e, m, e.Window)
	objects, cpu = mallocs()-objects, cpuTime()-cpu
	e.meet()
	return figures{"k/s": n / took.Seconds() / 1e3, "CPU us": cpu.Seconds() * 1e6 / n, "allocs": objects / n}
}

// run works for about d, at least one call a worker, and returns how many calls it made, in what time.
func (c calls) run(e *end, m mux, d time.Duration) (n float64, took time.Duration) {
	var made atomic.Int64
	limit := int64(1 << 62)
	if e.peer.raw() {
		limit = maxConnections / 2 // run is called twice
	}
	start := time.Now()
	var workers sync.WaitGroup
	for range c.workers {
		workers.Go(func() {
			message := make([]byte, messageSize)
			for first := true; (first || time.Since(start) < d) && made.Add(1) <= limit; first = false {
				s, err := m.Open()
				check(err)
				check(echo(s, message))
				check(s.Close())
			}
		})
	}
	workers.Wait()
	return float64(min(made.Load(), limit)), time.Since(start)
}

// crowd makes calls, one at a time, on a session with no other stream and then
// with that many idle ones, and closes the session under them.
type crowd struct{ streams int }

func (c crowd) dial(e *end) figures {
	if e.Size != 0 {
		c.streams = e.Size
	}
	m := e.connect()
	one := calls{workers: 1}
	rate := func() float64 {
		n, took := one.run(e, m, e.Window)
		return n / took.Seconds() / 1e3
	}
	one.run(e, m, e.Warmup)
	alone := rate()
	message := make([]byte, messageSize)
	message[0] = keep
	streams := make([]net.Conn, c.streams)
	openStreams(m, streams, message)
	crowded := rate()

	start := time.Now()
	m.Close()
	closed := time.Since(start)
	var kept int
	e.hear(&kept)
	if kept != c.streams {
		check(fmt.Errorf("%d streams opened, %d arrived", c.streams, kept))
	}
	runtime.KeepAlive(streams)
	return figures{
		"k/s":      crowded,
		"kept":     crowded / alone,
		"close ms": closed.Seconds() * 1e3,
		"both ms":  time.Since(start).Seconds() * 1e3,
	}
}

func (c crowd) accept(e *end) figures {
	m := e.acceptSession()
	kept := serve(m)
	m.Close()
	e.tell(len(kept))
	return nil
}

// Memory. Both ends are measured, each in its own process, and the larger counts.

// idleStreams is what each of that many streams costs, once it has been used.
type idleStreams struct{ streams int }

func (i idleStreams) dial(e *end) figures {
	m := e.connect()
	message := make([]byte, messageSize)
	openStreams(m, make([]net.Conn, 1), message)
	streams := make([]net.Conn, i.count(e))
	before := memory()
	e.meet()
	openStreams(m, streams, message)
	e.meet()
	mine := (memory() - before) / float64(len(streams))
	var theirs float64
	e.hear(&theirs)
	runtime.KeepAlive(streams)
	return figures{"bytes": max(mine, theirs)}
}

func (i idleStreams) accept(e *end) figures {
	m := e.acceptSession()
	first := make([]net.Conn, 1)
	acceptStreams(m, first)
	streams := make([]net.Conn, i.count(e))
	before := memory()
	e.meet()
	acceptStreams(m, streams)
	e.meet()
	e.tell((memory() - before) / float64(len(streams)))
	runtime.KeepAlive(first)
	runtime.KeepAlive(streams)
	return nil
}

func (i idleStreams) count(e *end) int {
	if e.Size != 0 {
		return e.Size
	}
	if limit := e.peer.maxStreams; limit > 0 {
		return min(i.streams, limit*9/10)
	}
	return i.streams
}

// idleSessions is what each of that many sessions costs, without its connection,
// once a stream has been opened, used and closed on it.
type idleSessions struct{ sessions int }

func (i idleSessions) dial(e *end) figures {
	var addr string
	e.hear(&addr)
	conns := make([]net.Conn, i.sessions)
	for n := range conns {
		var err error
		conns[n], err = e.dialTo(addr)
		check(err)
	}
	e.meet()

	sessions := make([]mux, i.sessions)
	message := make([]byte, messageSize)
	before, goroutines := memory(), runtime.NumGoroutine()
	e.meet()
	for n, c := range conns {
		var err error
		sessions[n], err = e.peer.client(c)
		check(err)
		s, err := sessions[n].Open()
		check(err)
		check(echo(s, message))
		check(s.Close())
	}
	e.meet()
	bytes := (memory() - before) / float64(i.sessions)
	count := float64(runtime.NumGoroutine()-goroutines) / float64(i.sessions)
	var theirs figures
	e.hear(&theirs)
	runtime.KeepAlive(sessions)
	return figures{"bytes": max(bytes, theirs["bytes"]), "goroutines": max(count, theirs["goroutines"])}
}

func (i idleSessions) accept(e *end) figures {
	l := e.listen()
	conns := make([]net.Conn, i.sessions)
	for n := range conns {
		var err error
		conns[n], err = l.Accept()
		check(err)
	}
	e.meet()

	sessions := make([]mux, i.sessions)
	message := make([]byte, messageSize)
	before, goroutines := memory(), runtime.NumGoroutine()
	e.meet()
	for n, c := range conns {
		var err error
		sessions[n], err = e.peer.server(c)
		check(err)
		s, err := sessions[n].Accept()
		check(err)
		check(answer(s, message))
		io.Copy(io.Discard, s) // until the other end has closed it
		s.Close()
	}
	e.meet()
	e.tell(figures{
		"bytes":      (memory() - before) / float64(i.sessions),
		"goroutines": float64(runtime.NumGoroutine()-goroutines) / float64(i.sessions),
	})
	runtime.KeepAlive(sessions)
	return nil
}
