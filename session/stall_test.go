package session_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// StallTimeout: the whole budget is unread.

// stallBuffer is the MaxReceiveBuffer of these tests.
const stallBuffer = 4 * testutil.MiB

// A stallEvent is a call of Trace.StreamStalled.
type stallEvent struct {
	Session  *session.Session
	StreamID uint32
	Unread   int
}

// events records the events of a session.
type events struct {
	mu  sync.Mutex
	all []stallEvent
	at  []time.Duration
}

func (e *events) config(version int, stallTimeout time.Duration) *session.Config {
	elapsed := testutil.Clock()
	return &session.Config{
		Version: version, MaxReceiveBuffer: stallBuffer, StallTimeout: stallTimeout,
		Trace: &session.Trace{StreamStalled: func(s *session.Session, st *stream.Stream, unread int) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.all = append(e.all, stallEvent{s, st.ID(), unread})
			e.at = append(e.at, elapsed())
		}},
	}
}

func (e *events) list() ([]stallEvent, []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all, e.at
}

// stallPath is so fast that the budget is full after a few milliseconds.
var stallPath = path(8*simnet.Gbit, time.Millisecond)

// ping checks that a stream carries data in one direction within a second.
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

// Version 1 has no windows: by default a stream that nobody reads stops all of them until it is read. Neither side
// gives the other up.
func TestUnreadStreamOfVersion1StopsAllByDefault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ev events
		c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, ev.config(1, 0))
		outs, ins := openPairs(t, c, s, 2)
		const size = 2 * stallBuffer
		sent := testutil.Background(func() (int64, error) { return testutil.Pattern(1).Send(outs[0], size, 64*testutil.KiB) })
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
		readN(t, io.TeeReader(ins[0], v), size, nil)
		if r := <-sent; r.Err != nil {
			t.Error(r.Err)
		}
		if err := ins[1].SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		readN(t, ins[1], 4, nil)
		ping(t, outs[1], ins[1])
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none", list)
		}
	})
}

// stalled is a session that was sent more than it may hold, most of it on its first stream, and that nobody reads.
type stalled struct {
	c, s      *session.Session
	outs, ins []*stream.Stream
	sizes     []int64
	sent      []<-chan testutil.Result[int64]
}

// stall stalls a session whose server has this Config. It would not be stalled without its first stream.
func stall(t *testing.T, cfg *session.Config) *stalled {
	t.Helper()
	// With this round-trip time everything is under way before a peer of version 2 learns that it is granted less.
	x := new(stalled)
	x.c, x.s = sessionsOver(t, path(8*simnet.Gbit, 100*time.Millisecond), &session.Config{Version: cfg.Version}, cfg)
	const n = 40
	for i := range n {
		size := int64(100 * testutil.KiB)
		switch {
		case i == 0 && cfg.Version == 1:
			size = 3 * testutil.MiB
		case i == 0:
			size = 256 * testutil.KiB
		}
		out := open(t, x.c)
		x.outs, x.sizes = append(x.outs, out), append(x.sizes, size)
		x.sent = append(x.sent, testutil.Background(func() (int64, error) { return testutil.Pattern(i).Send(out, size, 64*testutil.KiB) }))
		synctest.Wait()
		if i == 0 && cfg.Version == 1 {
			time.Sleep(10 * time.Millisecond) // else the others would be sent at the same time
		}
	}
	for range n {
		x.ins = append(x.ins, accept(t, x.s))
	}
	return x
}

