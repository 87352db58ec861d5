package fuzz

import (
	"context"
	"errors"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/session"
)

// What happens to the sessions of a pair, apart from their streams.

func (p *pair) disturb(st step, s *side) {
	out := s.conn.Out()
	switch st.name {
	case "stall":
		if s.stalled.IsZero() {
			s.stalled = time.Now()
		}
		p.busy = p.busy || p.closed[0] || p.closed[1]
		p.late = true
		out.Stall()
	case "unstall":
		p.unstall(s)
	case "hold":
		p.mu.Lock()
		s.hold = true
		p.mu.Unlock()
	case "accept":
		p.free(s)
	case "refuse":
		p.refuses = true
		p.drainsNow(s)
		_ = s.Listener().Close()
	case "cut":
		cut := simnet.Cut{After: out.Counters().Delivered + int64(st.arg(1)), OneWay: st.arg(3) == 1}
		if st.arg(2) == 1 {
			cut.Err = syscall.ECONNRESET
		}
		p.cut = true
		out.Cut(cut)
	case "shut":
		p.closed[s.number] = true
		p.busy = p.busy || !p.calm()
		s.calls.Go(func() { p.note(s, s.Close()) })
	case "shutdown":
		p.shutdown = true
		p.drainsNow(s)
		s.calls.Go(func() { p.note(s, s.Shutdown(context.Background())) })
	case "closenow":
		p.closeNow(s)
	case "ping":
		s.calls.Go(func() { p.ping(s, st.duration(1)) })
	}
}

// closeNow ends a session. It takes no time, and afterwards no call of a stream waits.
func (p *pair) closeNow(s *side) {
	p.closed[s.number], p.cut = true, true
	begin := time.Now()
	if err := s.CloseNow(); err != nil {
		p.failf("CloseNow: %v", err)
	}
	synctest.Wait()
	select {
	case <-s.Done():
	default:
		p.failf("CloseNow has returned, and the session goes on")
	}
	for _, flow := range p.snapshot() {
		for _, e := range flow.ends {
			if e != nil && e.side == s && e.waits() {
				p.failf("CloseNow has returned, and a call waits: %v", e)
			}
		}
	}
	if d := time.Since(begin); d > 0 {
		p.failf("CloseNow took %v", d)
	}
}

// ping measures the round trip for at most this time.
func (p *pair) ping(s *side, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begin := time.Now()
	rtt, err := s.Ping(ctx)
	took := time.Since(begin)
	switch {
	case took > limit:
		p.t.Errorf("Ping with a context of %v took %v", limit, took)
	case err == nil && (rtt < 2*p.delay || rtt > max(1, took)): // a round trip is never 0
		p.t.Errorf("Ping = %v after %v, with a delay of %v", rtt, took, p.delay)
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		if !errors.Is(err, session.ErrPingUnanswered) || took != limit {
			p.t.Errorf("Ping with a context of %v: %v after %v", limit, err, took)
		}
	default: // the session is ending
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pingErrs = append(p.pingErrs, err)
	}
}

// drained says which sides know of a drain.
type drained uint8

const (
	drainsNot   drained = iota
	drainsMaybe         // its signal may come too late
	drainsSure          // its peer hears of it, unless it takes too long to get there
)

// drainsNow records that s is about to tell its peer that it takes no more streams.
func (p *pair) drainsNow(s *side) {
	peer := p.sides[1-s.number]
	if s.drains == drainsNot {
		s.drains = drainsMaybe
	}
	if s.Err() == nil && peer.Err() == nil && peer.drains == drainsNot {
		s.drains = drainsSure
	}
}

// judgeDrains checks that each side knows whether its peer drains, and that no Ping failed without reason.
func (p *pair) judgeDrains() {
	for i, s := range p.sides {
		peer := p.sides[1-i]
		heard := false
		select {
		case <-s.Draining():
			heard = true
		default:
		}
		if heard && peer.drains == drainsNot {
			p.t.Errorf("side %d: Draining is closed, and the peer drains not", i)
		}
		if !heard && peer.drains == drainsSure && !p.broken() && !p.late && !p.narrow {
			p.t.Errorf("side %d: the peer drains, and Draining is open", i)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pingErrs) > 0 && !p.mayEnd() {
		p.t.Errorf("Ping: %v", p.pingErrs)
	}
}

// note records the error of closing a session, if it was not closed before.
func (p *pair) note(s *side, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.closeErr[s.number] = err
	}
}
