package heartbeat_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
	"github.com/smuxkit/smuxkit/session"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// bubble runs test in a bubble and checks for leaked goroutines.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		test(t)
	})
}

// A record has the calls of OnBeat: when they came, since it was made, and what they said.
type record struct {
	clock func() time.Duration
	mu    sync.Mutex
	lines []string
}

func newRecord() *record { return &record{clock: testutil.Clock()} }

func (l *record) onBeat(rtt time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.lines = append(l.lines, fmt.Sprintf("%v: %v", l.clock(), err))
	} else {
		l.lines = append(l.lines, fmt.Sprintf("%v: %v", l.clock(), rtt))
	}
}

// want waits until every goroutine waits, checks the calls since the last want, and forgets them.
func (l *record) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(lines, l.lines); diff != "" {
		t.Errorf("OnBeat was called (-want +got)\n%s", diff)
	}
	l.lines = nil
}

// started starts a Heartbeat over one end of a simulated connection, and a server at the other.
func started(t *testing.T, link simnet.Link, cfg heartbeat.Config) (*heartbeat.Heartbeat, *simnet.Conn) {
	t.Helper()
	ours, theirs := testutil.SimPair(t, link)
	var server sync.WaitGroup
	server.Go(func() { _ = heartbeat.Serve(theirs) })
	h := start(t, ours, cfg)
	t.Cleanup(func() { _ = theirs.Close(); server.Wait() })
	return h, ours
}

// start starts a Heartbeat, and closes it when the test ends.
func start(t *testing.T, conn net.Conn, cfg heartbeat.Config) *heartbeat.Heartbeat {
	t.Helper()
	h, err := heartbeat.Start(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(); <-h.Done() })
	return h
}

// The first beat is sent at once, and one each Interval. OnBeat gets the round trip of each.
func TestBeatsComeEachInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		h, _ := started(t, simnet.Link{Delay: 30 * ms}, heartbeat.Config{Interval: 5 * s, OnBeat: l.onBeat})
		time.Sleep(12 * s)
		l.want(t, "60ms: 60ms", "5.06s: 60ms", "10.06s: 60ms")
		want := heartbeat.Stats{Answered: 3, RTT: 60 * ms, MinRTT: 60 * ms, SmoothedRTT: 60 * ms}
		if diff := cmp.Diff(want, h.Stats()); diff != "" {
			t.Errorf("Stats (-want +got)\n%s", diff)
		}
	})
}

// By default there is a beat each 10 s, and an answer may take 20 s.
func TestDefaultsAre10And20Seconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		_, conn := started(t, simnet.Link{}, heartbeat.Config{OnBeat: l.onBeat})
		time.Sleep(15 * s)
		conn.In().Stall()
		time.Sleep(30 * s)
		l.want(t, "0s: 1ns", "10s: 1ns", "40s: heartbeat: no answer within 20s")
	})
}

// An answer that is missing is reported after Tolerance, once for each beat. Beats that wait for it follow when it has come,
// and nothing has piled up.
func TestMissingAnswerIsReportedAfterTolerance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		h, conn := started(t, simnet.Link{Delay: 10 * ms}, heartbeat.Config{Interval: 10 * s, Tolerance: 3 * s, OnBeat: l.onBeat})
		time.Sleep(s)
		l.want(t, "20ms: 20ms")
		conn.In().Stall()
		time.Sleep(30 * s) // 31 s
		l.want(t, "13s: heartbeat: no answer within 3s", "23s: heartbeat: no answer within 3s")
		conn.In().Unstall()
		time.Sleep(30 * s)
		l.want(t, "31.03s: 20ms", "40.02s: 20ms", "50.02s: 20ms", "1m0.02s: 20ms")
		if st := h.Stats(); st.Unanswered != 2 || st.Answered != 5 {
			t.Errorf("Stats = %+v", st)
		}
	})
}

