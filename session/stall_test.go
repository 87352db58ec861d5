package session_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// What a StallPolicy does when everything that may be held is unread.

// stallBuffer is the MaxReceiveBuffer of these tests.
const stallBuffer = 4 * mib

// events collects the events of a session.
type events struct {
	mu  sync.Mutex
	all []session.Event
	at  []time.Duration
}

func (e *events) config(version int, policy session.StallPolicy) *session.Config {
	elapsed := clock()
	return &session.Config{
		Version: version, MaxReceiveBuffer: stallBuffer, StallPolicy: policy,
		OnEvent: func(ev session.Event) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.all = append(e.all, ev)
			e.at = append(e.at, elapsed())
		},
	}
}

func (e *events) list() ([]session.Event, []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all, e.at
}

// stallPath is fast: the budget is full after a few milliseconds.
var stallPath = path(8*simnet.Gbit, time.Millisecond)

// ping proves that a stream works within a second, one way.
func ping(t *testing.T, out, in *stream.Stream) {
	t.Helper()
	if err := pinged(out, in); err != nil {
		t.Fatalf("stream %d: %v", out.ID(), err)
	}
}

func pinged(out, in *stream.Stream) error {
	if _, err := out.Write([]byte("ping")); err != nil {
		return err
	}
	if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.ReadFull(in, make([]byte, 4)); err != nil {
		return err
	}
	return in.SetReadDeadline(time.Time{})
}

// Version 1 has no windows: by default a stream that nobody reads stops all of them, for as long
// as that lasts, and they go on as soon as it is read. Neither side takes the other for dead.
func TestByDefaultAnUnreadStreamOfVersion1StopsAllUntilItIsRead(t *testing.T) {
	for name, policy := range map[string]session.StallPolicy{"no policy": nil, "Wait": session.Wait} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var ev events
				c, s := over(t, stallPath, &session.Config{Version: 1}, ev.config(1, policy))
				outs, ins := openMany(t, c, s, 2)
				const size = 2 * stallBuffer
				sent := background(func() (int64, error) { return testutil.Pattern(1).Send(outs[0], size, 64*kib) })
				time.Sleep(time.Minute)
				if err := pinged(outs[1], ins[1]); err == nil {
					t.Error("a stream went on while the buffer was full")
				}
				if unread := s.Stats().Unread; unread < stallBuffer || unread > stallBuffer+session.DefaultMaxFrameSize {
					t.Errorf("%d bytes are unread, want %d and less than a frame more", unread, stallBuffer)
				}
				time.Sleep(24 * time.Hour)
				if c.Err() != nil || s.Err() != nil {
					t.Fatalf("a session ended: %v, %v", c.Err(), s.Err())
				}
				v := testutil.Pattern(1).Verifier()
				pull(t, io.TeeReader(ins[0], v), size, nil)
				if r := <-sent; r.err != nil {
					t.Error(r.err)
				}
				if err := ins[1].SetReadDeadline(time.Time{}); err != nil {
					t.Fatal(err)
				}
				pull(t, ins[1], 4, nil)
				ping(t, outs[1], ins[1])
				if list, _ := ev.list(); len(list) > 0 {
					t.Errorf("events %v, want none", list)
				}
			})
		})
	}
}

// A stalled session: more was sent than it may hold, most of it on the first of its streams, and
// nobody reads.
type stalled struct {
	c, s      *session.Session
	outs, ins []*stream.Stream
	sizes     []int64
	sent      []<-chan result[int64]
}

