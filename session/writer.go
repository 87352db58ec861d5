package session

import (
	"io"
	"math"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A writer is the way out of a session: streams stand in line at its scheduler, and
// whoever holds the writer role collects frames from them in turn and writes them to
// the transport, a batch at a time. There is always exactly one answer to who that is:
//
//	free --(send, Now, an inline transport)------> held by the caller
//	free --(send, otherwise)---> called --(its goroutine starts)--> held by it
//	called --(send, Now, an inline transport)----> held by the caller
//	held --(nothing is in line)------------------> free
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
	calledFunc, handedFunc func()
	handed                 *sending // the holder's: what handedFunc goes on with

	mu       sync.Mutex // guards what follows
	sched    shaper.Scheduler
	batcher  shaper.Batcher // sched, if it is one
	role     role
	err      error         // why nothing can be sent any more
	lost     bool          // frames that streams had handed over did not go out
	lazy     *time.Timer   // sends what was sent Lazily
	lazySet  bool          // lazy is running
	freed    chan struct{} // if not nil, closed when the role becomes free
	kept     turn          // a turn that did not fit into the last batch
	own      shaper.Flow   // the session's own frames:
	nop      bool          // NOP is due
	refusals []uint32      // streams of the peer that are to be refused; empty if err is set
	leave    chan struct{} // if not nil, closed when the reader may go on
}

// A turn is what the scheduler gave a stream.
type turn struct {
	f *shaper.Flow
	c shaper.Class
	n int
}

func newWriter(s *Session, sched shaper.Scheduler) *writer {
	w := &writer{s: s, watch: writeWatch{s: s}, inline: s.transport.inline(), throttle: newThrottle(s.config.SendRate, s.done)}
	w.sched = guard(w, sched)
	w.batcher, _ = w.sched.(shaper.Batcher)
	w.own.Owner = s
	w.calledFunc, w.handedFunc = w.called, w.handOver
	return w
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
	// At maxAnswers that wait to be sent, the reader waits, before the next frame that may need one.
	maxAnswers = 1024
	// answerTimeout is for how long it does so while the transport takes nothing.
	answerTimeout = 30 * time.Second
	// refusalsPerTurn bounds one turn of the session's own frames.
	refusalsPerTurn = 64
)

// A sending is what a holder of the role works with.
type sending struct {
	batch *wire.Batch
	rest  []byte // of a batch that could not be written at once
}

var (
	gathering = sync.Pool{New: func() any { return &sending{batch: wire.NewBatch(true)} }}
	copying   = sync.Pool{New: func() any { return &sending{batch: wire.NewBatch(false)} }}
)

func (w *writer) newSending() *sending {
	if w.inline {
		return gathering.Get().(*sending)
	}
	return copying.Get().(*sending)
}

func (w *writer) freeSending(o *sending) {
	o.batch.Release()
	o.rest = o.rest[:0]
	if w.inline {
		gathering.Put(o)
	} else {
		copying.Put(o)
	}
}

// send puts f in line, and has it sent as soon as u says.
func (w *writer) send(f *shaper.Flow, c shaper.Class, u stream.Urgency) {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return
	}
	w.sched.Push(f, c)
	w.start(u)
}

// flush has sent what is in line.
func (w *writer) flush() {
	w.mu.Lock()
	if w.err != nil || w.sched.Empty() {
		w.mu.Unlock()
		return
	}
	w.start(stream.SendNow)
}

// start has what is in line sent. The caller holds w.mu, start releases it.
func (w *writer) start(u stream.Urgency) {
	switch {
	case w.role == roleHeld:
		w.mu.Unlock() // the holder will see it
	case u == stream.SendLazily:
		if w.role == roleFree && !w.lazySet {
			w.lazySet = true
			if w.lazy == nil {
				w.lazy = time.AfterFunc(lazyDelay, w.lazyDue)
			} else {
				w.lazy.Reset(lazyDelay)
			}
		}
		w.mu.Unlock()
	case u == stream.SendNow && w.inline && w.throttle == nil:
		w.role = roleHeld
		w.mu.Unlock()
		w.s.latency.beforeBatch()
		largest := w.run(w.newSending(), callerBatches)
		w.s.latency.afterWrite(largest)
	case w.role == roleFree:
		w.role = roleCalled
		w.mu.Unlock()
		go w.calledFunc()
	default:
		w.mu.Unlock()
	}
}

