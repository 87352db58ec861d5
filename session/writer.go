package session

import (
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A writer is the sending side of a session. Streams that have something to send are queued at its scheduler. One
// goroutine at a time holds the writer role: it collects frames from the streams in turn (collect.go), and writes
// them to the transport in batches (writebatch.go). The role is always in one of three states:
//
//	free --(SendNow, inline)--> held by the caller
//	free --(SendSoon; SendNow, not inline)--> starting: a goroutine was started
//	free --(SendLazily, after maxLazyDelay)--> held by the goroutine of the timer
//	free --(SendLazily, after maxLazies others)--> starting
//	starting --(the goroutine runs)--> held by that goroutine
//	starting --(SendNow, inline)--> held by the caller
//	held by a caller --(the transport is full, maxCallerBatches are sent, or a rate is set)--> held by a new goroutine
//	held --(nothing is queued, or writing has failed)--> free
//
// Inline means: the transport is inline, so its write never waits, and there is no rate limit. A caller that holds the
// role never waits. It leaves what the transport does not take at once to a goroutine, which may wait.
//
// The batch that is being written belongs to the holder of the role. If the transport takes only a part of it, the rest
// goes out before anything else: no frame is cut off.
type writer struct {
	s        *Session
	inline   bool  // the transport never waits in a write
	maxWrite int32 // Config.MaxWriteSize, the most bytes of a batch; 0: BatchSize
	watch    writeWatch
	throttle rateLimit // Config.SendRate, or that of SetSendRate

	// The functions of the goroutines, bound once so that starting a goroutine allocates nothing.
	runStartingFunc, runHandedOverFunc func()
	handedOver                         *outgoing // what runHandedOver goes on with; it belongs to the holder of the role

	// mu guards the fields below. Calls of the scheduler may panic, so their callers release mu by defer.
	mu       sync.Mutex
	sched    shaper.Batcher
	role     role
	lost     bool          // some frames that streams had handed over were not sent
	lazySet  bool          // lazy is running
	lazies   uint8         // how often something was queued with SendLazily since the role was free
	lazy     *time.Timer   // sends what was queued with SendLazily
	err      error         // why nothing can be sent any more
	freed    chan struct{} // if not nil, closed when the role becomes free
	heldTurn turn          // a turn that did not fit into the last batch
	own      ownFrames
}

// A role is the state of the writer role.
type role uint8

const (
	roleFree     role = iota // nobody sends
	roleStarting             // a goroutine has been started, which will take the role
	roleHeld                 // a goroutine or a caller sends
)

const (
	// maxLazyDelay is how long a frame waits at most if it was queued with SendLazily.
	maxLazyDelay = time.Millisecond
	// maxLazies is how many frames wait for the timer of SendLazily. With the next one, a goroutine sends them: many
	// streams that are opened and closed without data would otherwise wait most of the time.
	maxLazies = 64
	// maxCallerBatches is how many batches a caller sends, with frames of other streams too, before it leaves the
	// rest to a goroutine.
	maxCallerBatches = 8
)

// init sets the fields of w, which is a part of s.
func (w *writer) init(s *Session, config *Config, sched shaper.Scheduler) {
	w.s = s
	w.inline = s.transport.inline()
	w.maxWrite = int32(min(config.MaxWriteSize, wire.BatchSize))
	w.throttle.set(config.SendRate, s.done)
	w.watch.s, w.watch.writeTimeout, w.watch.linger = s, config.WriteTimeout, config.LingerTimeout
	w.runStartingFunc, w.runHandedOverFunc = w.runStarting, w.runHandedOver
	w.sched = guard(w, sched)
	w.own.flow.Owner = s
}

// send queues f, and makes sure that it is sent as soon as u says.
func (w *writer) send(f *shaper.Flow, c shaper.Class, u stream.Urgency) { w.start(w.push(f, c, u)) }

// flush makes sure that what is queued is sent now.
func (w *writer) flush() { w.start(w.claimQueued(stream.SendNow)) }

// idle reports whether nothing is queued and the role is free, and returns a channel that is closed when the role next
// becomes free. It makes sure that what is queued is sent.
func (w *writer) idle() (freed <-chan struct{}, idle bool) {
	w.start(w.claimQueued(stream.SendSoon))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.freed == nil {
		w.freed = make(chan struct{})
	}
	return w.freed, w.role == roleFree && (w.err != nil || w.sched.Empty())
}

// isSending reports whether a goroutine sends, or is about to.
func (w *writer) isSending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.role != roleFree
}

// A claim says who sends what is queued.
type claim uint8

const (
	claimNone   claim = iota // the holder of the role, now or soon: the caller has nothing to do
	claimCaller              // the caller, which holds the role now
	claimStart               // a goroutine, which the caller has to start
)

// push queues f.
func (w *writer) push(f *shaper.Flow, c shaper.Class, u stream.Urgency) claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return claimNone
	}
	w.sched.Push(f, c)
	return w.claim(u)
}