// stall stalls a session whose server has this Config. Without its first stream it would not be stalled.
func stall(t *testing.T, cfg *session.Config) *stalled {
	t.Helper()
	// With so large a round trip all is under way before a peer of version 2 learns that it is
	// granted less.
	x := new(stalled)
	x.c, x.s = over(t, path(8*simnet.Gbit, 100*time.Millisecond), &session.Config{Version: cfg.Version}, cfg)
	const n = 40
	for i := range n {
		size := int64(100 * kib)
		switch {
		case i == 0 && cfg.Version == 1:
			size = 3 * mib
		case i == 0:
			size = 256 * kib
		}
		out := mustOpen(t, x.c)
		x.outs, x.sizes = append(x.outs, out), append(x.sizes, size)
		x.sent = append(x.sent, background(func() (int64, error) { return testutil.Pattern(i).Send(out, size, 64*kib) }))
		synctest.Wait()
		if i == 0 && cfg.Version == 1 {
			time.Sleep(10 * time.Millisecond) // or the others would be sent alongside
		}
	}
	for range n {
		x.ins = append(x.ins, accept(t, x.s))
	}
	return x
}

// Abort closes the stream that holds most unread bytes once the budget has been full for that long
// while nothing was taken from it. Its reader gets stream.ErrStalled, its peer learns that
// nobody will read it, an event says so, and the others go on and have lost nothing.
func TestAbortClosesTheStreamThatHoldsMostAndTheOthersGoOn(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		const after = 5 * time.Second
		var ev events
		var log bytes.Buffer
		cfg := ev.config(version, session.Abort(after))
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		x := stall(t, cfg)
		time.Sleep(after - 500*time.Millisecond)
		if list, _ := ev.list(); len(list) > 0 {
			t.Fatalf("events %v after less than %v", list, after)
		}
		time.Sleep(time.Second)
		list, at := ev.list()
		if len(list) != 1 {
			t.Fatalf("%d events, want one", len(list))
		}
		e := list[0]
		t.Logf("after %v: %v, stream %d, %d KiB thrown away", at[0], e.Kind, e.StreamID, e.Unread/kib)
		if e.Kind != session.StreamAborted || e.Session != x.s || e.StreamID != x.ins[0].ID() || int64(e.Unread) != x.sizes[0] {
			t.Errorf("event %+v, want that stream %d was aborted, with %d bytes", e, x.ins[0].ID(), x.sizes[0])
		}
		if !strings.Contains(log.String(), "stream aborted") {
			t.Errorf("the log does not tell:\n%s", log.String())
		}

		_, err := x.ins[0].Read(make([]byte, 1))
		wantStalled(t, "Read", err)
		_, err = x.ins[0].Write(make([]byte, 1))
		wantStalled(t, "Write", err)
		if r := <-x.sent[0]; r.err != nil {
			t.Errorf("the peer's Write, which had been taken: %v", r.err)
		}
		_, err = x.outs[0].Write(make([]byte, 100_000))
		for range 2 {
			time.Sleep(time.Second)
			_, err = x.outs[0].Write(make([]byte, 100_000))
		}
		wantErr(t, "the peer's later Write", err, stream.ErrPeerClosed)

		for i := 1; i < len(x.outs); i++ {
			v := testutil.Pattern(i).Verifier()
			pull(t, io.TeeReader(x.ins[i], v), x.sizes[i], nil)
			if r := <-x.sent[i]; r.err != nil {
				t.Error(r.err)
			}
			ping(t, x.outs[i], x.ins[i])
			ping(t, x.ins[i], x.outs[i])
		}
		out, in := open(t, x.c, x.s)
		ping(t, out, in)
		if list, _ := ev.list(); len(list) > 1 {
			t.Errorf("%d more events", len(list)-1)
		}
	})
}

// Calls that are blocked on the stream when it is aborted end with ErrStalled.
func TestAWriteThatIsBlockedOnAnAbortedStreamFails(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, session.Abort(5*time.Second)))
		// The other way is full as well: the peer does not read it, either.
		blocked := background(func() (int64, error) { return push(x.ins[0], 1<<40, 64*kib) })
		time.Sleep(10 * time.Second)
		if list, _ := ev.list(); len(list) != 1 {
			t.Fatalf("%d events, want one", len(list))
		}
		r := <-blocked
		wantStalled(t, "Write", r.err)
	})
}