// ErrUnanswered is a net.Error that is a time-out.
func TestErrUnansweredIsATimeout(t *testing.T) {
	var err net.Error
	if !errors.As(fmt.Errorf("wrapped: %w", heartbeat.ErrUnanswered), &err) || !err.Timeout() {
		t.Errorf("%v is no time-out", heartbeat.ErrUnanswered)
	}
}

// A Tolerance that exceeds Interval holds up the next beat until the answer has come.
func TestToleranceMayExceedInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		started(t, simnet.Link{Delay: s}, heartbeat.Config{Interval: 500 * ms, Tolerance: 10 * s, OnBeat: l.onBeat})
		time.Sleep(5 * s)
		l.want(t, "2s: 2s", "4s: 2s")
	})
}

// SetInterval counts from the last beat, and SetTolerance also for a beat that is on its way.
func TestIntervalAndToleranceChangeWhileItRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		h, conn := started(t, simnet.Link{}, heartbeat.Config{Interval: 10 * s, Tolerance: 5 * s, OnBeat: l.onBeat})
		set := func(f func(time.Duration) error, d time.Duration) {
			t.Helper()
			if err := f(d); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * s)
		set(h.SetInterval, 4*s)
		time.Sleep(2 * s) // 5 s
		set(h.SetInterval, 500*ms)
		time.Sleep(100 * ms) // 5.1 s
		set(h.SetInterval, 0)
		time.Sleep(10 * s) // 15.1 s
		l.want(t, "0s: 1ns", "4s: 1ns", "5s: 1ns", "15s: 1ns")

		conn.In().Stall()
		time.Sleep(14 * s) // 29.1 s: the beat of 25 s has 0.9 s left
		set(h.SetTolerance, 4500*ms)
		time.Sleep(10 * s) // 39.1 s: so has that of 35 s
		set(h.SetTolerance, 2*s)
		l.want(t, "29.5s: heartbeat: no answer within 4.5s", "39.1s: heartbeat: no answer within 2s")
		set(h.SetTolerance, 0)
		time.Sleep(30 * s)
		l.want(t, "1m5s: heartbeat: no answer within 20s")
	})
}

// Beat measures at once, and leaves the beats at intervals as they are. It ends with its context.
func TestBeatMeasuresOnDemand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		h, conn := started(t, simnet.Link{Delay: 30 * ms}, heartbeat.Config{Interval: 10 * s, OnBeat: l.onBeat})
		time.Sleep(s)
		elapsed := testutil.Clock()
		rtt, err := h.Beat(t.Context())
		if rtt != 60*ms || err != nil {
			t.Errorf("Beat = %v, %v", rtt, err)
		}
		testutil.WantTime(t, "Beat returned", elapsed(), 60*ms)
		conn.In().Stall()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		elapsed = testutil.Clock()
		_, err = h.Beat(ctx)
		testutil.WantErr(t, "Beat", err, context.DeadlineExceeded)
		testutil.WantTime(t, "Beat returned", elapsed(), time.Minute)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = h.Beat(canceled)
		testutil.WantErr(t, "Beat", err, context.Canceled)
		conn.In().Unstall()
		if rtt, err := h.Beat(t.Context()); rtt != 60*ms || err != nil {
			t.Errorf("Beat = %v, %v", rtt, err)
		}
		if st := h.Stats(); st.Answered < 3 {
			t.Errorf("Stats = %+v", st)
		}
	})
}

// A round trip that is shorter than the clock's step is a nanosecond, and so known.
func TestBeatIsNeverZero(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h, _ := started(t, simnet.Link{}, heartbeat.Config{Interval: 10 * s})
		if rtt, err := h.Beat(t.Context()); err != nil || rtt != 1 {
			t.Errorf("Beat = %v, %v, want 1ns", rtt, err)
		}
		if got := h.Stats().RTT; got != 1 {
			t.Errorf("Stats.RTT = %v, want 1ns", got)
		}
	})
}

