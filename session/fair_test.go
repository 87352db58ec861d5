package session_test

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// How streams share a transport. Time is virtual.

// fairRate returns the rate of a link that always has data to send. At the lower rate a 64th of it is still a
// dozen frames a second.
func fairRate() int64 {
	if testutil.Race {
		return 200 * simnet.Mbit
	}
	return simnet.Gbit
}

// A load is a stream that is written and read at full speed.
type load struct {
	out, in *stream.Stream
	read    atomic.Int64
}

// start writes the stream, chunk bytes a Write, and reads it.
func (l *load) start(chunk int) {
	go writeUntilEnd(l.out, chunk)
	go readUntilEnd(l.in, &l.read)
}

func loads(t *testing.T, c, s *session.Session, n int) []*load {
	t.Helper()
	outs, ins := openPairs(t, c, s, n)
	var all []*load
	for i := range outs {
		all = append(all, &load{out: outs[i], in: ins[i]})
	}
	return all
}

// during returns the bytes that each stream reads in this time.
func during(d time.Duration, all []*load) []float64 {
	before := make([]int64, len(all))
	for i, l := range all {
		before[i] = l.read.Load()
	}
	time.Sleep(d)
	got := make([]float64, len(all))
	for i, l := range all {
		got[i] = float64(l.read.Load() - before[i])
	}
	return got
}

func total(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// 64 bulk streams, half of which write 1 KiB and half 128 KiB at a time, get equal shares: Jain's index is at
// least 0.99 over a second, or three at the lower rate. On a busy machine some streams begin late. What the others send
// until then, up to a buffer of the link, does not count. The budget has to hold all windows of version 2, which on a
// long path matter, too.
func TestStreamsOf1KiBAnd128KiBWritesGetEqualBytes(t *testing.T) {
	for _, tt := range []struct {
		version, streams int
		rtt, warm        time.Duration
		whole            float64 // of the link, for all together
	}{
		{1, 64, time.Millisecond, 100 * time.Millisecond, 0.95},
		{2, 64, time.Millisecond, 100 * time.Millisecond, 0.95},
		{2, 64, 10 * time.Millisecond, 200 * time.Millisecond, 0.95},
		{1, 64, 100 * time.Millisecond, 200 * time.Millisecond, 0.95},
		{2, 16, 100 * time.Millisecond, time.Second, 0.95},
	} {
		t.Run(fmt.Sprintf("v%d/%d streams/%v", tt.version, tt.streams, tt.rtt), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg := &session.Config{Version: tt.version}
				c, s := sessionsOver(t, path(fairRate(), tt.rtt), cfg, cfg)
				all := loads(t, c, s, tt.streams)
				for i, l := range all {
					l.start([]int{testutil.KiB, 128 * testutil.KiB}[i%2])
				}
				time.Sleep(tt.warm)
				span := time.Second
				if testutil.Race {
					span *= 3 // so that one frame more or less matters less
				}
				got := during(span, all)
				index, whole := testutil.Jain(got), total(got)/float64(fairRate())/span.Seconds()
				t.Logf("Jain's index %.4f, least %.0f and most %.0f bytes; %.3f of the link", index, slices.Min(got), slices.Max(got), whole)
				if index < 0.99 || whole < tt.whole {
					t.Errorf("Jain's index is %.4f, want 0.99; all together get %.3f of the link, want %.2f", index, whole, tt.whole)
				}
			})
		})
	}
}

