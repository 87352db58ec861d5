package main

import (
	"errors"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// In this file, what IdleTimeout does in a round.

// drawIdle draws IdleTimeout for the rounds in which it ends the sessions, and for some that end in another way, unless
// that must happen as planned.
func (p *plan) drawIdle(d draw) {
	ends := p.Disturbance == idles
	may := p.Disturbance == cut || p.Disturbance == vanish
	for i := range p.Ends {
		p.Ends[i].SessionIdle = 0 // Ends may be copies of each other
		if ends && (i == p.By || d.chance(0.5)) || may && d.chance(0.2) {
			p.Ends[i].SessionIdle = time.Duration(1+d.upTo(300)) * time.Millisecond
		}
	}
}

// noteOpen notes that this end has a stream open now, which it has opened: its IdleTimeout has not passed. (One that it has
// accepted may have come when it had.) A stream that may have been aborted or refused does not count.
func (x *pair) noteOpen(side int) {
	e, peer := x.r.p.Ends[side], x.r.p.Ends[1-side]
	if e.SessionIdle > 0 && e.Idle == 0 && e.Stall == 0 && !peer.refuses() {
		x.lastOpen[side].Store(int64(time.Since(x.r.begun)))
	}
}

// checkIdleEnd checks why an end has ended, if IdleTimeout may have done so, and that it was not too soon.
func (x *pair) checkIdleEnd(side int) {
	s, idle := x.sessions[side], x.r.p.Ends[side].SessionIdle
	ended := time.Since(x.r.begun)
	mine := errors.Is(s.Err(), session.ErrIdleTimeout)
	switch {
	case mine && idle == 0:
		x.r.fail("session %d: end %d has no IdleTimeout, and ended with %v", x.index, side, s.Err())
	case mine && ended-time.Duration(x.lastOpen[side].Load()) < idle:
		x.r.fail("session %d: end %d had a stream %v ago, and ended with %v", x.index, side, ended-time.Duration(x.lastOpen[side].Load()), s.Err())
	case x.r.p.Disturbance != idles || mine:
	case side == x.r.p.By && x.r.p.Ends[1-side].SessionIdle == 0:
		x.r.fail("session %d: only end %d has an IdleTimeout, and it ended with %v", x.index, side, s.Err())
	}
}