// Beats at the same time share one: of 1,000 calls, two beats go out.
func TestBeatsAtTheSameTimeShareOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		h := start(t, ours, heartbeat.Config{})
		synctest.Wait()
		var calls sync.WaitGroup
		for range 1000 {
			calls.Go(func() {
				if _, err := h.Beat(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		for n := range uint64(2) {
			var b [8]byte
			if _, err := io.ReadFull(theirs, b[:]); err != nil || binary.BigEndian.Uint64(b[:]) != n+1 {
				t.Fatalf("beat %d is %v, %v", n+1, b, err)
			}
			if _, err := theirs.Write(b[:]); err != nil {
				t.Fatal(err)
			}
		}
		calls.Wait()
		_ = theirs.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := theirs.Read(make([]byte, 1)); n > 0 {
			t.Errorf("more was sent: %d, %v", n, err)
		}
	})
}

// Close ends everything: the conn, Beat, and OnBeat, which is not called again.
func TestCloseEndsTheHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		h, conn := started(t, simnet.Link{}, heartbeat.Config{Interval: s, OnBeat: l.onBeat})
		time.Sleep(1500 * ms)
		conn.In().Stall()
		beat := testutil.Background(func() (time.Duration, error) { return h.Beat(context.Background()) })
		time.Sleep(s) // another beat is on its way, too
		l.want(t, "0s: 1ns", "1s: 1ns")
		for range 2 {
			if err := h.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		<-h.Done()
		testutil.WantErr(t, "Beat", (<-beat).Err, net.ErrClosed)
		_, err := h.Beat(t.Context())
		testutil.WantErr(t, "Beat after Close", err, net.ErrClosed)
		if want := "heartbeat: closed by this side"; err.Error() != want {
			t.Errorf("the error is %q, want %q", err, want)
		}
		testutil.WantErr(t, "Err", h.Err(), net.ErrClosed)
		_, err = conn.Write([]byte("x"))
		testutil.WantErr(t, "Write to the conn", err, net.ErrClosed)
		time.Sleep(time.Hour)
		l.want(t)
	})
}

