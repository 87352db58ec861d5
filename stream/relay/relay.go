// Package relay joins two connections: what one sends, the other gets. Proxies and tunnels are made of it.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// Options are the time limits of [Join]. Nil Options, and a zero field, mean the default.
type Options struct {
	// IdleTimeout ends both directions when no byte has moved in either for that long. Join then returns [ErrIdle]. By
	// default there is no limit. A byte has moved when a Read has returned it, or the Write of up to 32 KiB with it has
	// returned. While the limit is set, data between two sockets is copied, and not spliced.
	IdleTimeout time.Duration

	// HalfClosedIdleTimeout takes the place of IdleTimeout once one direction has ended. The default is IdleTimeout if
	// the conn was told of the end, and otherwise 30 s or IdleTimeout, whichever is less; see [Join].
	HalfClosedIdleTimeout time.Duration

	// HalfClosedTimeout limits how long one direction goes on after the other has ended. Join then returns
	// [ErrHalfClosed]. By default there is no limit.
	HalfClosedTimeout time.Duration
}

// defaultUntoldIdle is the default of HalfClosedIdleTimeout if a conn was not told of the end. It is for an answer that
// takes a while to begin.
const defaultUntoldIdle = 30 * time.Second

// Validate returns nil if o, which may be nil, is valid. Otherwise its error names each bad field. [Join] calls it.
func (o *Options) Validate() error {
	if o == nil {
		return nil
	}
	var errs []error
	notNegative := func(field string, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, must not be negative", field, d))
		}
	}
	notNegative("IdleTimeout", o.IdleTimeout)
	notNegative("HalfClosedIdleTimeout", o.HalfClosedIdleTimeout)
	notNegative("HalfClosedTimeout", o.HalfClosedTimeout)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("relay: bad Options: %w", errors.Join(errs...))
}

// A Result counts what Join has moved.
type Result struct {
	AToB int64 // bytes of a that b has taken
	BToA int64 // bytes of b that a has taken
}

// The errors of the time limits. Each is a net.Error with Timeout() true.
var (
	// ErrIdle says that no byte has moved for IdleTimeout or HalfClosedIdleTimeout.
	ErrIdle error = timeoutError("relay: idle for too long")
	// ErrHalfClosed says that one direction went on for HalfClosedTimeout after the other had ended.
	ErrHalfClosed error = timeoutError("relay: half-closed for too long")
)

type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// Join copies what a sends to b, and what b sends to a, until both directions have ended. Then it closes a and b, and
// returns. a and b belong to Join from the call on: it closes both in every case, also if it fails at once. Its
// goroutines have ended when it returns.
//
// # How a direction ends
//
// At the end of what a sends (io.EOF), Join calls CloseWrite of b, and b may still send. A conn that has no CloseWrite,
// or whose CloseWrite fails, is not told of the end: a stream with session.Config.NoHalfClose is one, its error is
// errors.ErrUnsupported. What b sends then goes on, so that an answer arrives, but not after 30 s in which no byte has
// moved ([Options].HalfClosedIdleTimeout).
//
// If Read of a fails, Join closes both conns at once. If Write to b fails, nothing more goes to b, but what b has sent
// before still goes to a: a server may refuse an upload with an answer, and close. b counts as a conn that was not told
// of the end.
//
// A conn with a method Done that returns a channel, as [stream.Stream] has, tells that its peer has closed it, although
// nothing is written to it. When the channel is closed and all data of the conn was passed on, Join closes both conns:
// an aborted download ends at once.
//
// # What ends Join
//
// Join returns nil if each direction ended with io.EOF, or because the peer of its destination has closed (Done, or
// [stream.ErrPeerClosed]). Otherwise it returns the error of the Read or Write that failed first, [ErrIdle] or
// [ErrHalfClosed] at a limit, or the cause of ctx when ctx ends. It waits for nothing else but the Close of both conns.
// It clears the deadlines of the conns when it begins, and may set them later. Their peers see a normal end in all
// cases: Join resets no connection.
//
// If a or b is nil, or opts is not valid, Join closes the other conn, or both, and returns an error that says so. A nil
// ctx panics.
//
// # How data is copied
//
// Between a *net.TCPConn and another socket, package net moves the data within the kernel where the system can do that.
// WriteTo of a and ReadFrom of b are used if they have these methods, as streams of smuxkit do: their buffers are
// passed on without a further copy. Otherwise a buffer of 32 KiB is used for each direction; 512 bytes while a socket has
// sent nothing for two seconds.
func Join(ctx context.Context, a, b net.Conn, opts *Options) (Result, error) {
	if ctx == nil {
		panic("relay: nil context")
	}
	if err := errors.Join(checkConn("a", a), checkConn("b", b), opts.Validate()); err != nil {
		closeBoth(a, b)
		return Result{}, err
	}
	if ctx.Err() != nil {
		closeBoth(a, b)
		return Result{}, context.Cause(ctx)
	}
	j := newJoin(a, b, opts)
	j.run(ctx)
	return Result{AToB: j.ab.moved, BToA: j.ba.moved}, j.err
}

