package session

import (
	"errors"

	"github.com/smuxkit/smuxkit/shaper"
)

// errScheduler is the reason for a session's end if its scheduler panics.
var errScheduler = errors.New("session: the scheduler panicked")

// errGone is what has happened if a callback of the application did not return: the callback has called runtime.Goexit,
// as FailNow of a test does. (After a panic, the program ends.)
var errGone = errors.New("session: a callback has ended its goroutine (runtime.Goexit) and did not return")

// guard wraps sched so that a panic in it ends the session, because the state of the scheduler is unknown after that.
// The callers of the scheduler hold w.mu and release it by defer. This module's scheduler needs no guard.
func guard(w *writer, sched shaper.Scheduler) shaper.Batcher {
	if fair, ok := sched.(*shaper.Fair); ok {
		return fair
	}
	batcher, _ := sched.(shaper.Batcher)
	return &guarded{w, sched, batcher}
}

// A guarded is a scheduler that guard has wrapped.
type guarded struct {
	w       *writer
	sched   shaper.Scheduler
	batcher shaper.Batcher // sched, if it is one; or nil: batches end when they are full
}

// check ends the session unless the scheduler has returned. Each method defers it.
func (g *guarded) check(returned *bool) {
	if !*returned {
		go g.w.s.end(errScheduler) // in a goroutine, because it takes w.mu
	}
}

func (g *guarded) Push(f *shaper.Flow, c shaper.Class) {
	returned := false
	defer g.check(&returned)
	g.sched.Push(f, c)
	returned = true
}

func (g *guarded) Pop() (f *shaper.Flow, c shaper.Class, n int) {
	returned := false
	defer g.check(&returned)
	f, c, n = g.sched.Pop()
	returned = true
	return f, c, n
}

func (g *guarded) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	returned := false
	defer g.check(&returned)
	g.sched.EndTurn(f, c, n, more)
	returned = true
}

func (g *guarded) Empty() (empty bool) {
	returned := false
	defer g.check(&returned)
	empty = g.sched.Empty()
	returned = true
	return empty
}

func (g *guarded) FlushDue() (due bool) {
	if g.batcher == nil {
		return false
	}
	returned := false
	defer g.check(&returned)
	due = g.batcher.FlushDue()
	returned = true
	return due
}
