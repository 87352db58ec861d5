package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A round is the run of a plan: some sessions between two ends.
type round struct {
	p        *plan
	pairs    []*pair
	readers  gate         // shut while reading is stopped
	held     atomic.Int64 // bytes of the buffers of all ends of streams
	baseHeap uint64
	begun    time.Time
	opening  sync.WaitGroup
	running  sync.WaitGroup // ends of streams

	mu       sync.Mutex
	failures []string
}

// A pair is two sessions that are connected.
type pair struct {
	r        *round
	index    int
	link     *link
	sessions [2]*session.Session // client and server
	watchers [2]*watcher         // nil if the end is not traced
	accepts  sync.WaitGroup
	answered [2]atomic.Bool  // the peer of each end has answered a ping
	flushing atomic.Int64    // ends that will call Flush, or wait in it
	lastOpen [2]atomic.Int64 // when each end last had a stream that it had opened, after the round's begin

	mu   sync.Mutex
	ends [2]map[uint32]*end // those that this side knows, by id

	// What Close must have sent: see closes.
	closeErr error
	owed     map[uint32]debt
}

// A debt is the number of bytes that an end had written when Close was called.
type debt struct {
	written int64
	fin     bool
}

func newRound(p *plan) *round { return &round{p: p, begun: time.Now()} }

// fail records an error.
func (r *round) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// holds counts n bytes of the round's own memory, until the function that it returns is called.
func (r *round) holds(n int64) (done func()) {
	r.held.Add(n)
	return func() { r.held.Add(-n) }
}

// run runs the round and returns what is wrong.
func (r *round) run() []string {
	p := r.p
	limit := 2 * time.Minute
	if p.Spinners > 0 || testutil.Race {
		limit *= 2
	}
	defer hung(limit, reproduction{p})()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p.Procs))
	goroutines := runtime.NumGoroutine()
	if p.Storm != "" {
		if err := smallStorm(p); err != nil {
			r.fail("%v", err)
		}
	} else if p.Services > 0 {
		if err := r.playServices(); err != nil {
			r.fail("%v", err)
		}
	} else if p.Pool != "" {
		if err := runPool(p); err != nil {
			r.fail("%v", err)
		}
	} else if err := r.start(); err != nil {
		r.fail("%v", err)
	} else {
		r.play()
		r.check()
	}
	r.goroutinesEnd(goroutines)
	return r.failures
}

// reproduction is what hung prints of a plan.
type reproduction struct{ p *plan }

func (p reproduction) String() string { return p.p.reproduce() }

// start makes the sessions.
func (r *round) start() error {
	p := r.p
	if p.Freeze > 0 {
		r.baseHeap = heap()
	}
	var shared [2][]*flow.Budget
	for i, e := range p.Ends {
		if e.SharedBudget {
			shared[i] = []*flow.Budget{flow.NewBudget(e.MaxReceiveBuffer), flow.NewBudget(e.MaxSendBuffer)}
		}
	}
	for i := range p.Sessions {
		l, err := newLink(p, p.Proxy)
		if err != nil {
			return err
		}
		x := &pair{r: r, index: i, link: l}
		for side, begin := range [2]func(io.ReadWriteCloser, *session.Config) (*session.Session, error){session.Client, session.Server} {
			x.ends[side] = make(map[uint32]*end)
			cfg := p.config(side, shared[side])
			if p.Traced[side] != untraced {
				x.watchers[side] = newWatcher(r, fmt.Sprintf("session %d: end %d", i, side))
				cfg.Trace = x.watchers[side].trace(p.Traced[side] == tracedFrames)
			}
			if x.sessions[side], err = begin(l.ends[side], cfg); err != nil {
				return err
			}
		}
		r.pairs = append(r.pairs, x)
	}
	return nil
}

// play runs everything and returns when it has ended.
func (r *round) play() {
	p := r.p
	stop := spinners(p.Spinners)
	var events sync.WaitGroup
	for _, x := range r.pairs {
		for side := range x.sessions {
			x.accepts.Go(func() { x.accept(side) })
			events.Go(func() { x.introduce(side) })
			for k := range p.Ends[side].Openers {
				r.opening.Go(func() { x.open(side, k) })
			}
		}
		if p.Pings {
			for side := range x.sessions {
				x.accepts.Go(func() { x.ping(side) })
				x.accepts.Go(func() { x.beat(side) })
				if e := p.Ends[side]; e.Probe > 0 && e.Probe <= 100*time.Millisecond && e.GiveUp == time.Hour {
					x.accepts.Go(func() { x.setPolicies(side) })
				}
			}
		}
		if p.Rates > 0 {
			for side := range x.sessions {
				x.accepts.Go(func() { x.changeRates(side) })
			}
		}
		if p.Disturbance != calm {
			events.Go(func() { x.disturb() })
		} else if p.Hold > 0 {
			events.Go(func() {
				time.Sleep(p.After)
				x.link.hold()
				time.Sleep(p.Hold)
				x.link.release()
			})
		}
	}
	if p.Freeze > 0 {
		events.Go(r.freeze)
	}
	r.opening.Wait()
	events.Wait()
	for _, x := range r.pairs {
		x.finish()
	}
	for _, x := range r.pairs {
		x.accepts.Wait()
	}
	r.running.Wait()
	stop()
	for _, x := range r.pairs {
		x.link.close()
	}
}