func newJoin(a, b net.Conn, opts *Options) *join {
	j := &join{a: a, b: b, begin: time.Now(), ended: make(chan *direction, 2)}
	if opts != nil {
		j.opts = *opts
	}
	j.ab, j.ba = direction{j: j, src: a, dst: b}, direction{j: j, src: b, dst: a}
	return j
}

// checkConn returns an error if c, which is the argument of that name, is nil or holds a nil pointer.
func checkConn(name string, c net.Conn) error {
	if isNil(c) {
		return fmt.Errorf("relay: %s is nil, must be a net.Conn", name)
	}
	return nil
}

func isNil(c net.Conn) bool {
	v := reflect.ValueOf(c)
	return c == nil || v.Kind() == reflect.Pointer && v.IsNil()
}

// A join is a call of Join. Its fields belong to the goroutine of the call, except those of the clock.
//
//	joinBoth --one direction ends--> joinHalfTold, joinHalfUntold --the other ends--> joinOver
//	    |                                      |                                         ^
//	    +-----Read fails, limit, ctx, Done-----+-----------------------------------------+
type join struct {
	a, b   net.Conn
	opts   Options
	ab, ba direction
	ended  chan *direction // directions that have ended

	state  joinState
	halfAt time.Duration // when the first direction ended
	err    error         // what Join returns
	timer  *time.Timer   // of the limits; nil: none was set yet

	// The clock. It runs while a limit on idle time is set.
	begin time.Time
	timed atomic.Bool
	last  atomic.Int64 // when a byte last moved, as a time.Duration since begin
}

type joinState uint8

const (
	joinBoth       joinState = iota // both directions go on
	joinHalfTold                    // one direction has ended, and its destination was told so
	joinHalfUntold                  // one direction has ended, and its destination was not told, or does not take data
	joinOver                        // both conns are closed
)

// run moves data until both directions have ended, and both conns are closed.
func (j *join) run(ctx context.Context) {
	_ = j.a.SetDeadline(time.Time{}) // a conn without deadlines needs none
	_ = j.b.SetDeadline(time.Time{})
	j.setClock()
	go j.ab.run()
	go j.ba.run()
	defer func() {
		if j.timer != nil {
			j.timer.Stop()
		}
	}()
	j.supervise(ctx)
	closeBoth(j.a, j.b)
	for _, d := range []*direction{&j.ab, &j.ba} {
		if !d.over {
			<-j.ended
		}
	}
}

// supervise returns when both conns are to be closed.
func (j *join) supervise(ctx context.Context) {
	aDone, bDone := doneOf(j.a), doneOf(j.b)
	for j.state != joinOver {
		var limit <-chan time.Time
		if j.timer != nil {
			limit = j.timer.C
		}
		select {
		case d := <-j.ended:
			j.handleEnd(d)
		case <-aDone:
			aDone, j.ab.srcDone = nil, true
		case <-bDone:
			bDone, j.ba.srcDone = nil, true
		case <-limit:
			j.handleTimer()
		case <-ctx.Done():
			j.end(context.Cause(ctx))
		}
		if j.ab.over && j.ab.srcDone || j.ba.over && j.ba.srcDone {
			j.end(nil) // the peer of a src takes nothing any more, and all that it sent was passed on
		}
	}
}