// A heartbeat whose callback, Pinger or conn ends its goroutine, as FailNow of a test does, ends, and closes its conn.
func TestHeartbeatEndsIfACallbackIsGone(t *testing.T) {
	const want = "heartbeat: a callback has ended its goroutine (runtime.Goexit) and did not return"
	for _, where := range []string{"OnBeat", "Ping", "Read", "Write"} {
		bubble(t, func(t *testing.T) {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			gone := func(now string) {
				if now == where {
					runtime.Goexit()
				}
			}
			cfg := heartbeat.Config{Interval: s, OnBeat: func(time.Duration, error) { gone("OnBeat") }}
			var h *heartbeat.Heartbeat
			var err error
			if where == "Ping" {
				h, err = heartbeat.StartPinger(gonePinger(func() { gone("Ping") }), cfg)
			} else {
				go heartbeat.Serve(theirs)
				h, err = heartbeat.Start(&goneConn{ours, gone}, cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			<-h.Done()
			if err := h.Err(); err == nil || err.Error() != want {
				t.Errorf("%s: Err = %v", where, err)
			}
			if _, err := h.Beat(t.Context()); err == nil || err.Error() != want {
				t.Errorf("%s: Beat = %v", where, err)
			}
			if where != "Ping" {
				_, err = ours.Write([]byte("x"))
				testutil.WantErr(t, "Write to the conn", err, net.ErrClosed)
			}
		})
	}
}

type gonePinger func()

func (p gonePinger) Ping(context.Context) (time.Duration, error) {
	p()
	return 0, nil
}

type goneConn struct {
	net.Conn
	gone func(method string)
}

func (c *goneConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gone("Read")
	return n, err
}

func (c *goneConn) Write(p []byte) (int, error) {
	c.gone("Write")
	return c.Conn.Write(p)
}

// The end of the conn is reported at once, also between two beats, and OnBeat is not called again.
func TestEndOfTheConnIsReportedAtOnce(t *testing.T) {
	reset := errors.New("reset")
	for name, e := range map[string]struct {
		end  func(h *heartbeat.Heartbeat, theirs *simnet.Conn)
		want error
	}{
		"the peer closes":       {func(_ *heartbeat.Heartbeat, theirs *simnet.Conn) { _ = theirs.Close() }, io.EOF},
		"the connection breaks": {func(_ *heartbeat.Heartbeat, theirs *simnet.Conn) { theirs.Break(reset) }, reset},
		"garbage": {func(_ *heartbeat.Heartbeat, theirs *simnet.Conn) {
			_, _ = theirs.Write([]byte("HTTP/1.1 400 Bad Request"))
		}, heartbeat.ErrProtocol},
		"an answer that nobody asked for": {func(_ *heartbeat.Heartbeat, theirs *simnet.Conn) {
			_, _ = theirs.Write(make([]byte, 8))
		}, heartbeat.ErrProtocol},
		"half an answer": {func(_ *heartbeat.Heartbeat, theirs *simnet.Conn) {
			_, _ = theirs.Write(make([]byte, 4))
			_ = theirs.Close()
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				var last error
				calls := 0
				var h *heartbeat.Heartbeat
				started := make(chan struct{})
				h = start(t, ours, heartbeat.Config{OnBeat: func(_ time.Duration, err error) {
					<-started
					calls++
					last = err
					if err != nil && !errors.Is(h.Err(), err) {
						t.Errorf("in OnBeat, Err = %v", h.Err())
					}
				}})
				close(started)
				var b [8]byte
				if _, err := io.ReadFull(theirs, b[:]); err != nil {
					t.Fatal(err)
				}
				if _, err := theirs.Write(b[:]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(s)
				elapsed := testutil.Clock()
				e.end(h, theirs)
				<-h.Done()
				testutil.WantTime(t, "the heartbeat ended", elapsed(), 0)
				testutil.WantErr(t, "OnBeat", last, e.want)
				testutil.WantErr(t, "Err", h.Err(), e.want)
				_, err := h.Beat(t.Context())
				testutil.WantErr(t, "Beat", err, e.want)
				_, err = ours.Write([]byte("x"))
				testutil.WantErr(t, "Write to the conn", err, net.ErrClosed)
				if calls != 2 {
					t.Errorf("OnBeat was called %d times", calls)
				}
			})
		})
	}
}

// OnBeat may call anything on the Heartbeat.
func TestOnBeatMayCallAnything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		calls := 0
		var h *heartbeat.Heartbeat
		ready := make(chan struct{})
		h, _ = started(t, simnet.Link{}, heartbeat.Config{Interval: s, OnBeat: func(time.Duration, error) {
			<-ready
			if calls++; calls == 3 {
				_ = h.Close()
				return
			}
			if _, err := h.Beat(context.Background()); err != nil {
				t.Error(err)
			}
			_, _, _ = h.SetInterval(2*s), h.SetTolerance(s), h.Stats()
		}})
		close(ready)
		<-h.Done()
		if calls != 3 {
			t.Errorf("OnBeat was called %d times", calls)
		}
	})
}

// A conn whose peer does not read blocks no call: Beat ends with its context, Close at once.
func TestConnThatTakesNothingBlocksNoCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		ours, theirs := testutil.SimPair(t, simnet.Link{Buffer: 1, ReadBuffer: 1})
		h := start(t, ours, heartbeat.Config{Interval: 10 * s, Tolerance: 5 * s, OnBeat: l.onBeat})
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		_, err := h.Beat(ctx)
		testutil.WantErr(t, "Beat", err, context.DeadlineExceeded)
		time.Sleep(20 * s)
		l.want(t, "5s: heartbeat: no answer within 5s", "15s: heartbeat: no answer within 5s")
		elapsed := testutil.Clock()
		_ = h.Close()
		<-h.Done()
		testutil.WantTime(t, "Close", elapsed(), 0)
		_ = theirs.Close()
	})
}

