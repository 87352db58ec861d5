package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"time"
)

const (
	// DefaultInterval is the default of [Config].Interval.
	DefaultInterval = 10 * time.Second
	// DefaultTolerance is the default of [Config].Tolerance.
	DefaultTolerance = 20 * time.Second
	// MinInterval is the shortest Interval and Tolerance.
	MinInterval = time.Millisecond
)

// errClosed is the error of a Heartbeat that Close has ended.
var errClosed error = closedError{}

type closedError struct{}

func (closedError) Error() string { return "heartbeat: closed by this side" }
func (closedError) Unwrap() error { return net.ErrClosed }

// errGone is what has happened if a callback of the application did not return: the callback has called runtime.Goexit,
// as FailNow of a test does. (After a panic, the program ends.)
var errGone = errors.New("heartbeat: a callback has ended its goroutine (runtime.Goexit) and did not return")

// ErrUnanswered says that no answer came within Config.Tolerance. It is a net.Error with Timeout() true. The heartbeat
// goes on.
var ErrUnanswered error = timeoutError("heartbeat: no answer")

// A timeoutError is an error that is a time-out.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// Config configures a [Heartbeat]. The zero value of each field means the default.
type Config struct {
	// Interval is the time from one beat to the next, at least [MinInterval]. The first beat is sent at once. The
	// default is 10 s.
	Interval time.Duration
	// Tolerance is how long an answer may take, at least [MinInterval]. It may exceed Interval: then the next
	// beat follows the answer or its failure. The default is 20 s.
	Tolerance time.Duration
	// OnBeat, if not nil, is called for each beat: with its round-trip time, or with an error. [ErrUnanswered] means
	// that no answer came within Tolerance. Any other error is the reason for the heartbeat's end, and the last call.
	//
	// One goroutine at a time calls OnBeat, and no beat is sent meanwhile. OnBeat may call anything on the
	// Heartbeat, Close included. If it calls runtime.Goexit, as FailNow of a test does, the heartbeat ends.
	OnBeat func(rtt time.Duration, err error)
}

// validate returns an error that names each invalid field.
func (c Config) validate() error {
	return errors.Join(checkTime("Interval", c.Interval), checkTime("Tolerance", c.Tolerance))
}

func checkTime(field string, d time.Duration) error {
	if d == 0 || d >= MinInterval {
		return nil
	}
	return fmt.Errorf("heartbeat: %s is %v, must be at least %v, or 0 for the default", field, d, MinInterval)
}

// A Pinger measures a round trip, as *session.Session does.
type Pinger interface {
	// Ping sends a question, waits for its answer, and returns the time between the two. It ends with ctx. An error
	// without the end of ctx ends the heartbeat.
	//
	// If the Pinger also has a method Done() <-chan struct{}, Ping is called at once when that channel is closed.
	Ping(ctx context.Context) (time.Duration, error)
}

// A Heartbeat sends beats. All methods may be called concurrently.
type Heartbeat struct {
	pinger Pinger
	conn   net.Conn // nil with StartPinger
	onBeat func(rtt time.Duration, err error)

	ctx     context.Context // ends when the heartbeat does
	cancel  context.CancelFunc
	changed chan struct{} // has an element if interval has changed since the goroutine looked
	done    chan struct{} // closed when the goroutine ends

	mu                  sync.Mutex // guards the fields below
	interval, tolerance time.Duration
	began               time.Time   // when the last beat began, of those at intervals
	late                *time.Timer // runs while that beat is on its way, and then ends it
	stats               Stats
	err                 error // why the heartbeat has ended
}

// Stats are the results of the beats so far, those of [Heartbeat.Beat] included.
type Stats struct {
	Answered   uint64 // beats
	Unanswered uint64 // beats that had no answer within Tolerance; those of Beat are not counted

	RTT         time.Duration // the last round trip; 0 if there was none
	MinRTT      time.Duration // the shortest one
	SmoothedRTT time.Duration // an average in which each new round trip counts for an eighth, as TCP's does
}

