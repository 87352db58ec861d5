package session_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Stats of sessions and streams, and Streams.

// wantClosed checks how the streams of a session have ended, and that each stream is open or has ended once.
func wantClosed(t *testing.T, s *session.Session, want session.ClosedStreams) {
	t.Helper()
	synctest.Wait()
	got := s.Stats()
	if diff := cmp.Diff(want, got.StreamsClosed); diff != "" {
		t.Errorf("StreamsClosed (-want +got)\n%s", diff)
	}
	if begun, sum := got.StreamsOpened+got.StreamsAccepted, uint64(got.StreamsOpen)+got.StreamsClosed.Total(); begun != sum {
		t.Errorf("%d streams have begun, and %d are open or have ended", begun, sum)
	}
}

// Stats counts each stream that has ended, by how it ended.
func TestStatsCountStreamsByTheirEnd(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Second}
		sc := cfg
		sc.AcceptBacklog = 2
		c, s := sessionsOver(t, simnet.Link{}, &cfg, &sc)
		out, in := openPair(t, c, s)
		_, _ = out.Close(), in.Close()
		time.Sleep(time.Second)
		wantClosed(t, c, session.ClosedStreams{Complete: 1})
		wantClosed(t, s, session.ClosedStreams{Complete: 1})

		var waiting []*stream.Stream
		for range 3 {
			waiting = append(waiting, open(t, c))
		}
		time.Sleep(time.Second)
		_ = waiting[2].Close() // refused at once
		time.Sleep(time.Second)
		wantClosed(t, c, session.ClosedStreams{Complete: 1, RefusedByPeer: 1})
		wantClosed(t, s, session.ClosedStreams{Complete: 1})

		accept(t, s)
		_ = s.Listener().Close()
		time.Sleep(5 * time.Second)
		_ = waiting[1].Close() // refused because nobody accepts it
		time.Sleep(time.Second)
		wantClosed(t, c, session.ClosedStreams{Complete: 1, RefusedByPeer: 2})
		wantClosed(t, s, session.ClosedStreams{Complete: 1, Refused: 1})
		if got := s.Stats().StreamsRefused; got != 2 {
			t.Errorf("StreamsRefused = %d, want 2", got)
		}

		_ = c.Close()
		wantClosed(t, c, session.ClosedStreams{Complete: 1, RefusedByPeer: 2, SessionEnded: 1})
		wantClosed(t, s, session.ClosedStreams{Complete: 1, Refused: 1, SessionEnded: 1})
	})
}

// Stats counts streams that StallTimeout has aborted, and those whose data was thrown away.
func TestStatsCountStreamsThatFail(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 * testutil.KiB, StallTimeout: time.Second})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		want := session.ClosedStreams{Stalled: 1}
		p.Send(t, r.pshs(id, make([]byte, 100_000))...)
		time.Sleep(3 * time.Second)
		_, err := st.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, stream.ErrStalled)
		wantClosed(t, s, want)
		if r.version == wire.V1 {
			return
		}
		id = r.theirs(1)
		p.Send(t, r.syn(id))
		st = accept(t, s)
		p.Send(t, testutil.UPD(r.version, id, 0, 0))
		synctest.Wait()
		_, _ = st.Write([]byte("for nobody"))
		p.Send(t, r.fin(id), r.fin(id))
		synctest.Wait()
		testutil.WantErr(t, "Close", st.Close(), stream.ErrPeerClosed)
		want.Dropped = 1
		wantClosed(t, s, want)
	})
}

// Stats counts streams that were closed because they were idle.
func TestStatsCountIdleStreams(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off, StreamIdleTimeout: time.Second}
		c, s := sessionsOver(t, simnet.Link{}, &cfg, &session.Config{Version: version, KeepAlive: off})
		_, in := openPair(t, c, s)
		time.Sleep(3 * time.Second)
		wantEOF(t, in)
		wantClosed(t, c, session.ClosedStreams{Idle: 1})
	})
}