// called takes the role, if nobody has done so meanwhile.
func (w *writer) called() {
	w.mu.Lock()
	if w.role != roleCalled {
		w.mu.Unlock()
		return
	}
	w.role = roleHeld
	w.mu.Unlock()
	w.run(w.newSending(), 0)
}

// handOver goes on where a caller has left off.
func (w *writer) handOver() {
	o := w.handed
	w.handed = nil
	w.run(o, 0)
}

// lazyDue is called by the timer.
func (w *writer) lazyDue() {
	w.mu.Lock()
	w.lazySet = false
	if w.err != nil || w.sched.Empty() || w.role != roleFree {
		w.mu.Unlock()
		return
	}
	w.role = roleHeld
	w.mu.Unlock()
	w.run(w.newSending(), 0)
}

// run sends until nothing is in line. The caller holds the role; run gives it up. If
// limit is not 0, run does not wait for the transport, and sends at most limit batches. It returns
// the size of its largest batch.
func (w *writer) run(o *sending, limit int) (largest int) {
	for sent := 0; ; sent++ {
		if len(o.rest) > 0 || limit > 0 && sent == limit {
			if limit > 0 {
				w.handed = o
				go w.handedFunc()
				return largest
			}
			if err := w.writeAll(o.rest); err != nil {
				w.fail(o, err)
				return largest
			}
			o.rest = o.rest[:0]
		}
		if w.throttle != nil {
			w.throttle.wait()
		}
		if !w.collect(o.batch) {
			w.freeSending(o)
			return largest
		}
		n := o.batch.Len()
		largest = max(largest, n)
		var err error
		if w.throttle == nil {
			err = w.write(o)
		} else {
			err = w.writePaced(o)
		}
		if err != nil {
			w.fail(o, err)
			return largest
		}
		w.s.latency.afterBatch(n)
	}
}

// writePaced writes the batch in pieces, as the rate allows.
func (w *writer) writePaced(o *sending) error {
	o.rest = o.batch.AppendRest(o.rest[:0], 0)
	o.batch.Release()
	for p := o.rest; len(p) > 0; {
		piece := p[:min(len(p), w.throttle.piece)]
		w.throttle.wait()
		if err := w.writeAll(piece); err != nil {
			return err
		}
		w.throttle.consume(len(piece))
		p = p[len(piece):]
	}
	o.rest = o.rest[:0]
	return nil
}

