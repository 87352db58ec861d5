package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// DefaultHeaderTimeout is the default of [Mux].HeaderTimeout. An opener sends the header within a millisecond, so that it
// arrives after half a round trip, unless the connection is busy.
const DefaultHeaderTimeout = 10 * time.Second

// refusalTimeout limits how long a refusal waits for the transport.
const refusalTimeout = 10 * time.Second

// An Acceptor accepts streams: a *session.Session or a *session.Listener.
type Acceptor interface {
	// AcceptStream waits for the next stream that a peer opens, and returns it. It fails when ctx ends, and when there
	// will be no more streams. Mux.Serve ends with its error.
	AcceptStream(ctx context.Context) (*stream.Stream, error)
}

// A Mux serves streams: it hands each to the handler or the net.Listener of its service. The zero value is ready to use.
// All methods may be called concurrently. Services may be added and removed at any time.
type Mux struct {
	// HeaderTimeout is how long a stream may take to send its header, from its acceptance on. Then it is refused with
	// CodeTimeout. The default is 10 s; a negative value is no limit. It must not change after the first Serve.
	HeaderTimeout time.Duration

	// Fallback, if not nil, is the handler of all names that have none. By default their streams are refused with
	// CodeUnknown. It must not change after the first Serve.
	Fallback func(*Stream)

	stats counters

	mu       sync.Mutex // guards services
	services map[string]target
}

// A target takes the streams of one service. It returns when it needs the calling goroutine no more.
type target interface{ take(*Stream) }

// A handler is a target of Handle.
type handler func(*Stream)

func (h handler) take(s *Stream) {
	defer s.Close()
	h(s)
}

// Handle makes h the handler of the service with that name. Each stream is handled in a goroutine of its own, and closed
// when h returns, or ends its goroutine (runtime.Goexit). If h panics, the program ends as after any panic.
//
// Handle panics if name is empty or longer than [MaxName], if h is nil, or if the name is in use.
func (m *Mux) Handle(name string, h func(*Stream)) {
	if h == nil {
		panic("service: nil handler")
	}
	m.add(name, handler(h))
}

// add adds a service.
func (m *Mux) add(name string, t target) {
	if err := checkHeader(name, nil); err != nil {
		panic(err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.services[name]; ok {
		panic(fmt.Sprintf("service: the name %q is in use", name))
	}
	if m.services == nil {
		m.services = make(map[string]target)
	}
	m.services[name] = t
}

// Remove removes the service with that name, if there is one, so that streams for it are refused. Streams that a handler
// has already go on. Remove closes the service's net.Listener.
func (m *Mux) Remove(name string) {
	m.mu.Lock()
	t := m.services[name]
	delete(m.services, name)
	m.mu.Unlock()
	if l, ok := t.(*listener); ok {
		_ = l.Close()
	}
}

// removeListener removes the service of l.
func (m *Mux) removeListener(l *listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.services[l.name] == target(l) {
		delete(m.services, l.name)
	}
}

// target returns who takes the streams of a service, or nil.
func (m *Mux) target(name string) target {
	m.mu.Lock()
	t := m.services[name]
	m.mu.Unlock()
	if t == nil && m.Fallback != nil {
		return handler(m.Fallback)
	}
	return t
}

// Serve accepts streams from a, and serves them, until AcceptStream fails. It returns the error, which is io.EOF if the
// peer has closed the session. Streams that were accepted go on. Serve may be called for many sessions, also at the same
// time.
//
// To stop without loss, call Shutdown of the session: the peer opens no more streams, and Serve returns when the open ones
// have ended.
func (m *Mux) Serve(ctx context.Context, a Acceptor) error {
	for {
		st, err := a.AcceptStream(ctx)
		if err != nil {
			return err
		}
		go m.ServeStream(st)
	}
}

// ServeStream serves one stream, from which nothing was read yet. It returns when the handler has returned, or the
// net.Listener of the service has the stream. Use it where something other than Serve accepts the streams.
func (m *Mux) ServeStream(st *stream.Stream) {
	m.stats.waiting.Add(1)
	s, err := m.readHeader(st)
	m.stats.waiting.Add(-1)
	if err != nil {
		m.handleBadHeader(s, err)
		return
	}
	t := m.target(s.name)
	if t == nil {
		m.stats.unknown.Add(1)
		refuse(s, CodeUnknown, "")
		return
	}
	m.stats.served.Add(1)
	t.take(s)
}

// readHeader reads the header of st. It always returns a Stream.
func (m *Mux) readHeader(st *stream.Stream) (*Stream, error) {
	s := &Stream{Stream: st}
	s.set(answerDue)
	timeout := m.HeaderTimeout
	if timeout == 0 {
		timeout = DefaultHeaderTimeout
	}
	if timeout < 0 {
		return s, s.parseHeader(st)
	}
	timer := time.AfterFunc(timeout, func() { _ = st.SetReadDeadline(time.Unix(1, 0)) })
	err := s.parseHeader(st)
	if !timer.Stop() && err == nil {
		err = os.ErrDeadlineExceeded // the stream has the timer's deadline, or gets it later
	}
	return s, err
}

// parseHeader reads the header from r, which is the stream below s.
func (s *Stream) parseHeader(r io.Reader) error {
	var prefix [prefixSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return err
	}
	n, err := parsePrefix(prefix)
	if err != nil {
		return err
	}
	body, err := readBody(r, n)
	if err != nil {
		return err
	}
	s.name, s.metadata, err = parseBody(body)
	return err
}

// readBody reads n bytes. It allocates memory for those that have arrived, and no more than as much again.
func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n, 512))
	for len(body) < n {
		if len(body) == cap(body) {
			body = append(make([]byte, 0, min(n, 2*cap(body))), body...)
		}
		k, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+k]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// handleBadHeader closes a stream whose header is not there or malformed. The opener is told why.
func (m *Mux) handleBadHeader(s *Stream, err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		m.stats.timedOut.Add(1)
		refuse(s, CodeTimeout, "")
	case errors.Is(err, errHeader):
		m.stats.malformed.Add(1)
		refuse(s, CodeMalformed, err.Error())
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		m.stats.malformed.Add(1)
		refuse(s, CodeMalformed, "the stream ends within the header")
	default: // the stream or the session has ended
		m.stats.broken.Add(1)
		_ = s.Close()
	}
}

// refuse refuses s for the Mux. It waits for the transport no longer than refusalTimeout.
func refuse(s *Stream, code Code, text string) {
	_ = s.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_ = s.Refuse(code, text)
}

// Stats are the counters of a Mux.
type Stats struct {
	Waiting   int    // streams whose header has not arrived yet
	Served    uint64 // streams that a handler or a net.Listener got
	Unknown   uint64 // streams refused because their service is unknown
	Malformed uint64 // streams closed because their header was malformed, or they ended within it
	TimedOut  uint64 // streams closed because their header did not arrive in time
	Broken    uint64 // streams whose session ended before their header had arrived
}

type counters struct {
	waiting                                      atomic.Int64
	served, unknown, malformed, timedOut, broken atomic.Uint64
}

// Stats returns the counters. It reads them one after the other, and not at one instant.
func (m *Mux) Stats() Stats {
	c := &m.stats
	return Stats{
		Waiting:   int(c.waiting.Load()),
		Served:    c.served.Load(),
		Unknown:   c.unknown.Load(),
		Malformed: c.malformed.Load(),
		TimedOut:  c.timedOut.Load(),
		Broken:    c.broken.Load(),
	}
}