// Stats counts streams whose window was overrun.
func TestStatsCountOverruns(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == wire.V1 {
			t.Skip("there is no window to overrun")
		}
		s, p := r.start(t, session.Config{MaxReceiveBuffer: testutil.MiB})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		accept(t, s)
		for range 20 {
			p.Send(t, r.psh(id, make([]byte, 32000)))
		}
		time.Sleep(time.Second)
		wantClosed(t, s, session.ClosedStreams{Overrun: 1})
	})
}

// The frames and bytes that one end has sent are those that the other has received.
func TestStatsOfBothEndsAgree(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		outs, ins := openPairs(t, c, s, 5)
		for i := range outs {
			sendMessage(t, outs[i], ins[i], 1+i*50_000)
			sendMessage(t, ins[i], outs[i], 1+i*10_000)
			_ = outs[i].Close()
			wantEOF(t, ins[i])
			_ = ins[i].Close()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-s.Done()
		session.AwaitSent(s)
		settle(tr)
		a, b := c.Stats(), s.Stats()
		if a.FramesSent != b.FramesReceived || a.BytesSent != b.BytesReceived {
			t.Errorf("sent %d frames of %d bytes, received %d of %d", a.FramesSent, a.BytesSent, b.FramesReceived, b.BytesReceived)
		}
	})
}

// Stats says how long Writes wait for the peer's window, also of one that waits now.
func TestStatsCountTheTimeBlockedOnAWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := session.Config{KeepAlive: off}
		c, s := sessionsOver(t, simnet.Link{}, &cfg, &cfg)
		out, in := openPair(t, c, s)
		go func() { _, _ = out.Write(make([]byte, 2*flow.InitialWindow)) }()
		time.Sleep(10 * time.Second)
		for _, got := range []time.Duration{out.Stats().BlockedOnWindow, c.Stats().BlockedOnWindow} {
			if got != 10*time.Second {
				t.Errorf("BlockedOnWindow = %v while Write waits, want 10s", got)
			}
		}
		readN(t, in, 2*flow.InitialWindow, nil)
		time.Sleep(10 * time.Second)
		got, all := out.Stats(), c.Stats()
		if got.BlockedOnWindow != 10*time.Second || all.BlockedOnWindow != 10*time.Second {
			t.Errorf("BlockedOnWindow = %v, and %v of the session, want 10s", got.BlockedOnWindow, all.BlockedOnWindow)
		}
		if got.BlockedOnTransport > time.Second || got.BlockedOnRate > 0 {
			t.Errorf("BlockedOnTransport = %v, BlockedOnRate = %v, want none", got.BlockedOnTransport, got.BlockedOnRate)
		}
	})
}

// Stats says how long Writes wait for the transport, and how long the peer's session does not read because its buffer is
// full.
func TestStatsCountTheTimeBlockedOnTransportAndBuffer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := session.Config{Version: 1, KeepAlive: off, MaxReceiveBuffer: 64 * testutil.KiB}
		c, s := sessionsOver(t, simnet.Link{Buffer: 10_000, ReadBuffer: 10_000}, &cfg, &cfg)
		out, in := openPair(t, c, s)
		go func() { _, _ = out.Write(make([]byte, testutil.MiB)) }()
		time.Sleep(10 * time.Second)
		check := func() {
			t.Helper()
			for _, got := range []time.Duration{
				out.Stats().BlockedOnTransport, c.Stats().BlockedOnTransport, s.Stats().BlockedOnBuffer,
			} {
				if got < 9*time.Second || got > 10*time.Second {
					t.Errorf("blocked for %v, want 10s", got)
				}
			}
		}
		check()
		readN(t, in, testutil.MiB, nil)
		time.Sleep(10 * time.Second)
		check()
	})
}

