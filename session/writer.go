package session

import (
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
)

// A writer is the way out of a session. Streams stand in line at its scheduler. The holder of the writer
// role collects frames from them in turn (collect.go) and writes them to the transport, a batch at a
// time (writebatch.go). There is always exactly one answer to who holds the role:
//
//	free --(send, SendNow, an inline transport)--> held by the caller
//	free --(send, otherwise)--> called --(its goroutine starts)--> held by it
//	called --(send, SendNow, an inline transport)--> held by the caller
//	held --(nothing is in line)--> free
//	held by a caller --(the transport is full, or it has done enough)--> held by a goroutine
//
// A caller that holds the role never waits: it writes to an inline transport, without blocking, and
// leaves the rest to a goroutine that may. Any other transport may block in
// any Write, so only a goroutine ever holds the role.
//
// The batch being written belongs to the holder. If a write stops in its middle, the rest of it is
// kept, and goes out before anything else: a frame is never cut.
type writer struct {
	s      *Session
	inline bool // the transport never waits in a write
	watch  writeWatch
	// throttle, if not nil, limits the rate. Then only a goroutine ever holds the role.
	throttle *throttle

	// What the goroutines run, bound once so that starting them allocates nothing.
	runCalledFunc, runHandedFunc func()
	handed                       *outgoing // the holder's: what runHandedFunc goes on with

	// mu guards what follows. It is released by defer where the scheduler is called, which may panic.
	mu       sync.Mutex
	sched    shaper.Scheduler
	batcher  shaper.Batcher // sched, if it is one
	role     role
	err      error         // why nothing can be sent any more
	lost     bool          // frames that streams had handed over did not go out
	lazy     *time.Timer   // sends what was sent SendLazily
	lazySet  bool          // lazy is running
	freed    chan struct{} // if not nil, closed when the role becomes free
	heldTurn turn          // a turn that did not fit into the last batch
	own      ownFrames
}

type role uint8

const (
	roleFree   role = iota // nobody sends
	roleCalled             // a goroutine has been started that will
	roleHeld               // somebody does
)

const (
	// lazyDelay is how long a frame may wait that nobody waits for.
	lazyDelay = time.Millisecond
	// callerBatches is how much a caller sends, of other streams too, before it
	// leaves the rest to a goroutine.
	callerBatches = 8
)

func newWriter(s *Session, sched shaper.Scheduler) *writer {
	w := &writer{s: s, watch: writeWatch{s: s}, inline: s.transport.inline(), throttle: newThrottle(s.config.SendRate, s.done)}
	w.sched = guard(w, sched)
	w.batcher, _ = w.sched.(shaper.Batcher)
	w.own.flow.Owner = s
	w.runCalledFunc, w.runHandedFunc = w.runCalled, w.runHanded
	return w
}

// send puts f in line, and has it sent as soon as u says.
func (w *writer) send(f *shaper.Flow, c shaper.Class, u stream.Urgency) { w.start(w.push(f, c, u)) }

// flush has sent what is in line.
func (w *writer) flush() { w.start(w.claimLine(stream.SendNow)) }

// idle returns a channel that is closed when the role next becomes free, and
// whether nothing is in line and nobody sends. What is in line is sent.
func (w *writer) idle() (freed <-chan struct{}, idle bool) {
	w.start(w.claimLine(stream.SendSoon))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.freed == nil {
		w.freed = make(chan struct{})
	}
	return w.freed, w.role == roleFree && (w.err != nil || w.sched.Empty())
}

// A claim is what a caller has to do so that what is in line is sent.
type claim uint8

const (
	claimNone   claim = iota // somebody else sends it, or will
	claimCaller              // the caller holds the role
	claimCalled              // a goroutine is to take the role
)

// push puts f in line.
func (w *writer) push(f *shaper.Flow, c shaper.Class, u stream.Urgency) claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return claimNone
	}
	w.sched.Push(f, c)
	return w.claim(u)
}

// claimLine has sent what is in line already.
func (w *writer) claimLine(u stream.Urgency) claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.sched.Empty() {
		return claimNone
	}
	return w.claim(u)
}

// claim decides who sends what is in line. The caller holds w.mu.
func (w *writer) claim(u stream.Urgency) claim {
	switch {
	case w.role == roleHeld:
		return claimNone // the holder will see it
	case u == stream.SendLazily:
		if w.role == roleFree {
			w.setLazy()
		}
		return claimNone
	case u == stream.SendNow && w.inline && w.throttle == nil:
		w.role = roleHeld
		return claimCaller
	case w.role == roleFree:
		w.role = roleCalled
		return claimCalled
	}
	return claimNone
}

// start does what a claim says.
func (w *writer) start(c claim) {
	switch c {
	case claimNone:
	case claimCaller:
		w.s.latency.beforeBatch()
		largest := w.run(w.newOutgoing(), callerBatches)
		w.s.latency.afterWrite(largest)
	case claimCalled:
		go w.runCalledFunc()
	}
}

// setLazy has what is in line sent within lazyDelay. The caller holds w.mu.
func (w *writer) setLazy() {
	switch {
	case w.lazySet:
		return
	case w.lazy == nil:
		w.lazy = time.AfterFunc(lazyDelay, w.runLazy)
	default:
		w.lazy.Reset(lazyDelay)
	}
	w.lazySet = true
}

// runCalled is a goroutine that was called. Somebody else may have taken the role meanwhile.
func (w *writer) runCalled() {
	if w.takeCalled() {
		w.run(w.newOutgoing(), 0)
	}
}

func (w *writer) takeCalled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.role != roleCalled {
		return false
	}
	w.role = roleHeld
	return true
}

// runLazy is called by the timer.
func (w *writer) runLazy() {
	if w.takeLazy() {
		w.run(w.newOutgoing(), 0)
	}
}

func (w *writer) takeLazy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lazySet = false
	if w.err != nil || w.sched.Empty() || w.role != roleFree {
		return false
	}
	w.role = roleHeld
	return true
}

// runHanded is a goroutine that goes on where a caller has left off.
func (w *writer) runHanded() {
	o := w.handed
	w.handed = nil
	w.run(o, 0)
}

// run sends until nothing is in line. The caller holds the role; run gives it up. If
// limit is not 0, run does not wait for the transport, and sends at most limit batches. It returns
// the size of its largest batch.
func (w *writer) run(o *outgoing, limit int) (largest int) {
	for sent := 0; ; sent++ {
		if limit > 0 && (sent == limit || len(o.rest) > 0) {
			w.handed = o
			go w.runHandedFunc()
			return largest
		}
		if err := w.writeRest(o); err != nil {
			w.fail(o, err)
			return largest
		}
		if w.throttle != nil {
			w.throttle.wait()
		}
		if !w.collect(o.batch) {
			w.freeOutgoing(o)
			return largest
		}
		n := o.batch.Len()
		largest = max(largest, n)
		if err := w.write(o); err != nil {
			w.fail(o, err)
			return largest
		}
		w.s.latency.afterBatch(n)
	}
}

// free gives up the role. The caller holds w.mu.
func (w *writer) free() {
	w.role = roleFree
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
}

func (w *writer) setWeight(f *shaper.Flow, weight int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.SetWeight(weight)
}

// stop has nothing more sent, for reason err.
func (w *writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.own.drop()
	if w.lazy != nil {
		w.lazy.Stop()
	}
}

// failure returns why nothing can be sent any more, or nil.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// incomplete reports whether frames that streams had handed over did not go out.
func (w *writer) incomplete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// lose notes that not all that was written goes out.
func (w *writer) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = true
}
