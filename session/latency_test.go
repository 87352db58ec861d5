//go:build !nolatency

package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A fakeTransport is an inline transport, as a latency sees it.
type fakeTransport struct {
	transport
	reads int
	woke  bool // what readInline reports
}

func (t *fakeTransport) inline() bool { return true }

func (t *fakeTransport) readInline() bool {
	t.reads++
	return t.woke
}

// A latencyRig is a latency on a bubble's clock. Its yields take the time that others need.
type latencyRig struct {
	*latency
	conn   *fakeTransport
	yields int
	others time.Duration
}

// rigged runs f with a latency of a session on this machine that has just sent and received data.
func rigged(t *testing.T, f func(r *latencyRig)) {
	synctest.Test(t, func(t *testing.T) {
		clock := &activityClock{begin: time.Now()}
		r := &latencyRig{conn: new(fakeTransport), others: 2 * time.Microsecond}
		r.latency = newLatency(clock, pathWindows{Account: flow.NewAccount(1 << 20)}, true)
		r.use(r.conn)
		r.gosched = func() {
			r.yields++
			time.Sleep(r.others)
		}
		time.Sleep(time.Second)
		clock.noteSent()
		clock.noteReceived()
		f(r)
	})
}

// yielded returns how often the calls of f yielded.
func (r *latencyRig) yielded(f func()) int {
	before := r.yields
	f()
	return r.yields - before
}

// receive makes a frame of n bytes arrive for a Read of st that waits.
func (r *latencyRig) receive(st *streamTraffic, n int) {
	r.clock.noteReceived()
	r.onFrame(st, n)
	r.onFilled(st)
	r.beforeWait()
}

// send sends a batch of n bytes.
func (r *latencyRig) send(n int) {
	r.clock.noteSent()
	r.afterBatch(n)
}

// After a yield in which others computed for 20 ms, no sender yields for 80 ms. While a sender yields, nothing is
// sent.
func TestLatencyYieldsLessToOthersThatCompute(t *testing.T) {
	rigged(t, func(r *latencyRig) {
		r.others = 20 * time.Millisecond
		for i, tt := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {0, 0}, {79 * time.Millisecond, 0}, {time.Millisecond, 1}} {
			time.Sleep(tt.wait)
			if got := r.yielded(r.yield); got != tt.want {
				t.Errorf("%d: %d yields, want %d", i, got, tt.want)
			}
		}
	})
}

// A yield in which no goroutine ran is repeated once.
func TestLatencyYieldsTwiceIfNobodyRan(t *testing.T) {
	rigged(t, func(r *latencyRig) {
		r.others = 0
		if got := r.yielded(r.yield); got != 2 {
			t.Errorf("the scheduler was called %d times, want 2", got)
		}
	})
}

// A caller that has sent bulk data yields every 30 µs while messages or bulk data arrive.
func TestBulkWriteGivesWayBesideTraffic(t *testing.T) {
	first := func(r *latencyRig) { r.receive(new(streamTraffic), 64) }
	answer := func(r *latencyRig) {
		st := new(streamTraffic)
		r.receive(st, 2000)
		time.Sleep(time.Second) // the first data no longer counts
		r.onSent(st)
		r.receive(st, 64)
	}
	oneWay := func(r *latencyRig) {
		st := new(streamTraffic)
		r.receive(st, 2000)
		r.receive(st, 64)
	}
	for _, tt := range []struct {
		name   string
		beside func(*latencyRig)
		after  time.Duration
		batch  int
		want   int
	}{
		{"nothing", func(*latencyRig) {}, 0, minBulkBatch, 0},
		{"a stream's first message", first, 0, minBulkBatch, 1},
		{"an answer", answer, 0, minBulkBatch, 1},
		{"a message that nobody asked for", oneWay, 0, minBulkBatch, 0},
		{"a message 100 ms ago", first, messageCounts, minBulkBatch, 0},
		{"bulk data", func(r *latencyRig) { r.receive(new(streamTraffic), 32<<10) }, 0, minBulkBatch, 1},
		{"bulk data 20 ms ago", func(r *latencyRig) { r.receive(new(streamTraffic), 32<<10) }, 2 * epochLength, minBulkBatch, 0},
		{"a message, but sending little", first, 0, minBulkBatch - 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rigged(t, func(r *latencyRig) {
				tt.beside(r)
				time.Sleep(tt.after)
				write := func() {
					r.clock.noteSent()
					r.afterWrite(tt.batch)
				}
				if got := r.yielded(write); got != tt.want {
					t.Errorf("%d yields, want %d", got, tt.want)
				}
				if got := r.yielded(write); got != 0 {
					t.Errorf("%d yields right after that", got)
				}
				time.Sleep(giveWayEvery)
				if got := r.yielded(write); got != tt.want {
					t.Errorf("%d yields after another 30 us, want %d", got, tt.want)
				}
			})
		})
	}
}