// open opens streams of one end.
func (x *pair) open(side, opener int) {
	e := &x.r.p.Ends[side]
	slots := make(chan struct{}, max(1, x.r.p.AtOnce/e.Openers))
	for range (e.Streams + opener) / e.Openers {
		slots <- struct{}{}
		st, err := x.sessions[side].OpenStream(context.Background())
		if err != nil {
			drained := x.r.p.Disturbance == draining && side != x.r.p.By && errors.Is(err, session.ErrPeerShutdown)
			if x.r.p.undisturbed() && !drained {
				x.r.fail("session %d: OpenStream: %v", x.index, err)
			} else if !smuxError(err) {
				x.r.fail("session %d: OpenStream: error of no known kind: %#v", x.index, err)
			}
			return
		}
		x.handle(side, st, true, func() { <-slots })
	}
	// The streams that were opened end here.
	for range cap(slots) {
		slots <- struct{}{}
	}
}

// accept accepts what the other end opens, until the session ends.
func (x *pair) accept(side int) {
	for {
		st, err := x.sessions[side].AcceptStream(context.Background())
		if err != nil {
			if !smuxError(err) {
				x.r.fail("session %d: AcceptStream: error of no known kind: %#v", x.index, err)
			}
			return
		}
		x.handle(side, st, false, func() {})
		if nap := x.r.p.Ends[side].NapAfter; nap > 0 {
			time.Sleep(nap)
		}
	}
}

// handle runs an end of a stream.
func (x *pair) handle(side int, st *stream.Stream, opened bool, done func()) {
	both := x.r.p.behaviours(x.index, st.ID())
	mine, theirs := both[0], both[1]
	if !opened {
		mine, theirs = theirs, mine
	}
	e := newEnd(x.r, st, mine)
	e.answered, e.flushing = &x.answered[side], &x.flushing
	if e.b.Flush {
		x.flushing.Add(1)
	}
	if opened {
		x.noteOpen(side)
	}
	x.mu.Lock()
	known := x.ends[side][st.ID()]
	x.ends[side][st.ID()] = e
	x.mu.Unlock()
	if known != nil {
		x.r.fail("session %d: stream %d came twice", x.index, st.ID())
	}
	x.r.running.Go(func() {
		e.run(theirs)
		done()
	})
}

// maxCloseNow is far more than CloseNow takes on a busy machine, and less than DefaultCloseTimeout.
const maxCloseNow = 4 * time.Second

// disturb runs the plan's disturbance at its time.
func (x *pair) disturb() {
	p := x.r.p
	d := p.drawFor(x.index)
	time.Sleep(p.After)
	act := func() { x.act(d) }
	ends := p.Disturbance == closing || p.Disturbance == closeNow || p.Disturbance == cut
	if w := x.watchers[p.By]; w != nil && ends && d.chance(0.5) { // a function must not wait for the peer
		w.do(act)
	} else {
		act()
	}
}

// act is what disturb does. A function of the Trace may call it.
func (x *pair) act(d draw) {
	p := x.r.p
	s := x.sessions[p.By]
	switch p.Disturbance {
	case calm, idles:
	case draining:
		if err := s.Listener().Close(); err != nil {
			x.r.fail("session %d: Close of a Listener: %v", x.index, err)
		}
		<-x.sessions[1-p.By].Draining() // hung reports one that never hears of it
	case shutdown:
		if err := s.Shutdown(context.Background()); err != nil {
			x.r.fail("session %d: Shutdown: %v", x.index, err)
		}
	case closing:
		x.closes(s)
	case closeNow:
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		time.Sleep(time.Millisecond)
		begin := time.Now()
		err := s.CloseNow()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			x.r.fail("session %d: CloseNow: %v", x.index, err)
		}
		if err := <-down; err != nil && !errors.Is(err, session.ErrNotFlushed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			x.r.fail("session %d: Shutdown that CloseNow ends: %v", x.index, err)
		}
		if d := time.Since(begin); d > maxCloseNow {
			x.r.fail("session %d: CloseNow and Shutdown took %v", x.index, d)
		}
	case cut:
		x.link.cut(d)
	case vanish:
		x.link.hold()
	}
}

