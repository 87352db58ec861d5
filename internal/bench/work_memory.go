package main

import (
	"io"
	"net"
	"runtime"
	"time"
)

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

// idleSessions is what each of that many sessions costs, without its connection: before any stream, and once a stream has
// been opened, used and closed on it. If idle is not 0, then after that time, and after it in CPU time over as long, at the
// accepting end.
type idleSessions struct {
	sessions int
	idle     time.Duration
}

func (i idleSessions) count(e *end) int {
	if e.Size != 0 {
		return e.Size
	}
	return i.sessions
}

// idleWindow is how long the sessions are watched. Tests set a tiny window.
func (i idleSessions) idleWindow(e *end) time.Duration {
	if e.Window < time.Millisecond {
		return min(i.idle, time.Millisecond)
	}
	return i.idle
}

func (i idleSessions) dial(e *end) figures {
	var addr string
	e.hear(&addr)
	conns := make([]net.Conn, i.count(e))
	for n := range conns {
		var err error
		conns[n], err = e.dialTo(addr)
		check(err)
	}
	e.meet()

	sessions := make([]mux, len(conns))
	message := make([]byte, messageSize)
	before, goroutines := memory(), runtime.NumGoroutine()
	each := func(v float64) float64 { return v / float64(len(conns)) }
	e.meet()
	for n, c := range conns {
		var err error
		sessions[n], err = e.peer.client(c)
		check(err)
	}
	e.meet()
	fresh := each(memory() - before)
	e.meet()
	for _, m := range sessions {
		s, err := m.Open()
		check(err)
		check(echo(s, message))
		check(s.Close())
	}
	e.meet()
	if i.idle > 0 {
		e.meet() // after that time
	}
	bytes := each(memory() - before)
	count := each(float64(runtime.NumGoroutine() - goroutines))
	e.meet() // so that neither process ends before
	var theirs figures
	e.hear(&theirs)
	runtime.KeepAlive(sessions)
	f := figures{"fresh": max(fresh, theirs["fresh"]), "bytes": max(bytes, theirs["bytes"]), "goroutines": max(count, theirs["goroutines"])}
	if i.idle > 0 {
		f["CPU us"] = theirs["CPU us"]
	}
	return f
}

func (i idleSessions) accept(e *end) figures {
	l := e.listen()
	conns := make([]net.Conn, i.count(e))
	for n := range conns {
		var err error
		conns[n], err = l.Accept()
		check(err)
	}
	e.meet()

	sessions := make([]mux, len(conns))
	message := make([]byte, messageSize)
	before, goroutines := memory(), runtime.NumGoroutine()
	each := func(v float64) float64 { return v / float64(len(conns)) }
	e.meet()
	for n, c := range conns {
		var err error
		sessions[n], err = e.peer.server(c)
		check(err)
	}
	e.meet()
	f := figures{"fresh": each(memory() - before)}
	e.meet()
	for _, m := range sessions {
		s, err := m.Accept()
		check(err)
		check(answer(s, message))
		_, _ = io.Copy(io.Discard, s) // until the other end has closed it
		_ = s.Close()
	}
	e.meet()
	idle := i.idleWindow(e)
	if idle > 0 {
		time.Sleep(idle)
		e.meet()
	}
	f["bytes"] = each(memory() - before)
	f["goroutines"] = each(float64(runtime.NumGoroutine() - goroutines))
	if idle > 0 {
		cpu := cpuTime()
		time.Sleep(idle)
		f["CPU us"] = each((cpuTime() - cpu).Seconds() * 1e6 / idle.Seconds())
	}
	e.meet()
	e.tell(f)
	runtime.KeepAlive(sessions)
	return nil
}