// Start sends beats over conn to a peer that calls [Serve], or echoes what it reads in another way. Start returns at
// once. conn belongs to the Heartbeat, which closes it when it ends; if Start fails, conn still belongs to the caller.
//
// A Heartbeat sets no deadlines. It ends when conn fails, when the peer closes it (the error is io.EOF), when the peer
// sends anything but the answer ([ErrProtocol]), and with [Heartbeat.Close].
func Start(conn net.Conn, cfg Config) (*Heartbeat, error) {
	if isNil(conn) {
		return nil, errors.New("heartbeat: conn is nil")
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return start(newEchoes(conn), conn, cfg), nil
}

// StartPinger sends beats through p. With a *session.Session, it measures the round trip to the peer's session, if that is
// of this module; any other peer leaves the beats unanswered. The Heartbeat does not close p. It ends when Ping fails
// for another reason than the end of its context, for example because the session has ended, and with [Heartbeat.Close].
func StartPinger(p Pinger, cfg Config) (*Heartbeat, error) {
	if isNil(p) {
		return nil, errors.New("heartbeat: the Pinger is nil")
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return start(p, nil, cfg), nil
}

func start(p Pinger, conn net.Conn, cfg Config) *Heartbeat {
	h := &Heartbeat{
		pinger: p, conn: conn, onBeat: cfg.OnBeat,
		interval: orDefault(cfg.Interval, DefaultInterval), tolerance: orDefault(cfg.Tolerance, DefaultTolerance),
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	go h.run()
	return h
}

// isNil reports whether v is nil or holds a nil pointer.
func isNil(v any) bool {
	p := reflect.ValueOf(v)
	return v == nil || p.Kind() == reflect.Pointer && p.IsNil()
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// run is the goroutine of a Heartbeat.
func (h *Heartbeat) run() {
	defer close(h.done)
	defer func() { _ = h.end(errGone) }() // if a callback ends this goroutine; otherwise the heartbeat has ended
	for {
		rtt, err := h.beat()
		if h.ctx.Err() != nil {
			return
		}
		over := err != nil && !errors.Is(err, ErrUnanswered)
		if over {
			_ = h.end(err)
		}
		if h.onBeat != nil {
			h.onBeat(rtt, err)
		}
		if over || !h.awaitNext() {
			return
		}
	}
}

// beat sends a beat and waits for its answer, for tolerance at most.
func (h *Heartbeat) beat() (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(h.ctx)
	defer cancel(nil)
	h.mu.Lock()
	h.began = time.Now()
	h.late = time.AfterFunc(h.tolerance, func() { cancel(ErrUnanswered) })
	h.mu.Unlock()

	rtt, err := h.pinger.Ping(ctx)

	h.mu.Lock()
	defer h.mu.Unlock()
	h.late.Stop()
	h.late = nil
	if err != nil && context.Cause(ctx) == ErrUnanswered {
		h.stats.Unanswered++
		return 0, fmt.Errorf("%w within %v", ErrUnanswered, h.tolerance)
	}
	if err != nil {
		return 0, err
	}
	h.stats.note(rtt)
	return rtt, nil
}

// awaitNext waits until the next beat is due, or is pointless because the Pinger is done. It returns false if the
// heartbeat ends before.
func (h *Heartbeat) awaitNext() bool {
	var over <-chan struct{}
	if p, ok := h.pinger.(interface{ Done() <-chan struct{} }); ok {
		over = p.Done()
	}
	for {
		timer := time.NewTimer(h.untilNext())
		select {
		case <-timer.C:
			return h.ctx.Err() == nil
		case <-h.changed:
			timer.Stop()
		case <-over:
			timer.Stop()
			return true
		case <-h.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (h *Heartbeat) untilNext() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.interval - time.Since(h.began)
}

// note adds a round trip.
func (s *Stats) note(rtt time.Duration) {
	s.Answered++
	s.RTT = rtt
	if s.Answered == 1 {
		s.MinRTT, s.SmoothedRTT = rtt, rtt
		return
	}
	s.MinRTT = min(s.MinRTT, rtt)
	s.SmoothedRTT += (rtt - s.SmoothedRTT) / 8
}

// Beat sends a beat now, or as soon as the one that is on its way was answered, and returns its round-trip time, which is
// at least a nanosecond unless a [Pinger] says otherwise. Beat waits
// until ctx ends: Config.Tolerance does not matter, and OnBeat is not called. It also ends with the Heartbeat, with
// the reason for that. A nil ctx panics.
func (h *Heartbeat) Beat(ctx context.Context) (time.Duration, error) {
	if ctx == nil {
		panic("heartbeat: nil context")
	}
	if err := h.Err(); err != nil {
		return 0, err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	rtt, err := h.pinger.Ping(within)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.stats.note(rtt)
		return rtt, nil
	case h.err != nil:
		return 0, h.err
	}
	return 0, err
}

// SetInterval changes Config.Interval. It counts from the last beat: if that was longer ago, the next beat is sent at
// once. 0 means the default. An interval that is too short is an error and changes nothing.
func (h *Heartbeat) SetInterval(d time.Duration) error {
	if err := checkTime("Interval", d); err != nil {
		return err
	}
	h.mu.Lock()
	h.interval = orDefault(d, DefaultInterval)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default: // the goroutine has not looked since the last change
	}
	return nil
}

// SetTolerance changes Config.Tolerance, also for a beat that is on its way. 0 means the default. A tolerance that is too
// short is an error and changes nothing.
func (h *Heartbeat) SetTolerance(d time.Duration) error {
	if err := checkTime("Tolerance", d); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tolerance = orDefault(d, DefaultTolerance)
	if h.late != nil {
		h.late.Reset(h.tolerance - time.Since(h.began))
	}
	return nil
}

// Stats returns the results so far.
func (h *Heartbeat) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// Done returns a channel that is closed when the heartbeat has ended and OnBeat has returned for the last time.
func (h *Heartbeat) Done() <-chan struct{} { return h.done }

// Err returns nil until the heartbeat has ended, and then the reason: one that matches net.ErrClosed after Close, or the error of the
// connection or the Pinger.
func (h *Heartbeat) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Close ends the heartbeat, and closes the conn of [Start]. It waits for the conn's Close method, and not for a call
// of OnBeat that is under way: no other one follows. A second Close does nothing and returns nil.
func (h *Heartbeat) Close() error { return h.end(errClosed) }

// end ends the heartbeat for the given reason, unless it has ended.
func (h *Heartbeat) end(reason error) error {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return nil
	}
	h.err = reason
	h.mu.Unlock()
	if reason == errClosed {
		h.cancel()
	} else {
		defer h.cancel()
	}
	if h.conn == nil {
		return nil
	}
	return h.conn.Close()
}
