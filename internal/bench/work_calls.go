package main

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxConnections is how many connections a measurement with raw TCP may make: each
// holds a port for a minute after it was closed, and the kernel's search for a free
// one gets slow long before all 28,000 are taken.
const maxConnections = 16000

// calls opens, echoes and closes streams with that many workers at once.
type calls struct{ workers int }

func (c calls) dial(e *end) figures {
	m := e.connect()
	c.run(e, m, e.Warmup)
	objects, cpu := mallocs(), e.bothSpent()
	n, took := c.run(e, m, e.Window)
	cpu, objects = e.bothSpent()-cpu, mallocs()-objects
	e.finish()
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

// churn opens and closes that many streams without data, as the benchmark of async_smux does. At most churnInFlight are
// in flight: a stream is from when it is opened until the accepting end has closed it. Both ends are in one process.
type churn struct{ streams int }

const (
	churnStreams  = 1 << 16
	churnInFlight = 512
)

// inFlight has a token for each stream that may be opened. Both ends of churn use it.
var inFlight = make(chan struct{}, churnInFlight)

func (c churn) count(e *end) int {
	if e.Size != 0 {
		return e.Size
	}
	return c.streams
}

func (c churn) dial(e *end) figures {
	m := e.connect()
	openStreams(m, make([]net.Conn, 1), make([]byte, messageSize))
	n := c.count(e)
	objects, cpu, start := mallocs(), cpuTime(), time.Now()
	for range n {
		inFlight <- struct{}{}
		s, err := m.Open()
		check(err)
		check(s.Close())
	}
	for range churnInFlight {
		inFlight <- struct{}{}
	}
	took := time.Since(start)
	cpu, objects = cpuTime()-cpu, mallocs()-objects
	e.meet()
	count := float64(n)
	return figures{"k/s": count / took.Seconds() / 1e3, "CPU us": cpu.Seconds() * 1e6 / count, "allocs": objects / count}
}

func (c churn) accept(e *end) figures {
	m := e.acceptSession()
	acceptStreams(m, make([]net.Conn, 1))
	for range c.count(e) {
		s, err := m.Accept()
		check(err)
		_ = s.Close()
		<-inFlight
	}
	e.meet()
	return nil
}