// As long as the buffer stays full, one stream after the other is aborted, and no more of them
// than it takes.
func TestAbortTakesOneStreamAfterTheOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = time.Second
		var ev events
		c, s := over(t, stallPath, &session.Config{Version: 1}, ev.config(1, session.Abort(after)))
		outs, ins := openMany(t, c, s, 4)
		// Each of the first three alone exceeds the buffer.
		for _, out := range outs[:3] {
			go pushFor(out, 64*kib)
		}
		go func() {
			for pinged(outs[3], ins[3]) != nil {
			}
		}()
		time.Sleep(10 * time.Second)
		list, at := ev.list()
		var ids []uint32
		for i, e := range list {
			ids = append(ids, e.StreamID)
			t.Logf("%v: stream %d, %d KiB", at[i], e.StreamID, e.Unread/kib)
			if i > 0 && at[i]-at[i-1] < after {
				t.Errorf("stream %d was aborted %v after the one before, want %v at least", e.StreamID, at[i]-at[i-1], after)
			}
		}
		if len(ids) != 3 {
			t.Errorf("streams %v were aborted, want three", ids)
		}
		ping(t, outs[3], ins[3])
	})
}

// A stream whose reader takes something now and then is not aborted, however slow it is: another is,
// if there is one whose reader takes nothing.
func TestAbortSparesAStreamThatIsReadSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = 5 * time.Second
		var ev events
		c, s := over(t, stallPath, &session.Config{Version: 1}, ev.config(1, session.Abort(after)))
		outs, ins := openMany(t, c, s, 2)
		go func() { _, _ = push(outs[1], mib, mib) }()
		time.Sleep(time.Second)
		go pushFor(outs[0], 64*kib) // holds most, and is read slowly
		slow := background(func() (int, error) {
			for range 100 {
				time.Sleep(after - time.Second)
				if _, err := ins[0].Read(make([]byte, 100)); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		if r := <-slow; r.err != nil {
			t.Errorf("the stream that is read slowly: %v", r.err)
		}
		list, _ := ev.list()
		for _, e := range list {
			if e.StreamID == ins[0].ID() {
				t.Error("it was aborted")
			}
		}
		t.Logf("%d events", len(list))
	})
}

// A stall that ends in time is nobody's end.
func TestAbortWaitsForAStallThatEndsInTime(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, session.Abort(5*time.Second)))
		time.Sleep(4 * time.Second)
		var wg sync.WaitGroup
		for i, in := range x.ins {
			wg.Go(func() {
				v := testutil.Pattern(i).Verifier()
				pull(t, io.TeeReader(in, v), x.sizes[i], nil)
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none", list)
		}
	})
}

// A policy of one's own is asked at every stall.
func TestAStallPolicyOfOnesOwnIsAsked(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, patienceOf(42*time.Second)))
		time.Sleep(41 * time.Second)
		if list, _ := ev.list(); len(list) > 0 {
			t.Fatalf("events %v too soon", list)
		}
		time.Sleep(2 * time.Second)
		if list, _ := ev.list(); len(list) != 1 || list[0].StreamID != x.ins[0].ID() {
			t.Errorf("events %v, want one", list)
		}
	})
}

type patienceOf time.Duration

func (p patienceOf) Patience() time.Duration { return time.Duration(p) }

// The policy's watch does not outlive the session.
func TestASessionThatEndsWhileItIsStalledLeavesNothingBehind(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, session.Abort(time.Hour)))
		time.Sleep(time.Minute)
		elapsed := clock()
		if err := x.s.Close(); err != nil {
			t.Error(err)
		}
		_ = x.c.Close() // with what the peer did not take
		if took := elapsed(); took > 6*time.Second {
			t.Errorf("closing both ends took %v", took)
		}
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none", list)
		}
	})
}

func wantStalled(t *testing.T, what string, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, stream.ErrStalled) || !errors.As(err, &op) {
		t.Errorf("%s: error %v, want a *net.OpError around %v", what, err, stream.ErrStalled)
	}
}
