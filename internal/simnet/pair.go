package simnet

import (
	"math"
	"sync"
	"time"
)

// never is the time of what is not going to happen by itself.
const never time.Duration = math.MaxInt64

// pair is what the two connections share. Everything, that of the directions and
// of the connections too, is guarded by its one lock, which is never held while
// waiting for anything.
type pair struct {
	mu    sync.Mutex
	start time.Time
	dirs  [2]*Direction // from a to b, from b to a

	timer *time.Timer   // calls wakeUp
	armed time.Duration // when it does; never if it is not set
}

// Pair returns the two ends of a connection with the same link both ways.
func Pair(both Link) (a, b *Conn) { return AsymmetricPair(both, both) }

// AsymmetricPair returns the two ends of a connection: what is written to a
// travels to b over aToB, and what is written to b travels over bToA.
func AsymmetricPair(aToB, bToA Link) (a, b *Conn) {
	p := &pair{start: time.Now(), armed: never}
	ab := newDirection(p, "a>b", aToB)
	ba := newDirection(p, "b>a", bToA)
	ab.back, ba.back = ba, ab
	p.dirs = [2]*Direction{ab, ba}
	a = &Conn{pair: p, out: ab, in: ba, local: "a", remote: "b"}
	b = &Conn{pair: p, out: ba, in: ab, local: "b", remote: "a"}
	return a, b
}

// now brings the pair up to date and returns the time, counted from its making.
func (p *pair) now() time.Duration {
	now := time.Since(p.start)
	p.advance(now)
	return now
}

// advance lets everything happen, both ways and in its order, that happens up to now.
func (p *pair) advance(now time.Duration) {
	for {
		d, at := p.dirs[0], p.dirs[0].next()
		if other := p.dirs[1].next(); other < at {
			d, at = p.dirs[1], other
		}
		if at > now {
			return
		}
		d.step(at)
	}
}

// unlock ends a call: whatever it changed, those who wait are woken in time.
func (p *pair) unlock() {
	p.arm()
	p.mu.Unlock()
}

// wait blocks on c until something changed that may concern its waiters.
func (p *pair) wait(c *sync.Cond, waiters *int) {
	*waiters++
	p.arm()
	c.Wait()
	*waiters--
}

// arm sets the timer to the next moment at which somebody who waits must look.
func (p *pair) arm() {
	at := min(p.dirs[0].attention(), p.dirs[1].attention())
	if at == p.armed {
		return
	}
	p.armed = at
	switch {
	case at == never:
		p.timer.Stop()
	case p.timer == nil:
		p.timer = time.AfterFunc(at-time.Since(p.start), p.wakeUp)
	default:
		p.timer.Reset(at - time.Since(p.start))
	}
}

// wakeUp is the timer's function. It may come for a time that does not matter any
// more: it only looks.
func (p *pair) wakeUp() {
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if p.armed <= now { // otherwise it was set anew while this call was on its way
		p.armed = never
	}
	for _, d := range p.dirs {
		if d.readers > 0 && d.readDeadline <= now {
			d.readable.Broadcast()
		}
		if d.writers > 0 && d.writeDeadline <= now {
			d.writable.Broadcast()
		}
	}
}