// A bad argument is an error that names it, and changes nothing. A nil context panics.
func TestBadArgumentsAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var nilConn *net.TCPConn
		var nilSession *session.Session
		ours, _ := testutil.SimPair(t, simnet.Link{})
		bad := func(want string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want an error with %q", err, want)
			}
		}
		second := func(_ *heartbeat.Heartbeat, err error) error { return err }
		bad("conn is nil", second(heartbeat.Start(nil, heartbeat.Config{})))
		bad("conn is nil", second(heartbeat.Start(nilConn, heartbeat.Config{})))
		bad("Pinger is nil", second(heartbeat.StartPinger(nil, heartbeat.Config{})))
		bad("Pinger is nil", second(heartbeat.StartPinger(nilSession, heartbeat.Config{})))
		both := heartbeat.Config{Interval: -1, Tolerance: time.Microsecond}
		for _, want := range []string{"Interval is -1ns", "Tolerance is 1µs"} {
			bad(want, second(heartbeat.Start(ours, both)))
			bad(want, second(heartbeat.StartPinger(new(session.Session), both)))
		}
		if _, err := ours.Write([]byte("x")); err != nil {
			t.Errorf("conn is not the caller's any more: %v", err)
		}
		h := start(t, ours, heartbeat.Config{})
		bad("Interval is 1ns", h.SetInterval(1))
		bad("Tolerance is -1ns", h.SetTolerance(-1))
		defer func() {
			if recover() == nil {
				t.Error("a nil context does not panic")
			}
		}()
		_, _ = h.Beat(nil) //nolint:staticcheck // that is the test
	})
}

// Serve writes back what it reads, in whatever pieces, and returns nil when the peer has closed.
func TestServeEchoesToTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, theirs := testutil.SimPair(t, simnet.Link{MaxRead: 3})
		served := testutil.BackgroundErr(func() error { return heartbeat.Serve(theirs) })
		data := testutil.Pattern(1).Bytes(10_000)
		go func() {
			_, _ = ours.Write(data)
			_ = ours.CloseWrite()
		}()
		got, err := io.ReadAll(ours)
		if err != nil || string(got) != string(data) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		testutil.WantErr(t, "Serve", (<-served).Err, nil)
		_, err = theirs.Write([]byte("x"))
		testutil.WantErr(t, "Write to the conn", err, net.ErrClosed)
	})
}

// Serve returns the error of a conn that fails, or that this side closes.
func TestServeReturnsTheConnsError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reset := errors.New("reset")
		_, theirs := testutil.SimPair(t, simnet.Link{})
		served := testutil.BackgroundErr(func() error { return heartbeat.Serve(theirs) })
		synctest.Wait()
		theirs.Break(reset)
		testutil.WantErr(t, "Serve", (<-served).Err, reset)

		_, theirs = testutil.SimPair(t, simnet.Link{})
		served = testutil.BackgroundErr(func() error { return heartbeat.Serve(theirs) })
		synctest.Wait()
		_ = theirs.Close()
		testutil.WantErr(t, "Serve", (<-served).Err, net.ErrClosed)
	})
}

// A heartbeat works over every kind of net.Conn.
func TestHeartbeatOverEveryConn(t *testing.T) {
	for _, tr := range testutil.Transports() {
		if !tr.Deadlines {
			continue
		}
		t.Run(tr.Name, func(t *testing.T) {
			testutil.LeakCheck(t)
			a, b := tr.Pair(t)
			served := testutil.BackgroundErr(func() error { return heartbeat.Serve(b.(net.Conn)) })
			beats := make(chan error, 1000)
			h := start(t, a.(net.Conn), heartbeat.Config{Interval: heartbeat.MinInterval, OnBeat: func(_ time.Duration, err error) {
				select {
				case beats <- err:
				default:
				}
			}})
			for range 5 {
				if err := <-beats; err != nil {
					t.Error(err)
				}
				if _, err := h.Beat(t.Context()); err != nil {
					t.Error(err)
				}
			}
			_ = h.Close()
			<-h.Done()
			if err := (<-served).Err; err != nil && tr.Name == "sim" {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}