// Once the buffer has been full for StallTimeout, the fullest streams of those that nobody read are aborted, until
// half of what these hold is free. Their readers get stream.ErrStalled, and an event reports them. Half a round trip later,
// their peer reads io.EOF and learns that nobody will read them. The others go on and have lost nothing.
func TestStallTimeoutAbortsTheFullestStreams(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const after = 5 * time.Second
		var ev events
		elapsed := testutil.Clock()
		x := stall(t, ev.config(version, after))
		ends := map[string]<-chan testutil.Result[time.Duration]{
			"the peer's Read": testutil.Background(func() (time.Duration, error) {
				_, err := io.Copy(io.Discard, x.outs[0])
				return elapsed(), err
			}),
			"the peer's Done": testutil.Background(func() (time.Duration, error) { <-x.outs[0].Done(); return elapsed(), nil }),
		}
		time.Sleep(after - 500*time.Millisecond)
		if list, _ := ev.list(); len(list) > 0 {
			t.Fatalf("events %v after less than %v", list, after)
		}
		held := x.s.Stats().Unread
		time.Sleep(time.Second)
		synctest.Wait()
		list, at := ev.list()
		if len(list) == 0 {
			t.Fatal("no stream was aborted")
		}
		aborted := map[uint32]bool{}
		freed := 0
		for i, e := range list {
			aborted[e.StreamID] = true
			freed += e.Unread
			if e.Session != x.s || at[i] != at[0] {
				t.Errorf("event %+v after %v", e, at[i])
			}
		}
		t.Logf("after %v: %d streams aborted, %d of %d KiB thrown away", at[0], len(list), freed/testutil.KiB, held/testutil.KiB)
		if e := list[0]; e.StreamID != x.ins[0].ID() || int64(e.Unread) != x.sizes[0] {
			t.Errorf("the first event is %+v, want that of stream %d, with %d bytes", e, x.ins[0].ID(), x.sizes[0])
		}
		if last := list[len(list)-1].Unread; freed < held/2 || freed-last >= (held+1)/2 {
			t.Errorf("%d of %d bytes were freed, want half of them, and no more than that takes", freed, held)
		}

		for what, end := range ends {
			r := <-end
			testutil.WantErr(t, what, r.Err, nil)
			if d := r.Value - at[0]; d < 50*time.Millisecond || d > 50*time.Millisecond+2*lazyFIN {
				t.Errorf("%s after %v", what, d)
			}
		}
		_, err := x.ins[0].Read(make([]byte, 1))
		wantStalled(t, "Read", err)
		_, err = x.ins[0].Write(make([]byte, 1))
		wantStalled(t, "Write", err)
		if r := <-x.sent[0]; r.Err != nil {
			t.Errorf("the peer's Write, which had been taken: %v", r.Err)
		}
		_, err = x.outs[0].Write(make([]byte, 100_000))
		for range 2 {
			time.Sleep(time.Second)
			_, err = x.outs[0].Write(make([]byte, 100_000))
		}
		testutil.WantErr(t, "the peer's later Write", err, stream.ErrPeerClosed)

		for i := 1; i < len(x.outs); i++ {
			if aborted[x.ins[i].ID()] {
				continue
			}
			v := testutil.Pattern(i).Verifier()
			readN(t, io.TeeReader(x.ins[i], v), x.sizes[i], nil)
			if r := <-x.sent[i]; r.Err != nil {
				t.Error(r.Err)
			}
			ping(t, x.outs[i], x.ins[i])
			ping(t, x.ins[i], x.outs[i])
		}
		out, in := openPair(t, x.c, x.s)
		ping(t, out, in)
		if more, _ := ev.list(); len(more) > len(list) {
			t.Errorf("%d more events", len(more)-len(list))
		}
	})
}

// Calls that are blocked on a stream end with ErrStalled when it is aborted.
func TestStallTimeoutEndsBlockedCalls(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, 5*time.Second))
		// The other direction is full as well: the peer does not read.
		blocked := testutil.Background(func() (int64, error) { return writeN(x.ins[0], 1<<40, 64*testutil.KiB) })
		time.Sleep(10 * time.Second)
		if list, _ := ev.list(); len(list) == 0 || list[0].StreamID != x.ins[0].ID() {
			t.Fatalf("events %v, want one of stream %d first", list, x.ins[0].ID())
		}
		r := <-blocked
		wantStalled(t, "Write", r.Err)
	})
}

// If the peer fills what becomes free and nobody reads, streams are aborted after each StallTimeout.
func TestStallTimeoutCountsAnewAfterEachStall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = time.Second
		var ev events
		c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, ev.config(1, after))
		outs, ins := openPairs(t, c, s, 4)
		// Each of the first three alone exceeds the buffer.
		for _, out := range outs[:3] {
			go writeUntilEnd(out, 64*testutil.KiB)
		}
		go func() {
			for pinged(outs[3], ins[3]) != nil {
			}
		}()
		time.Sleep(10 * time.Second)
		list, at := ev.list()
		aborted := map[uint32]bool{}
		for i, e := range list {
			aborted[e.StreamID] = true
			t.Logf("%v: stream %d, %d KiB", at[i], e.StreamID, e.Unread/testutil.KiB)
			if i > 0 && at[i] != at[i-1] && at[i]-at[i-1] < after {
				t.Errorf("stream %d was aborted %v after the one before, want %v at least", e.StreamID, at[i]-at[i-1], after)
			}
		}
		if len(list) != 3 || len(aborted) != 3 || aborted[ins[3].ID()] {
			t.Errorf("streams %v were aborted, want the first three", aborted)
		}
		ping(t, outs[3], ins[3])
	})
}

// A stream whose reader takes something now and then is not aborted. The room that it makes does not delay the end
// of streams that nobody reads.
func TestStallTimeoutSparesAStreamThatIsReadSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = 5 * time.Second
		var ev events
		c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, ev.config(1, after))
		outs, ins := openPairs(t, c, s, 2)
		go func() { _, _ = writeN(outs[1], testutil.MiB, testutil.MiB) }()
		time.Sleep(time.Second)
		go writeUntilEnd(outs[0], 64*testutil.KiB) // holds most, and is read slowly
		for range 100 {
			time.Sleep(after - time.Second)
			if _, err := ins[0].Read(make([]byte, 100)); err != nil {
				t.Fatalf("the stream that is read slowly: %v", err)
			}
		}
		list, at := ev.list()
		if len(list) != 1 || list[0].StreamID != ins[1].ID() || list[0].Unread != testutil.MiB {
			t.Fatalf("events %v, want one, of the stream that is not read", list)
		}
		if most := time.Second + 2*after; at[0] > most {
			t.Errorf("the stream that is not read was aborted after %v, want %v at most", at[0], most)
		}
	})
}

