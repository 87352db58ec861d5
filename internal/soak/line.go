package main

import (
	"math/rand/v2"

	"github.com/smuxkit/smuxkit/shaper"
)

// A line is an unfair scheduler: first come, first served, or at random. It does what shaper.Scheduler requires
// and no more.
type line struct {
	random  bool
	waiting []place
	state   map[place]*turn
}

type place struct {
	f *shaper.Flow
	c shaper.Class
}

// A turn is the state of a place: it waits, or its turn is in progress and it may have been pushed again.
type turn struct{ waits, taken, again bool }

func newLine(random bool) *line { return &line{random: random, state: make(map[place]*turn)} }

func (l *line) Push(f *shaper.Flow, c shaper.Class) {
	p := place{f, c}
	t := l.state[p]
	if t == nil {
		t = &turn{}
		l.state[p] = t
	}
	switch {
	case t.taken:
		t.again = true
	case !t.waits:
		t.waits = true
		l.waiting = append(l.waiting, p)
	}
}

func (l *line) Pop() (*shaper.Flow, shaper.Class, int) {
	if len(l.waiting) == 0 {
		return nil, 0, 0
	}
	if l.random {
		i := rand.IntN(len(l.waiting))
		l.waiting[0], l.waiting[i] = l.waiting[i], l.waiting[0]
	}
	p := l.waiting[0]
	l.waiting[0] = place{}
	l.waiting = l.waiting[1:]
	*l.state[p] = turn{taken: true}
	n := shaper.DefaultQuantum
	if l.random {
		n = 1 + rand.IntN(128<<10)
	}
	return p.f, p.c, n
}

func (l *line) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	p := place{f, c}
	t := l.state[p]
	if t == nil || !t.taken {
		return
	}
	more = more || t.again
	delete(l.state, p)
	if more {
		l.Push(f, c)
	}
}

func (l *line) Empty() bool { return len(l.waiting) == 0 }