// closes closes a session, and records what it must have sent.
func (x *pair) closes(s *session.Session) {
	owed := make(map[uint32]debt)
	x.mu.Lock()
	for id, e := range x.ends[x.r.p.By] {
		owed[id] = debt{e.written.Load(), e.finDone.Load()}
	}
	x.mu.Unlock()
	x.closeErr = s.Close()
	timeout := errors.Is(x.closeErr, session.ErrNotFlushed) || errors.Is(x.closeErr, os.ErrDeadlineExceeded)
	if x.closeErr != nil && !timeout {
		x.r.fail("session %d: Close: %v", x.index, x.closeErr)
	}
	x.owed = owed
}

// finish waits for the end of both sessions, and ends them if nothing else does.
func (x *pair) finish() {
	p := x.r.p
	if p.undisturbed() {
		x.settle()
		// Either way ends it: nothing is left to send.
		s := x.sessions[p.By]
		var err error
		if x.index%2 == 0 {
			err = s.Close()
		} else {
			err = s.Shutdown(context.Background())
		}
		if err != nil {
			x.r.fail("session %d: closing it when all was done: %v", x.index, err)
		}
	}
	for i, s := range x.sessions {
		<-s.Done()
		x.checkIdleEnd(i)
		if err := s.Close(); err != nil {
			x.r.fail("session %d: end %d: Close after the end: %v", x.index, i, err)
		}
	}
}

// ping measures the round trip, until the session ends.
func (x *pair) ping(side int) {
	s := x.sessions[side]
	for s.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		rtt, err := s.Ping(ctx)
		cancel()
		switch {
		case err == nil && (rtt < 0 || rtt > time.Minute):
			x.r.fail("session %d: end %d: Ping = %v", x.index, side, rtt)
		case err != nil && !smuxError(err):
			x.r.fail("session %d: end %d: Ping: error of no known kind: %#v", x.index, side, err)
		case errors.Is(err, context.DeadlineExceeded) != errors.Is(err, session.ErrPingUnanswered):
			x.r.fail("session %d: end %d: Ping: %v", x.index, side, err)
		}
		select {
		case <-s.Done():
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
	}
}

// changeRates changes the rates of a session again and again, until it ends. Half of the time they are those of the plan.
func (x *pair) changeRates(side int) {
	s, e := x.sessions[side], x.r.p.Ends[side]
	for n := 0; s.Err() == nil; n++ {
		send, receive := e.SendRate, e.ReceiveRate
		if n%2 == 0 {
			send.BytesPerSecond, receive.BytesPerSecond = 2*send.BytesPerSecond, 2*receive.BytesPerSecond
		}
		if n%3 == 0 {
			send, receive = flow.Rate{}, flow.Rate{BytesPerSecond: 1e9}
		}
		if err := errors.Join(s.SetSendRate(send), s.SetReceiveRate(receive)); err != nil {
			x.r.fail("session %d: end %d: %v", x.index, side, err)
		}
		select {
		case <-s.Done():
		case <-time.After(x.r.p.Rates):
		}
	}
}

// settle waits until all streams have been accepted and have ended.
func (x *pair) settle() {
	c, s := x.sessions[0], x.sessions[1]
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if c.Err() != nil || s.Err() != nil {
			x.r.fail("session %d: ended by itself: %v and %v", x.index, c.Err(), s.Err())
			return
		}
		a, b := c.Stats(), s.Stats()
		if x.r.refusedWithoutLimit(0, a) || x.r.refusedWithoutLimit(1, b) {
			return
		}
		if a.StreamsOpened == b.StreamsAccepted+b.StreamsRefused && b.StreamsOpened == a.StreamsAccepted+a.StreamsRefused &&
			c.NumStreams() == 0 && s.NumStreams() == 0 && x.flushing.Load() == 0 && a.Unread == 0 && b.Unread == 0 {
			return
		}
		time.Sleep(pause)
	}
}

// refusedWithoutLimit reports whether an end has refused streams although it has no limit.
func (r *round) refusedWithoutLimit(side int, stats session.Stats) bool {
	if stats.StreamsRefused > 0 && !r.p.Ends[side].refuses() {
		r.fail("end %d has refused %d streams", side, stats.StreamsRefused)
		return true
	}
	return false
}

// drawFor returns the source of random decisions about a session.
func (p *plan) drawFor(session int) draw {
	return draw{randFrom(p.Seed+uint64(session)+1, p.Round)}
}

// goroutinesEnd waits until there are no more goroutines than before.
func (r *round) goroutinesEnd(before int) {
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			r.fail("%d goroutines are left:\n%s", runtime.NumGoroutine()-before, stacks[:runtime.Stack(stacks, true)])
			return
		}
		time.Sleep(time.Millisecond)
	}
}