// Stats says how long Writes wait because of SetSendRate.
func TestStatsCountTheTimeBlockedOnARate(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off}
		c, s := sessionsOver(t, simnet.Link{}, &cfg, &cfg)
		out, in := openPair(t, c, s)
		out.SetSendRate(flow.Rate{BytesPerSecond: 10_000, Burst: 10_000})
		go func() { _, _ = out.Write(make([]byte, 110_000)) }()
		readN(t, in, 110_000, nil)
		synctest.Wait()
		for _, got := range []time.Duration{out.Stats().BlockedOnRate, c.Stats().BlockedOnRate} {
			if got < 9*time.Second || got > 11*time.Second {
				t.Errorf("blocked for %v, want 10s", got)
			}
		}
	})
}

// Stats of a stream says what it has carried, what it holds, and when that was, to 0.1 s.
func TestStreamStatsTellBytesAndTimes(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		within := func(what string, got, want time.Time) {
			t.Helper()
			if d := want.Sub(got); d < 0 || d > 101*time.Millisecond {
				t.Errorf("%s = %v, want %v or at most 0.1 s less", what, got, want)
			}
		}
		p.Send(t, r.nop())
		time.Sleep(3 * time.Second)
		mine := open(t, s)
		if got := mine.Stats(); !got.Opened.IsZero() || !got.LastActive.IsZero() {
			t.Errorf("before the SYN was sent: opened %v, active %v", got.Opened, got.LastActive)
		}
		time.Sleep(7*time.Second + 250*time.Millisecond)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		begin := time.Now()
		st := accept(t, s)
		within("Opened of a stream of this side", mine.Stats().Opened, begin.Add(-7250*time.Millisecond+time.Millisecond))
		within("Opened", st.Stats().Opened, begin)
		within("LastActive", st.Stats().LastActive, begin)

		time.Sleep(time.Minute)
		p.Send(t, r.psh(id, make([]byte, 1000)))
		synctest.Wait()
		got := st.Stats()
		within("Opened", got.Opened, begin)
		within("LastActive after data has arrived", got.LastActive, time.Now())
		if got.BytesReceived != 1000 || got.BytesSent != 0 || got.Unread != 1000 {
			t.Errorf("after 1000 bytes have arrived: %+v", got)
		}

		time.Sleep(time.Minute)
		if _, err := st.Write(make([]byte, 70)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got = st.Stats()
		within("LastActive after Write", got.LastActive, time.Now())
		if got.BytesReceived != 1000 || got.BytesSent != 70 || got.Unsent != 0 {
			t.Errorf("after Write of 70 bytes: %+v", got)
		}
		window := []int{got.SendWindow, got.ReceiveWindow}
		want := []int{0, 0}
		if r.version == wire.V2 {
			want = []int{flow.InitialWindow - 70, flow.InitialWindow}
		}
		if !slices.Equal(window, want) {
			t.Errorf("windows %v, want %v", window, want)
		}

		at := time.Now()
		time.Sleep(time.Minute)
		readN(t, st, 1000, nil)
		p.Send(t, r.fin(id))
		synctest.Wait()
		got = st.Stats()
		within("LastActive after Read", got.LastActive, at)
		_ = st.Close()
		time.Sleep(time.Second)
		if got := st.Stats(); got.BytesReceived != 1000 || got.BytesSent != 70 || got.Unread != 0 {
			t.Errorf("after Close: %+v", got)
		}
	})
}

// Streams returns the open streams in the order of their ids, those that wait to be accepted included.
func TestStreamsReturnsTheOpenStreams(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off}
		c, s := sessionsOver(t, simnet.Link{}, &cfg, &cfg)
		outs, ins := openPairs(t, c, s, 5)
		_, _ = outs[2].Close(), ins[2].Close()
		mine := open(t, s)
		open(t, c) // waits
		time.Sleep(time.Second)
		ids := func() (list []uint32) {
			for st := range s.Streams() {
				list = append(list, st.ID())
			}
			return list
		}
		if got, want := ids(), []uint32{1, 2, 3, 7, 9, 11}; !slices.Equal(got, want) {
			t.Errorf("Streams = %v, want %v", got, want)
		}
		for st := range s.Streams() { // the loop may change what it iterates over, and may end early
			_ = st.Close()
			if st == mine {
				break
			}
		}
		time.Sleep(time.Second)
		_, _ = outs[0].Close(), accept(t, c).Close()
		time.Sleep(time.Second)
		if got, want := ids(), []uint32{3, 7, 9, 11}; !slices.Equal(got, want) {
			t.Errorf("Streams = %v, want %v", got, want)
		}
		_ = s.Close()
		if got := ids(); len(got) > 0 {
			t.Errorf("Streams of a closed session = %v", got)
		}
	})
}

