package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// An end is what a row's function has to work with: the peer to measure, and a
// line to the other end's function, beside the connections that are measured.
type end struct {
	order
	row  *row
	peer *peer
	in   *json.Decoder
	out  *json.Encoder
}

func newEnd(o order, r *row, p *peer, in io.Reader, out io.Writer) *end {
	return &end{o, r, p, json.NewDecoder(in), json.NewEncoder(out)}
}

// tell sends v to the other end's function.
func (e *end) tell(v any) { check(e.out.Encode(v)) }

// hear waits for what the other end's function tells.
func (e *end) hear(v any) {
	err := e.in.Decode(v)
	if errors.Is(err, io.EOF) {
		os.Exit(exitOrphan)
	}
	check(err)
}

// meet waits until the other end's function has come as far.
func (e *end) meet() {
	e.tell("here")
	e.hear(new(string))
}

// listen opens a port and tells the other end which.
func (e *end) listen() net.Listener {
	l, err := e.row.way().listen(e)
	check(err)
	e.tell(l.Addr().String())
	return l
}

// dialTo connects to the port that the other end listens on.
func (e *end) dialTo(addr string) (net.Conn, error) { return e.row.way().dial(e, addr) }

// bothSpent is the CPU time that both ends have spent. It asks the other end, which is in attend.
func (e *end) bothSpent() time.Duration {
	if e.Ends == bothEnds {
		return cpuTime()
	}
	e.tell(askCPU)
	var other time.Duration
	e.hear(&other)
	return cpuTime() + other
}

const (
	askCPU = "cpu"
	done   = "done"
)

// attend answers the other end's bothSpent until it is done.
func (e *end) attend() {
	for {
		var asked string
		e.hear(&asked)
		if asked != askCPU {
			return
		}
		e.tell(cpuTime())
	}
}

// finish ends the other end's attend.
func (e *end) finish() { e.tell(done) }

// connect starts a session to the other end, which calls acceptSession.
func (e *end) connect() mux {
	var addr string
	e.hear(&addr)
	if e.peer.raw() {
		return &rawDialer{e, addr}
	}
	if e.peer.dial != nil {
		m, err := e.peer.dial(addr)
		check(err)
		return m
	}
	c, err := e.dialTo(addr)
	check(err)
	m, err := e.peer.client(c)
	check(err)
	return m
}

// acceptSession starts a session from the other end, which calls connect.
func (e *end) acceptSession() mux {
	if e.peer.listen != nil {
		addr, accept, err := e.peer.listen()
		check(err)
		e.tell(addr)
		m, err := accept()
		check(err)
		return m
	}
	l := e.listen()
	if e.peer.raw() {
		return &rawListener{l}
	}
	c, err := l.Accept()
	check(err)
	check(l.Close())
	m, err := e.peer.server(c)
	check(err)
	return m
}

// rawDialer and rawListener are the session of raw TCP: each stream is a
// connection.
type rawDialer struct {
	end  *end
	addr string
}

func (d *rawDialer) Open() (net.Conn, error)   { return d.end.dialTo(d.addr) }
func (d *rawDialer) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (d *rawDialer) Close() error              { return nil }

type rawListener struct{ net.Listener }

func (rawListener) Open() (net.Conn, error) { return nil, errors.ErrUnsupported }

// cpuTime is what this process has used so far, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mallocs is how many heap objects this process has allocated so far. It stops the
// world for some microseconds, and unlike runtime/metrics it counts what the
// processors' allocation caches have handed out to the last object.
func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

// memory is what this process holds in heap and stacks once it has come to rest:
// what goroutines let go of has been collected, and pools have been emptied.
func memory() float64 {
	for range 4 {
		runtime.GC()
		time.Sleep(25 * time.Millisecond)
	}
	return heldMemory()
}

// heldMemory is what this process holds in heap and stacks, with what was not collected yet.
func heldMemory() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}