// Weights 1:2:4 hold within 5 % among streams that always have data to send, in Writes that are copied and in
// Writes longer than a turn.
func TestWeightsHoldWithin5Percent(t *testing.T) {
	for i, tt := range []struct {
		streams int
		chunks  [3]int
	}{
		{3, [3]int{testutil.KiB, testutil.KiB, testutil.KiB}},
		{3, [3]int{256 * testutil.KiB, 256 * testutil.KiB, 256 * testutil.KiB}},
		{9, [3]int{256 * testutil.KiB, 256 * testutil.KiB, 256 * testutil.KiB}},
		{9, [3]int{128 * testutil.KiB, 16 * testutil.KiB, testutil.KiB}},
		{9, [3]int{testutil.KiB, 16 * testutil.KiB, 128 * testutil.KiB}},
		// Few streams that write a frame or two at a time each have nothing to send for a moment after each turn.
		{2, [3]int{32 * testutil.KiB, 32 * testutil.KiB}},
		{2, [3]int{48 * testutil.KiB, 48 * testutil.KiB}},
		{2, [3]int{64 * testutil.KiB, 64 * testutil.KiB}},
		{3, [3]int{32 * testutil.KiB, 32 * testutil.KiB, 32 * testutil.KiB}},
		{3, [3]int{48 * testutil.KiB, 48 * testutil.KiB, 48 * testutil.KiB}},
		{3, [3]int{64 * testutil.KiB, 64 * testutil.KiB, 64 * testutil.KiB}},
	} {
		t.Run(fmt.Sprintf("%d streams/writes of %v", tt.streams, tt.chunks), func(t *testing.T) {
			someVersions(t, i, func(t *testing.T, version int) {
				cfg := &session.Config{Version: version}
				c, s := sessionsOver(t, path(fairRate(), time.Millisecond), cfg, cfg)
				all := loads(t, c, s, tt.streams)
				weights := 0
				for i, l := range all {
					weights += 1 << (i % 3)
					l.out.SetWeight(1 << (i % 3))
					l.start(tt.chunks[i%3])
				}
				time.Sleep(100 * time.Millisecond)
				// A frame or two at the ends must not matter.
				got := during(2*time.Second, all)
				base := total(got) / float64(weights)
				worst := 0.0
				for i := range got {
					off := got[i]/base/float64(int(1)<<(i%3)) - 1
					worst = max(worst, math.Abs(off))
					if math.Abs(off) > 0.05 {
						t.Errorf("weight %d got %+.1f %% of its share", 1<<(i%3), 100*off)
					}
				}
				t.Logf("no share is off by more than %.1f %%", 100*worst)
			})
		})
	}
}

// Streams that their window blocks, and streams that send little, take nothing from the others.
func TestBlockedAndSlowStreamsCostTheOthersNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const rate = 100 * simnet.Mbit
		c, s := sessionsOver(t, path(rate, time.Millisecond), v2(), v2())
		blocked, _ := openPairs(t, c, s, 16) // they are not read
		for _, out := range blocked {
			go writeUntilEnd(out, 64*testutil.KiB)
		}
		slow := loads(t, c, s, 8)
		for _, l := range slow {
			go readUntilEnd(l.in, &l.read)
			go func() {
				for {
					if _, err := l.out.Write(make([]byte, 100)); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		all := loads(t, c, s, 8)
		for _, l := range all {
			l.start(64 * testutil.KiB)
		}
		time.Sleep(time.Second)
		got := during(time.Second, append(all, slow...))
		bulk, little := got[:len(all)], got[len(all):]
		whole := total(bulk) / rate
		t.Logf("the bulk streams get %.4f of the link, Jain's index %.4f", whole, testutil.Jain(bulk))
		if whole < 0.98 || testutil.Jain(bulk) < 0.99 {
			t.Errorf("the bulk streams get %.3f of the link and Jain's index %.3f, want 0.98 and 0.99", whole, testutil.Jain(bulk))
		}
		if least := slices.Min(little); least < 9800 {
			t.Errorf("a slow stream got %.0f bytes across, want its 10,000", least)
		}
	})
}