// A Read of zero bytes returns the error that a Read would return, and never blocks or takes anything.
func TestReadOfZeroBytesIsAProbe(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		probe := func(st *stream.Stream, what string, want error) {
			t.Helper()
			synctest.Wait()
			for _, b := range [][]byte{nil, {}} {
				n, err := st.Read(b)
				if n != 0 {
					t.Errorf("Read of zero bytes returned %d", n)
				}
				if want == io.EOF && err != io.EOF {
					t.Errorf("%s: the probe returns %v, want a bare io.EOF", what, err)
				}
				testutil.WantErr(t, what, err, want)
			}
		}
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		probe(st, "nothing has arrived", nil)
		p.Send(t, r.psh(id, []byte("data")), r.fin(id))
		probe(st, "data and FIN have arrived", nil)
		got := make([]byte, 4)
		if _, err := io.ReadFull(st, got); err != nil || string(got) != "data" {
			t.Errorf("Read = %q, %v", got, err)
		}
		probe(st, "all was read", io.EOF)
		_ = st.Close()
		_, closed := st.Read(make([]byte, 1))
		probe(st, "after Close", closed.(interface{ Unwrap() error }).Unwrap())

		mine := open(t, s)
		_ = mine.SetReadDeadline(time.Now().Add(-time.Second))
		_, late := mine.Read(make([]byte, 1))
		probe(mine, "after the deadline", late.(interface{ Unwrap() error }).Unwrap())
		_ = mine.SetReadDeadline(time.Time{})
		p.Send(t, r.psh(mine.ID(), nil), r.psh(mine.ID(), nil), r.fin(mine.ID()), r.fin(mine.ID()))
		probe(mine, "after a refusal", stream.ErrRefused)

		last := open(t, s)
		time.Sleep(time.Second)
		_ = p.Conn.Close()
		probe(last, "after the end of the session", io.ErrUnexpectedEOF)
	})
}

// String, LogValue and Stats of streams and sessions may be called while anything else goes on.
func TestStringAndLogValueAreSafe(t *testing.T) {
	testutil.LeakCheck(t)
	c, s := sessions(t, transport("tcp"), session.Config{})
	out, in := openPair(t, c, s)
	var work sync.WaitGroup
	work.Go(func() { _, _ = writeN(out, 20*testutil.MiB, 100_000); _ = out.Close() })
	work.Go(func() { _, _ = io.Copy(io.Discard, in); _ = in.Close() })
	var log bytes.Buffer
	l := slog.New(slog.NewTextHandler(&log, nil))
	for range 100 {
		_ = fmt.Sprintf("%v %+v %s %v", out, in, out, c)
		l.Info("a stream", "stream", in, "session", s)
		for st := range s.Streams() {
			_ = st.Stats()
		}
		_, _ = c.Stats(), out.Stats()
	}
	work.Wait()
	if want := fmt.Sprintf("stream.id=%d stream.local=%v stream.remote=%v stream.sent=0 stream.received=",
		in.ID(), in.LocalAddr(), in.RemoteAddr()); !bytes.Contains(log.Bytes(), []byte(want)) {
		t.Errorf("no %q in the log:\n%.300s", want, log.Bytes())
	}
	if got, want := out.String(), fmt.Sprintf("smux stream 1 %v->%v", c.LocalAddr(), c.RemoteAddr()); got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}
