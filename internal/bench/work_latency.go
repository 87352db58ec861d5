package main

import (
	"net"
	"slices"
	"time"
)

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
	objects, cpu := mallocs(), e.bothSpent()
	n, took := echoes(e.Window)
	cpu, objects = e.bothSpent()-cpu, mallocs()-objects
	e.finish()
	return figures{"us": took.Seconds() * 1e6 / n, "CPU us": cpu.Seconds() * 1e6 / n, "allocs": objects / n}
}

// besideBulk echoes on one stream while others carry bulk data the same way as
// the request.
type besideBulk struct{ streams, size int }

func (b besideBulk) dial(e *end) figures {
	streams := make([]net.Conn, b.streams+1)
	message := make([]byte, messageSize)
	openStreams(e.connect(), streams, message)
	quiet := streams[b.streams]
	idle := time.Hour // the shortest round trip without other data
	for range 5 {
		start := time.Now()
		check(echo(quiet, message))
		idle = min(idle, time.Since(start))
	}
	t := writeAll(streams[:b.streams], b.size)

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
	return figures{"p50 us": percentile(50), "p99 us": percentile(99), "p50 / idle": percentile(50) * 1e3 / float64(idle.Nanoseconds())}
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