// 64 bytes of a stream that is new or was quiet wait, behind 16 bulk streams, for the transport's buffer, a batch
// or two, and a turn at most. In their turn they would wait for 16 quanta, more than twice as long.
func TestNewOrQuietStreamGoesBeforeBulk(t *testing.T) {
	const rate, rtt, buffer = 100 * simnet.Mbit, 10 * time.Millisecond, 64 * testutil.KiB
	const limit = rtt/2 + time.Second*(buffer+2*64*testutil.KiB+32*testutil.KiB)/rate
	for i, tt := range []struct {
		name  string
		chunk int // of the bulk streams' Writes
	}{{"new", 64 * testutil.KiB}, {"quiet", 64 * testutil.KiB}, {"new", 256 * testutil.KiB}, {"quiet", 256 * testutil.KiB}} {
		name := tt.name
		t.Run(fmt.Sprintf("%s/writes of %d KiB", name, tt.chunk/testutil.KiB), func(t *testing.T) {
			someVersions(t, i, func(t *testing.T, version int) {
				link := path(rate, rtt)
				link.Buffer = buffer
				cfg := &session.Config{Version: version}
				c, s := sessionsOver(t, link, cfg, cfg)
				for _, l := range loads(t, c, s, 16) {
					l.start(tt.chunk)
				}
				quiet, quietIn := openPair(t, c, s)
				time.Sleep(200 * time.Millisecond)
				worst := time.Duration(0)
				for range 30 {
					elapsed := testutil.Clock()
					out, in := quiet, quietIn
					if name == "new" {
						out = open(t, c)
					}
					if _, err := out.Write(make([]byte, 64)); err != nil {
						t.Fatal(err)
					}
					if name == "new" {
						in = accept(t, s)
					}
					readN(t, in, 64, nil)
					worst = max(worst, elapsed())
					if name == "new" {
						_, _ = out.Close(), in.Close()
					}
					time.Sleep(13 * time.Millisecond)
				}
				t.Logf("they take %v at the most, of %v", worst, limit)
				if worst > limit {
					t.Errorf("they take up to %v, want %v", worst, limit)
				}
			})
		})
	}
}

// Streams are opened, answered and closed while data floods both directions.
func TestFloodOfDataDoesNotStopOpensAndCloses(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := &session.Config{Version: version}
		c, s := sessionsOver(t, path(100*simnet.Mbit, 10*time.Millisecond), cfg, cfg)
		for _, l := range append(loads(t, c, s, 8), loads(t, s, c, 8)...) {
			l.start(64 * testutil.KiB)
		}
		time.Sleep(200 * time.Millisecond)
		elapsed := testutil.Clock()
		for range 5 {
			out, in := openPair(t, c, s)
			sendMessage(t, out, in, 10_000)
			sendMessage(t, in, out, 10_000)
			_, _ = out.Close(), in.Close()
		}
		if took := elapsed() / 5; took > 200*time.Millisecond {
			t.Errorf("opening, a question, an answer and closing take %v, want a few round trips and what is queued", took)
		}
		if n := c.NumStreams(); n > 17 {
			t.Errorf("%d streams are open, want 16 and one that is just being closed", n)
		}
	})
}

// A flood of streams that are opened and closed does not stop data, and data does not stop the flood.
func TestFloodOfOpensAndClosesDoesNotStopData(t *testing.T) {
	for _, from := range []string{"the same side", "the other side"} {
		t.Run(from, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				const rate = simnet.Mbit
				cfg := &session.Config{Version: version}
				link := path(rate, 10*time.Millisecond)
				link.Buffer = 16 * testutil.KiB // or the flood waits behind seconds of data
				c, s := sessionsOver(t, link, cfg, cfg)
				all := loads(t, c, s, 1)
				all[0].start(64 * testutil.KiB)
				time.Sleep(time.Second)
				opener, acceptor := c, s
				if from == "the other side" {
					opener, acceptor = s, c
				}
				var accepted atomic.Int64
				for range 8 {
					go func() {
						for {
							st, err := opener.OpenStream(t.Context())
							if err != nil || st.Close() != nil {
								return
							}
						}
					}()
				}
				go func() {
					for {
						st, err := acceptor.AcceptStream(t.Context())
						if err != nil || st.Close() != nil {
							return
						}
						accepted.Add(1)
					}
				}()
				time.Sleep(time.Second)
				before := accepted.Load()
				got := total(during(time.Second, all)) / rate
				t.Logf("%.3f of the link for data, beside %d streams accepted a second", got, accepted.Load()-before)
				if got < 0.1 {
					t.Errorf("data gets %.3f of the link, want 0.1", got)
				}
				if accepted.Load() == before {
					t.Error("no stream was accepted")
				}
			})
		})
	}
}
