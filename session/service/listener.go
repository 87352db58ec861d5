package service

import (
	"net"
	"sync"
)

// Listen returns a net.Listener that accepts the streams of the service with that name, as values of type *[Stream]. Use
// it for http.Server and others that take a net.Listener. Streams wait until they are accepted. What limits those of one
// session is session.Config.MaxStreams. If 65,536 streams of all sessions wait, those of ended sessions included, further
// ones are refused with [CodeUnavailable]. Streams are closed by those that accept them.
//
// Close of the Listener removes the service. Its Accept then fails with net.ErrClosed. Streams that wait are refused with
// [CodeUnavailable], later ones with [CodeUnknown]. So call Shutdown of the session, or Close of its Listener, before
// Shutdown of an http.Server, so that the peer opens no more streams.
//
// Listen panics if name is empty or longer than [MaxName], or in use.
func (m *Mux) Listen(name string) net.Listener {
	l := &listener{m: m, name: name, maxQueue: maxQueue}
	l.ready.L = &l.mu
	m.add(name, l)
	return l
}

// A listener is what Listen returns.
type listener struct {
	m        *Mux
	name     string
	maxQueue int // how many streams wait to be accepted

	mu     sync.Mutex // guards the fields below
	closed bool
	queue  []*Stream // streams that wait to be accepted
	ready  sync.Cond // queue or closed has changed
}

var _ target = (*listener)(nil)

// maxQueue is the maxQueue of new listeners.
var maxQueue = 64 << 10 // a variable for tests

// take adds s to the queue, or refuses it.
func (l *listener) take(s *Stream) {
	if !l.push(s) {
		refuse(s, CodeUnavailable, "")
	}
}

// push adds s to the queue, unless that is full, or the listener is closed.
func (l *listener) push(s *Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= l.maxQueue {
		return false
	}
	l.queue = append(l.queue, s)
	l.ready.Signal()
	return true
}

// Accept waits for a stream.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.ready.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "smux", Addr: l.Addr(), Err: net.ErrClosed}
	}
	s := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return s, nil
}

// Close removes the service, and refuses the streams that wait.
func (l *listener) Close() error {
	l.m.removeListener(l)
	l.mu.Lock()
	waiting := l.queue
	l.closed, l.queue = true, nil
	l.ready.Broadcast()
	l.mu.Unlock()
	for _, s := range waiting {
		go refuse(s, CodeUnavailable, "") // it may wait for the transport
	}
	return nil
}

// Addr returns the name of the service.
func (l *listener) Addr() net.Addr { return addr(l.name) }

// An addr is the name of a service.
type addr string

func (addr) Network() string  { return "smux" }
func (a addr) String() string { return string(a) }
