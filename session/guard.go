package session

import (
	"errors"

	"github.com/smuxkit/smuxkit/shaper"
)

// errScheduler is the reason for a session's end if its scheduler panics.
var errScheduler = errors.New("session: the scheduler panicked")

// guard wraps sched so that a panic in it ends the session, because the state of the scheduler is unknown after that.
// The callers of the scheduler hold w.mu and release it by defer. This module's scheduler needs no guard.
func guard(w *writer, sched shaper.Scheduler) shaper.Scheduler {
	switch s := sched.(type) {
	case *shaper.Fair:
		return sched
	case shaper.Batcher:
		return guardedBatcher{guarded{w, s}, s}
	}
	return guarded{w, sched}
}

// A guarded is a scheduler that guard has wrapped.
type guarded struct {
	w     *writer
	sched shaper.Scheduler
}

// check ends the session unless the scheduler has returned. Each method defers it.
func (g guarded) check(returned *bool) {
	if !*returned {
		go g.w.s.end(errScheduler) // in a goroutine, because it takes w.mu
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

func (g guarded) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	returned := false
	defer g.check(&returned)
	g.sched.EndTurn(f, c, n, more)
	returned = true
}

func (g guarded) Empty() (empty bool) {
	returned := false
	defer g.check(&returned)
	empty = g.sched.Empty()
	returned = true
	return empty
}

// A guardedBatcher is a guarded whose scheduler is a shaper.Batcher.
type guardedBatcher struct {
	guarded
	batcher shaper.Batcher
}

func (g guardedBatcher) FlushDue() (end bool) {
	returned := false
	defer g.check(&returned)
	end = g.batcher.FlushDue()
	returned = true
	return end
}
