package session

import (
	"errors"

	"github.com/smuxkit/smuxkit/shaper"
)

// errScheduler is why a session ends whose scheduler panics.
var errScheduler = errors.New("session: the scheduler panicked")

// guard returns sched so that a panic in it ends the session: what a scheduler knows after that is anybody's
// guess. Its callers, which hold w.mu, release it by defer. Schedulers of this module need no guard.
func guard(w *writer, sched shaper.Scheduler) shaper.Scheduler {
	switch s := sched.(type) {
	case *shaper.Fair:
		return sched
	case shaper.Batcher:
		return guardedBatcher{guarded{w, s}, s}
	}
	return guarded{w, sched}
}

type guarded struct {
	w     *writer
	sched shaper.Scheduler
}

// check is deferred by each call of the scheduler's.
func (g guarded) check(returned *bool) {
	if !*returned {
		go g.w.s.end(errScheduler) // which takes w.mu
	}
}

func (g guarded) Push(f *shaper.Flow, c shaper.Class) {
	returned := false
	defer g.check(&returned)
	g.sched.Push(f, c)
	returned = true
}

func (g guarded) Pop() (f *shaper.Flow, c shaper.Class, n int) {
	returned := false
	defer g.check(&returned)
	f, c, n = g.sched.Pop()
	returned = true
	return f, c, n
}

func (g guarded) Sent(f *shaper.Flow, c shaper.Class, n int, more bool) {
	returned := false
	defer g.check(&returned)
	g.sched.Sent(f, c, n, more)
	returned = true
}

func (g guarded) Remove(f *shaper.Flow) {
	returned := false
	defer g.check(&returned)
	g.sched.Remove(f)
	returned = true
}

func (g guarded) Empty() (empty bool) {
	returned := false
	defer g.check(&returned)
	empty = g.sched.Empty()
	returned = true
	return empty
}

type guardedBatcher struct {
	guarded
	batcher shaper.Batcher
}

func (g guardedBatcher) EndBatch() (end bool) {
	returned := false
	defer g.check(&returned)
	end = g.batcher.EndBatch()
	returned = true
	return end
}