// end ends both directions. err is what Join returns, unless something has failed before.
func (j *join) end(err error) {
	if j.err == nil {
		j.err = err
	}
	j.state = joinOver
}

// handleEnd handles the end of a direction.
func (j *join) handleEnd(d *direction) {
	d.over = true
	if j.err == nil && !errors.Is(d.err, stream.ErrPeerClosed) {
		j.err = d.err
	}
	switch {
	case d.how == endRead || j.state != joinBoth:
		j.state = joinOver
	case d.how == endTold:
		j.state = joinHalfTold
	default:
		j.state = joinHalfUntold
	}
	if j.state != joinOver {
		j.halfAt = j.now()
		j.setClock()
	}
}

func (j *join) now() time.Duration { return time.Since(j.begin) }

// idleLimit returns the limit on idle time, or 0.
func (j *join) idleLimit() time.Duration {
	o := &j.opts
	switch {
	case j.state == joinBoth:
		return o.IdleTimeout
	case o.HalfClosedIdleTimeout > 0:
		return o.HalfClosedIdleTimeout
	case j.state == joinHalfTold:
		return o.IdleTimeout
	case o.IdleTimeout > 0:
		return min(o.IdleTimeout, defaultUntoldIdle)
	}
	return defaultUntoldIdle
}

// setClock makes the clock and the timer run if there is a limit. The state has just changed.
func (j *join) setClock() {
	if j.idleLimit() > 0 && !j.timed.Load() {
		j.last.Store(int64(j.now()))
		j.timed.Store(true)
		if j.state != joinBoth {
			// A direction that is spliced does not know that it has to tell the time now: interrupt it.
			j.ab.interrupt()
			j.ba.interrupt()
		}
	}
	j.setTimer()
}

// setTimer sets the timer to the next limit.
func (j *join) setTimer() {
	next, _ := j.nextLimit()
	switch left := next - j.now(); {
	case next == 0:
	case j.timer == nil:
		j.timer = time.NewTimer(left)
	default:
		j.timer.Reset(left)
	}
}

// nextLimit returns when the next limit is reached, unless a byte moves before, and the error at that time. 0 means
// never.
func (j *join) nextLimit() (at time.Duration, err error) {
	if idle := j.idleLimit(); idle > 0 {
		at, err = time.Duration(j.last.Load())+idle, ErrIdle
	}
	if j.state != joinBoth && j.opts.HalfClosedTimeout > 0 {
		if half := j.halfAt + j.opts.HalfClosedTimeout; at == 0 || half < at {
			at, err = half, ErrHalfClosed
		}
	}
	return at, err
}

// handleTimer ends both directions if a limit is reached. Otherwise bytes have moved since the timer was set.
func (j *join) handleTimer() {
	at, err := j.nextLimit()
	if at > 0 && j.now() >= at {
		j.end(err)
		return
	}
	j.setTimer()
}

// noteMoved notes that bytes have moved.
func (j *join) noteMoved() {
	if j.timed.Load() {
		j.last.Store(int64(j.now()))
	}
}

// doneOf returns the channel of c's Done, or nil.
func doneOf(c net.Conn) <-chan struct{} {
	if d, ok := c.(interface{ Done() <-chan struct{} }); ok {
		return d.Done()
	}
	return nil
}

// closeBoth closes both conns at the same time, as Close of one may block. Their errors say nothing that the Reads and
// Writes have not said. A conn may be nil.
func closeBoth(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b} {
		if !isNil(c) {
			wg.Go(func() { _ = c.Close() })
		}
	}
	wg.Wait()
}
