package session

import (
	"io"

	"github.com/smuxkit/smuxkit/wire"
)

// SetNextID sets the id of the next stream that s opens.
func SetNextID(s *Session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = uint64(id)
}

// Portable reports whether s uses only the methods of its conn.
func Portable(s *Session) bool {
	_, ok := s.transport.(*portable)
	return ok
}

// AskPolicy calls the keep-alive policy, as the timer does.
func AskPolicy(s *Session) { s.keepalive.ask() }

// Flush sends what is queued, as a Read does before it waits.
func Flush(s *Session) { s.out.flush() }

// AwaitSent waits until nothing is queued and no goroutine sends.
func AwaitSent(s *Session) {
	for {
		freed, idle := s.out.idle()
		if idle {
			return
		}
		<-freed
	}
}

// AwaitTrace waits until the functions of the Trace were called for all events so far.
func AwaitTrace(s *Session) {
	over := make(chan struct{})
	s.tracer.push(traced{call: func() { close(over) }, late: true})
	s.tracer.kick()
	<-over
}

// ClientWithTap is Client with a function that is called with what each write to the transport gets.
func ClientWithTap(conn io.ReadWriteCloser, cfg *Config, tap func([]byte)) (*Session, error) {
	config := cfg.withDefaults()
	s := newSession(conn, &config, true)
	s.in = &reader{s: s}
	s.in.throttle.set(config.ReceiveRate, s.done)
	s.transport = tapped{newTransport(conn, s.in, config.Portable), tap}
	s.latency.use(s.transport)
	s.out.init(s, &config, config.NewScheduler())
	s.begin()
	return s, cfg.Validate()
}

type tapped struct {
	transport
	tap func([]byte)
}

func (t tapped) write(b *wire.Batch) (int, error) {
	t.tap(b.AppendRest(nil, 0))
	return t.transport.write(b)
}

// RoomForAnswers returns the channel on which the reader waits for room in the queue of refusals.
func (s *Session) RoomForAnswers() <-chan struct{} { return s.out.roomForAnswers() }

// FitFrames is fitFrames.
var FitFrames = fitFrames

// Release gives back what only a session with streams needs, as a session does that was used and is quiet.
func Release(s *Session) {
	s.releaseStreams()
	s.out.releaseLazy()
	s.transport.renew()
}