// writeAll writes p, and waits as long as that takes.
func (w *writer) writeAll(p []byte) error {
	w.watch.begin()
	defer w.watch.end()
	for len(p) > 0 {
		n, err := w.s.transport.writeSome(p)
		if n > 0 {
			w.s.addSent(n)
		}
		if err != nil {
			return err
		}
		if err := w.watch.tookSome(); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// write writes the batch and leaves in o.rest what a full socket did not take.
func (w *writer) write(o *sending) error {
	b := o.batch
	if !w.inline {
		w.watch.begin()
		defer w.watch.end()
	}
	n, err := w.s.transport.write(b)
	if err == nil && !w.inline {
		err = w.watch.tookSome()
	}
	if err == nil && n < b.Len() {
		o.rest = b.AppendRest(o.rest[:0], n)
	}
	b.Release()
	if n > 0 {
		w.s.addSent(n)
	}
	return err
}

// collect fills b with what is in line. If there is nothing, the role becomes free
// and collect returns false.
func (w *writer) collect(b *wire.Batch) bool {
	w.mu.Lock()
	for w.err == nil && !b.Full() {
		room := math.MaxInt
		if w.throttle != nil {
			if room = w.throttle.piece - b.Len() - wire.HeaderSize; room <= 0 && b.Len() > 0 {
				break
			}
		}
		t := w.kept
		if t.f != nil {
			w.kept = turn{}
		} else if b.Len() > 0 && w.batcher != nil && w.batcher.EndBatch() {
			break
		} else if t.f, t.c, t.n = w.sched.Pop(); t.f == nil {
			break
		}
		f, c, n := t.f, t.c, min(t.n, max(1, room))
		before := b.Len()
		more := false
		if f == &w.own {
			more = w.takeOwn(b)
		} else {
			st := f.Owner.(*sessionStream)
			w.mu.Unlock()
			more = st.take(b, c, n)
			if c == shaper.Data && b.Len() > before {
				w.s.latency.onSent(&st.traffic)
			}
			w.mu.Lock()
		}
		if b.Len() == before && more && b.Full() {
			w.kept = t
			break
		}
		w.sched.Sent(f, c, b.Len()-before, more)
	}
	if w.err == nil && b.Len() > 0 {
		w.mu.Unlock()
		return true
	}
	w.lost = w.lost || b.Len() > 0
	w.free()
	w.mu.Unlock()
	return false
}

// free gives up the role. The caller holds w.mu.
func (w *writer) free() {
	w.role = roleFree
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
}

// takeOwn adds the session's own frames to b.
func (w *writer) takeOwn(b *wire.Batch) (more bool) {
	v := w.s.version()
	if w.nop {
		w.nop = false
		b.Frame(wire.Header{Version: v, Command: wire.NOP}, nil)
	}
	k := min(len(w.refusals), refusalsPerTurn)
	for _, id := range w.refusals[:k] {
		fin := wire.Header{Version: v, Command: wire.FIN, StreamID: id}
		b.Frame(fin, nil)
		b.Frame(fin, nil)
	}
	w.refusals = append(w.refusals[:0], w.refusals[k:]...)
	if len(w.refusals) <= maxAnswers/2 {
		w.answersLeft()
	}
	if len(w.refusals) == 0 {
		w.refusals = nil
		return false
	}
	return true
}

func (w *writer) setWeight(f *shaper.Flow, weight int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.SetWeight(weight)
}

// sendNOP sends a NOP.
func (w *writer) sendNOP() {
	w.mu.Lock()
	w.nop = true
	w.mu.Unlock()
	w.send(&w.own, shaper.Control, stream.SendNow)
}

// answersFull reports whether the reader is to wait until answers have left.
func (w *writer) answersFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.refusals) >= maxAnswers
}

// answersLeave returns a channel that is closed once no more than half of maxAnswers wait, or none can be
// sent any more.
func (w *writer) answersLeave() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	leave := make(chan struct{})
	if w.leave = leave; w.err != nil {
		w.answersLeft()
	}
	return leave
}

// answersLeft has the reader go on, if it waits. The caller holds w.mu.
func (w *writer) answersLeft() {
	if w.leave != nil {
		close(w.leave)
		w.leave = nil
	}
}

// refuse tells the peer that stream id, which it has opened, is closed in both directions: with FIN, twice.
func (w *writer) refuse(id uint32) {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return
	}
	w.refusals = append(w.refusals, id)
	w.mu.Unlock()
	w.send(&w.own, shaper.Control, stream.SendSoon)
}

// fail ends the way out after a failed write.
func (w *writer) fail(o *sending, err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // to a stream, io.EOF is FIN and nothing else
	}
	w.stop(err)
	w.drop(o)
	w.s.writeFailed(err)
}

// drop gives up the role without having sent o.
func (w *writer) drop(o *sending) {
	w.mu.Lock()
	w.lost = true
	w.free()
	w.mu.Unlock()
	w.freeSending(o)
}

// stop has nothing more sent, for reason err.
func (w *writer) stop(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.refusals = nil
	w.answersLeft()
	if w.lazy != nil {
		w.lazy.Stop()
	}
	w.mu.Unlock()
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

// idle returns a channel that is closed when the role next becomes free, and
// whether nothing is in line and nobody sends. What is in line is sent.
func (w *writer) idle() (freed <-chan struct{}, idle bool) {
	w.mu.Lock()
	if w.freed == nil {
		w.freed = make(chan struct{})
	}
	freed = w.freed
	if w.role == roleFree && (w.err != nil || w.sched.Empty()) {
		w.mu.Unlock()
		return freed, true
	}
	w.start(stream.SendSoon)
	return freed, false
}