// claimQueued is push for what is queued already.
func (w *writer) claimQueued(u stream.Urgency) claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.sched.Empty() {
		return claimNone
	}
	return w.claim(u)
}

// claim decides who sends what is queued. The caller holds w.mu.
func (w *writer) claim(u stream.Urgency) claim {
	switch {
	case w.role == roleHeld:
		return claimNone // the holder finds it in the queue
	case u == stream.SendLazily && w.role != roleFree:
		return claimNone
	case u == stream.SendLazily && w.lazies < maxLazies:
		w.lazies++
		w.setLazy()
		return claimNone
	case u == stream.SendNow && w.inline && w.throttle.current() == nil:
		w.hold()
		return claimCaller
	case w.role == roleFree:
		w.role = roleStarting
		return claimStart
	}
	return claimNone
}

// start does what a claim says.
func (w *writer) start(c claim) {
	switch c {
	case claimNone:
	case claimCaller:
		w.s.latency.beforeBatch()
		largest := w.run(w.newOutgoing(), maxCallerBatches)
		w.s.latency.afterWrite(largest)
	case claimStart:
		go w.runStartingFunc()
	}
}

// setLazy makes sure that what is queued is sent within maxLazyDelay. The caller holds w.mu.
func (w *writer) setLazy() {
	switch {
	case w.lazySet:
		return
	case w.lazy == nil:
		w.lazy = time.AfterFunc(maxLazyDelay, w.runLazy)
	default:
		w.lazy.Reset(maxLazyDelay)
	}
	w.lazySet = true
}

// runStarting is the goroutine that claimStart starts. A caller may have taken the role meanwhile, if w is inline.
func (w *writer) runStarting() {
	if !w.inline {
		w.s.latency.beforeBatch() // nobody else takes the role meanwhile
	}
	if w.takeStarting() {
		w.run(w.newOutgoing(), 0)
	}
}

// takeStarting takes the role for the goroutine that has been started, unless the role is not roleStarting any more.
func (w *writer) takeStarting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.role != roleStarting {
		return false
	}
	w.hold()
	return true
}

// runLazy is what the timer of SendLazily calls.
func (w *writer) runLazy() {
	if w.takeLazy() {
		w.run(w.newOutgoing(), 0)
	}
}

// takeLazy takes the role for runLazy, unless nothing is queued or somebody else sends it.
func (w *writer) takeLazy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lazySet = false
	if w.err != nil || w.sched.Empty() || w.role != roleFree {
		return false
	}
	w.hold()
	return true
}

// runHandedOver is the goroutine that takes over the role from a caller.
func (w *writer) runHandedOver() {
	o := w.handedOver
	w.handedOver = nil
	w.run(o, 0)
}

// run sends until nothing is queued, and then gives up the role, which the caller holds. If limit is not 0, run never
// waits for the transport, and hands the role over to a goroutine after limit batches. It returns the size of its
// largest batch.
func (w *writer) run(o *outgoing, limit int) (largest int) {
	for sent := 0; ; sent++ {
		o.throttle = w.throttle.current()
		if limit > 0 && (sent == limit || len(o.rest) > 0 || o.throttle != nil || w.s.tracer.full()) {
			w.handedOver = o
			go w.runHandedOverFunc()
			return largest
		}
		if err := w.writeRest(o); err != nil {
			w.fail(o, err)
			return largest
		}
		o.noteTaken()
		if o.throttle != nil {
			o.throttle = w.throttle.wait()
		}
		if w.s.tracer != nil {
			w.s.tracer.awaitRoom(w.s.done)
		}
		if !w.collect(o) {
			w.freeOutgoing(o)
			return largest
		}
		if w.s.tracer != nil {
			w.s.tracer.framesSent(o.batch)
		}
		w.s.stats.framesSent.Add(uint64(o.batch.Frames()))
		n := o.batch.Len()
		largest = max(largest, n)
		if err := w.write(o); err != nil {
			w.fail(o, err)
			return largest
		}
		o.noteActive(w.s.clock.lastSent())
		o.noteTaken()
		w.s.latency.afterBatch(n)
	}
}

// hold takes the role. The caller holds w.mu.
func (w *writer) hold() {
	w.role = roleHeld
	w.s.shared.SetSending(true)
}

// free gives up the role. The caller holds w.mu.
func (w *writer) free() {
	w.role = roleFree
	w.lazies = 0
	w.s.shared.SetSending(false)
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
	w.settleHandover()
}

func (w *writer) setWeight(f *shaper.Flow, weight int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.SetWeight(weight)
}

// stop makes sure that no more batches are sent. err is the reason.
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

// incomplete reports whether some frames that streams had handed over were not sent.
func (w *writer) incomplete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// noteLost notes that some of the written data will not be sent.
func (w *writer) noteLost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = true
}