// A caller that is about to send yields right after a short batch, so that others can join in.
func TestShortBatchesAreCoalesced(t *testing.T) {
	for _, tt := range []struct {
		last  int
		after time.Duration
		want  int
	}{
		{100, 0, 1}, {100, coalesceFor - 1, 1}, {100, coalesceFor, 0}, {maxShortBatch, 0, 0},
	} {
		rigged(t, func(r *latencyRig) {
			r.send(tt.last)
			time.Sleep(tt.after)
			if got := r.yielded(r.beforeBatch); got != tt.want {
				t.Errorf("%v after a batch of %d bytes: %d yields, want %d", tt.after, tt.last, got, tt.want)
			}
		})
	}
}

// A sender reads inline if nothing was read for 15 µs, and yields to the Reads that this woke.
func TestSenderReadsInlineIfNothingWasRead(t *testing.T) {
	rigged(t, func(r *latencyRig) {
		for i, tt := range []struct {
			wait         time.Duration
			receive      bool
			woke         bool
			reads, yield int
		}{
			{wait: inlineAfter - 1},
			{wait: 1, reads: 1},
			{wait: inlineAfter - 1}, // as it has just looked
			{wait: 1, woke: true, reads: 1, yield: 1},
			{wait: inlineAfter, receive: true},
		} {
			time.Sleep(tt.wait)
			if tt.receive {
				r.clock.noteReceived()
			}
			r.conn.reads, r.conn.woke = 0, tt.woke
			yields := r.yielded(func() { r.send(100) })
			if r.conn.reads != tt.reads || yields != tt.yield {
				t.Errorf("%d: %d inline reads and %d yields, want %d and %d", i, r.conn.reads, yields, tt.reads, tt.yield)
			}
		}
	})
}

// A Read that was woken and will get more data runs once before the reader goroutine goes on.
func TestWokenReadRunsBeforeMoreIsRead(t *testing.T) {
	rigged(t, func(r *latencyRig) {
		var a, b streamTraffic
		r.onFrame(&a, 32<<10)
		r.onFilled(&a)
		if !r.hasWoken() {
			t.Error("no Read was woken")
		}
		for i, tt := range []struct {
			st   *streamTraffic
			want int
		}{{&b, 0}, {&a, 1}, {&a, 0}} {
			if got := r.yielded(func() { r.beforeRead(tt.st) }); got != tt.want {
				t.Errorf("%d: %d yields, want %d", i, got, tt.want)
			}
		}
		r.onFilled(&a)
		r.beforeWait()
		if got := r.yielded(func() { r.beforeRead(&a) }); got != 0 {
			t.Errorf("%d yields after the reader has waited", got)
		}
	})
}

// On a transport that is no socket, a Read that was woken runs after each 64 KiB.
func TestWokenReadRunsAfterEach64KiB(t *testing.T) {
	rigged(t, func(r *latencyRig) {
		st := new(streamTraffic)
		for i, tt := range []struct {
			woken   bool
			n, want int
		}{
			{true, maxStaged - 1, 0},
			{false, 1, 1},
			{false, maxStaged, 0}, // it has run
			{true, 0, 0},
			{false, maxStaged, 1},
		} {
			if tt.woken {
				r.onFilled(st)
			}
			if got := r.yielded(func() { r.afterStaged(tt.n) }); got != tt.want {
				t.Errorf("%d: %d yields, want %d", i, got, tt.want)
			}
		}
	})
}

// All methods of a nil latency can be called.
func TestNilLatencyDoesNothing(t *testing.T) {
	var l *latency
	st := new(streamTraffic)
	l.use(new(fakeTransport))
	l.onFrame(st, 64)
	l.onFilled(st)
	l.afterStaged(1 << 20)
	l.onSent(st)
	l.beforeRead(st)
	l.beforeWait()
	l.beforeBatch()
	l.afterBatch(64)
	l.afterWrite(minBulkBatch)
	if l.hasWoken() || st.epoch != 0 || st.sent.Load() {
		t.Error("it did something")
	}
}
