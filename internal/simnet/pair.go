package simnet

import (
	"math"
	"sync"
	"time"
)

// never is the time of an event that will not happen by itself.
const never time.Duration = math.MaxInt64

// pair is the state that the two connections share. Its lock guards all fields, including those of the directions
// and the connections. No call waits while it holds the lock.
type pair struct {
	mu    sync.Mutex
	start time.Time
	dirs  [2]*Direction // from a to b, from b to a

	timer *time.Timer   // calls wakeUp
	armed time.Duration // when it does; never if it is not set
}

// Pair returns the two ends of a connection with the same link in both directions.
func Pair(both Link) (a, b *Conn) { return AsymmetricPair(both, both) }

// AsymmetricPair returns the two ends of a connection. Bytes written to a travel over aToB, bytes written to b
// over bToA.
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

// now brings the pair up to date and returns the time since the pair was made.
func (p *pair) now() time.Duration {
	now := time.Since(p.start)
	p.advance(now)
	return now
}

// advance makes all events up to now happen, in order, in both directions.
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

// unlock ends a call. It makes sure that waiting calls are woken in time for what the call has changed.
func (p *pair) unlock() {
	p.arm()
	p.mu.Unlock()
}

// wait blocks on c until something has changed that may concern its waiters. waiters counts those that have not been
// woken: one that was woken checks by itself, and a timer for it could fire again and again before it runs.
func (p *pair) wait(c *sync.Cond, waiters *int) {
	*waiters++
	p.arm()
	c.Wait()
}

// arm sets the timer to the next time at which a waiting call must check again.
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

// wakeUp is the timer's function. It may run for a time that no longer matters, so it only checks.
func (p *pair) wakeUp() {
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if p.armed <= now { // otherwise the timer was set again while this call was starting
		p.armed = never
	}
	for _, d := range p.dirs {
		if d.readers > 0 && d.readDeadline <= now {
			d.wakeReaders()
		}
		if d.writers > 0 && d.writeDeadline <= now {
			d.wakeWriters()
		}
	}
}