// Data that arrives while other data waits for StallTimeout has all of StallTimeout to be read in.
func TestStallTimeoutCountsFromTheDatasArrival(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = 5 * time.Second
		var ev events
		c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, ev.config(1, after))
		outs, ins := openPairs(t, c, s, 2)
		go writeUntilEnd(outs[0], 64*testutil.KiB)
		time.Sleep(after / 2)
		// Room for one frame, which the other stream's data takes.
		out := testutil.Background(func() (int, error) { return outs[1].Write(make([]byte, 1000)) })
		readN(t, ins[0], 256*testutil.KiB, nil)
		<-out
		time.Sleep(after/2 + time.Second)
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none: one stream was read, the other has waited for too short a time", list)
		}
		readN(t, ins[1], 1000, nil)
	})
}

// A session whose buffer is always full but which goes on at a rate is slow, not stalled: none of its streams is
// aborted, even one that is unread for long.
func TestStallTimeoutLeavesASlowSessionAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const after = 5 * time.Second
		var ev events
		c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, ev.config(1, after))
		outs, ins := openPairs(t, c, s, 2)
		if _, err := outs[1].Write(make([]byte, 64*testutil.KiB)); err != nil {
			t.Fatal(err)
		}
		go writeUntilEnd(outs[0], 64*testutil.KiB)
		for range 600 { // 640 KiB a second, half of the buffer in 3.2 s
			time.Sleep(100 * time.Millisecond)
			readN(t, ins[0], 64*testutil.KiB, nil)
		}
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none", list)
		}
		readN(t, ins[1], 64*testutil.KiB, nil)
	})
}

// A stall of 47,936 streams of 700 bytes is over after one StallTimeout. So is each stall of a peer that goes on
// like that, up to ten times what the session may hold.
func TestStallTimeoutFreesManySmallStreamsAtOnce(t *testing.T) {
	const size, after = 700, 10 * time.Second
	frames := 480_000
	if testutil.Race {
		frames = 60_000
	}
	full := session.DefaultMaxReceiveBuffer/size + 1 // streams that use up the buffer
	half := (full + 1) / 2
	bubble(t, func(t *testing.T) {
		var ev events
		cfg := ev.config(1, after)
		cfg.MaxReceiveBuffer = 0
		cfg.MaxStreams = 1 << 20 // streams count until their FINs are out
		cfg.KeepAlive = off
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		s := server(t, ours, cfg)
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		data := make([]byte, size)
		go func() {
			var b []byte
			for n := range frames {
				id := uint32(2*n + 1)
				b = testutil.SYN(wire.V1, id).Append(b[:0])
				b = testutil.PSH(wire.V1, id, data).Append(b)
				if _, err := theirs.Write(b); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		elapsed := testutil.Clock()
		time.Sleep(after - time.Second)
		if n := s.NumStreams(); n != full+1 { // the last one's data waits in the transport
			t.Fatalf("%d streams are open, want %d", n, full+1)
		}
		for s.Stats().FramesReceived < uint64(2*frames) {
			time.Sleep(after)
			if u := s.Stats().Unread; u > session.DefaultMaxReceiveBuffer+size {
				t.Fatalf("%d bytes are unread", u)
			}
		}
		list, at := ev.list()
		rounds := map[time.Duration]int{}
		for _, t := range at {
			rounds[t]++
		}
		t.Logf("%d streams aborted in %d rounds, %v", len(list), len(rounds), elapsed())
		for at, n := range rounds {
			if at%after != 0 || n != half {
				t.Errorf("%d streams aborted after %v", n, at)
			}
		}
		if want := (frames - full + half - 1) / half; len(rounds) != want {
			t.Errorf("%d rounds, want %d", len(rounds), want)
		}
		testutil.WantErr(t, "Err", s.Err(), nil)
	})
}

// A stall that ends in time aborts no stream.
func TestStallTimeoutWaitsForAStallThatEndsInTime(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, 5*time.Second))
		time.Sleep(4 * time.Second)
		var wg sync.WaitGroup
		for i, in := range x.ins {
			wg.Go(func() {
				v := testutil.Pattern(i).Verifier()
				readN(t, io.TeeReader(in, v), x.sizes[i], nil)
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if list, _ := ev.list(); len(list) > 0 {
			t.Errorf("events %v, want none", list)
		}
	})
}

// A session that ends while it is stalled leaves nothing behind.
func TestStalledSessionThatEndsLeavesNothingBehind(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var ev events
		x := stall(t, ev.config(version, time.Hour))
		time.Sleep(time.Minute)
		elapsed := testutil.Clock()
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
