package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrPingUnanswered is returned by [Session.Ping] if its context ends before the peer's answer has come.
// The error matches the context's error, too.
var ErrPingUnanswered = errors.New("session: no answer to a ping")

// A pinger measures the round trip, for Ping and for the keep-alive. Only one ping at a time is on its way. So an echo belongs to that ping, and neither
// pings nor their echoes pile up. Calls of Ping that begin meanwhile share the next ping.
type pinger struct {
	// sentAt is when the writer took the ping, in nanoseconds of the session's clock and one more; 0 if none is
	// on its way.
	sentAt atomic.Int64

	mu       sync.Mutex    // guards what follows; no other lock is taken under it
	current  *pingRound    // is due or on its way
	next     *pingRound    // begins when current ends
	lastEcho time.Duration // when the peer last answered a ping; 0: never
	rtt      time.Duration
}

// A pingRound is one ping and the calls that wait for its echo.
type pingRound struct {
	echoed chan struct{} // nil if nobody waits: the keep-alive has sent the ping
	rtt    time.Duration // valid once echoed is closed
}

// Ping measures the round-trip time. It sends the peer's session a question, and returns the time from handing the
// question to the transport until the answer was read. The answer says that the peer's session has read everything
// that was handed to the transport before Ping was called. It says nothing about the peer's application.
//
// Only sessions of this package answer; other implementations drop the question without harm. Ping
// waits for the answer until ctx ends, and its error then matches [ErrPingUnanswered] and ctx's error. Ping also ends
// with the session, with the reason for the session's end. On a server that learns the version from its peer,
// Ping waits for the first frame.
//
// The time includes what the question and its answer waited for on the way: data in front of them in the
// transport, and a session that does not read because Config.MaxReceiveBuffer is used up. It is at least a nanosecond,
// also where the system's clock is coarser than the round trip, as it is on Windows. One question at a time is on
// its way, also of the keep-alive: calls that begin meanwhile share the next question, which follows the answer. A nil
// ctx panics and changes nothing.
func (s *Session) Ping(ctx context.Context) (time.Duration, error) {
	needContext(ctx)
	p := s.pinger()
	var reason error
	ctxErr := s.await(ctx, &s.opening, func() bool {
		reason = s.endingErr()
		return reason != nil || s.ver.Load() != 0
	})
	if ctxErr != nil {
		return 0, s.opError("ping", unanswered(ctxErr, p.hasAnswered()))
	}
	if reason != nil {
		return 0, s.opError("ping", reason)
	}
	round := s.ask()
	select {
	case <-round.echoed:
		return round.rtt, nil
	case <-ctx.Done():
		return 0, s.opError("ping", unanswered(ctx.Err(), p.hasAnswered()))
	case <-s.done:
		return 0, s.opError("ping", s.Err())
	}
}

// ask returns a round whose ping follows everything that is in batches, and sends the ping if none is on its way.
func (s *Session) ask() *pingRound {
	round, begins := s.pinger().join()
	if begins {
		s.out.sendOwn(ownPing)
	}
	return round
}

// pinger returns the session's pinger. A session that has never pinged has none.
func (s *Session) pinger() *pinger {
	if p := s.ping.Load(); p != nil {
		return p
	}
	s.ping.CompareAndSwap(nil, new(pinger))
	return s.ping.Load()
}

// unanswered returns the error of a Ping whose context has ended with err. before says that the peer has answered a ping
// before.
func unanswered(err error, before bool) error {
	if before {
		return fmt.Errorf("%w: %w", ErrPingUnanswered, err)
	}
	return fmt.Errorf("%w, nor to any before it (only sessions of this package answer): %w", ErrPingUnanswered, err)
}

// join returns the round that a call of Ping waits for, and whether the caller has to send its ping.
func (p *pinger) join() (round *pingRound, begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		p.current = newPingRound()
		return p.current, true
	}
	if p.next == nil {
		p.next = newPingRound()
	}
	return p.next, false
}

func newPingRound() *pingRound { return &pingRound{echoed: make(chan struct{})} }

// echo ends the round whose ping is on its way, and reports whether the caller has to send the ping of the next one.
func (p *pinger) echo(now time.Duration) (begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := p.sentAt.Swap(0)
	if p.current == nil || sent == 0 {
		return false // nobody asked
	}
	p.lastEcho = max(1, now)
	// At least 1: 0 means unknown. An echo that nobody asked for may have been read before, and some clocks are coarse.
	p.rtt = max(1, now-time.Duration(sent-1))
	p.current.rtt = p.rtt
	if p.current.echoed != nil {
		close(p.current.echoed)
	}
	p.current, p.next = p.next, nil
	return p.current != nil
}

func (p *pinger) hasAnswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastEcho > 0
}

// begin begins a round for the keep-alive. It returns false if a ping is due or on its way.
func (p *pinger) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		return false
	}
	p.current = new(pingRound)
	return true
}

// activity returns what a keep-alive policy wants to know, see [keepalive.Activity]. p may be nil.
func (p *pinger) activity() (sent, lastEcho, rtt time.Duration) {
	if p == nil {
		return 0, 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.sentAt.Load()), p.lastEcho, p.rtt
}

// lastRTT returns the last round trip, or 0. p may be nil.
func (p *pinger) lastRTT() time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rtt
}

// noteSent notes that the ping is handed to the transport.
func (p *pinger) noteSent(now time.Duration) { p.sentAt.Store(int64(now) + 1) }

// handlePingEcho deals with the peer's answer to a ping.
func (s *Session) handlePingEcho() {
	if p := s.ping.Load(); p != nil && p.echo(s.now()) {
		s.out.sendOwn(ownPing)
	}
}
