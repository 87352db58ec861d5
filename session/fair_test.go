package session_test

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// How streams share a transport, in virtual time.

// fairPath is slow enough that the sessions always have more to send.
var fairPath = path(simnet.Gbit, time.Millisecond)

// A load is a stream that is written as fast as it takes it, and read likewise.
type load struct {
	out, in *stream.Stream
	read    atomic.Int64
}

// start has the stream written in chunks and read.
func (l *load) start(chunk int) {
	go pushFor(l.out, chunk)
	go func() {
		buf := make([]byte, 64*kib)
		for {
			n, err := l.in.Read(buf)
			l.read.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
}

func loads(t *testing.T, c, s *session.Session, n int) []*load {
	t.Helper()
	outs, ins := openMany(t, c, s, n)
	var all []*load
	for i := range outs {
		all = append(all, &load{out: outs[i], in: ins[i]})
	}
	return all
}

// during returns what each stream reads in this time.
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

// 64 bulk streams, half of them writing 1 KiB and half 128 KiB at a time, get equal bytes. On a long
// path the windows of version 2 have a say, too: the budget has to hold all of them.
func TestStreamsThatWrite1KiBAnd128KiBAtATimeGetEqualBytes(t *testing.T) {
	for _, tt := range []struct {
		version, streams int
		rtt              time.Duration
	}{
		{1, 64, time.Millisecond},
		{2, 64, time.Millisecond},
		{2, 64, 10 * time.Millisecond},
		{1, 64, 100 * time.Millisecond},
		{2, 16, 100 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("v%d/%d streams/%v", tt.version, tt.streams, tt.rtt), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cfg := &session.Config{Version: tt.version}
				c, s := over(t, path(simnet.Gbit, tt.rtt), cfg, cfg)
				all := loads(t, c, s, tt.streams)
				for i, l := range all {
					l.start([]int{kib, 128 * kib}[i%2])
				}
				time.Sleep(time.Second)
				got := during(time.Second, all)
				index, whole := jain(got), total(got)/simnet.Gbit
				t.Logf("Jain's index %.4f, least %.0f and most %.0f bytes; %.3f of the link", index, slices.Min(got), slices.Max(got), whole)
				if index < 0.99 {
					t.Errorf("Jain's index is %.4f, want 0.99", index)
				}
				if whole < 0.95 {
					t.Errorf("all together get %.3f of the link, want 0.95", whole)
				}
			})
		})
	}
}

// From the first byte on, a second is enough for equal shares.
func TestStreamsGetEqualBytesInTheirFirstSecond(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		c, s := over(t, fairPath, &session.Config{Version: version}, &session.Config{Version: version})
		all := loads(t, c, s, 64)
		for i, l := range all {
			l.start([]int{kib, 128 * kib}[i/32])
		}
		got := during(time.Second, all)
		t.Logf("Jain's index %.4f", jain(got))
		if index := jain(got); index < 0.99 {
			t.Errorf("Jain's index is %.4f, want 0.99", index)
		}
	})
}

// Weights 1:2:4 hold within 5 % among streams that always have something to send: their Writes are so
// short that they are copied, or longer than what is sent at once.
func TestWeightsHoldWithin5Percent(t *testing.T) {
	for _, tt := range []struct {
		streams int
		chunks  [3]int
	}{
		{3, [3]int{kib, kib, kib}},
		{3, [3]int{256 * kib, 256 * kib, 256 * kib}},
		{9, [3]int{256 * kib, 256 * kib, 256 * kib}},
		{9, [3]int{128 * kib, 16 * kib, kib}},
		{9, [3]int{kib, 16 * kib, 128 * kib}},
	} {
		t.Run(fmt.Sprintf("%d streams/writes of %v", tt.streams, tt.chunks), func(t *testing.T) {
			versions(t, func(t *testing.T, version int) {
				cfg := &session.Config{Version: version}
				c, s := over(t, fairPath, cfg, cfg)
				all := loads(t, c, s, tt.streams)
				for i, l := range all {
					l.out.SetWeight(1 << (i % 3))
					l.start(tt.chunks[i%3])
				}
				time.Sleep(200 * time.Millisecond)
				got := during(time.Second, all)
				base := total(got) / float64(7*tt.streams/3)
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

// Streams that are blocked by their window, and such as send little, cost the others nothing.
func TestBlockedAndSlowStreamsCostTheOthersNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, s := over(t, fairPath, v2(), v2())
		// Blocked: written, and not read.
		outs, _ := openMany(t, c, s, 64)
		for _, out := range outs {
			go pushFor(out, 64*kib)
		}
		// Slow: 100 bytes each 10 ms, which are to arrive within a frame's time or two.
		slow := loads(t, c, s, 8)
		all := loads(t, c, s, 8)
		for _, l := range all {
			l.start(64 * kib)
		}
		worst := new(atomic.Int64)
		for i, l := range slow {
			stamps := make(chan time.Time, 1000)
			go func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for {
					stamps <- time.Now()
					if _, err := l.out.Write(make([]byte, 100)); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
			go func() {
				buf := make([]byte, 100)
				for {
					if _, err := io.ReadFull(l.in, buf); err != nil {
						return
					}
					if late := time.Since(<-stamps); int64(late) > worst.Load() {
						worst.Store(int64(late))
					}
				}
			}()
		}
		time.Sleep(time.Second)
		worst.Store(0)
		got := during(time.Second, all)
		whole := total(got) / simnet.Gbit
		t.Logf("the bulk streams get %.4f of the link, Jain's index %.4f; the slow ones' writes arrive within %v", whole, jain(got), time.Duration(worst.Load()))
		if whole < 0.98 || jain(got) < 0.99 {
			t.Errorf("the bulk streams get %.3f of the link and Jain's index %.3f, want 0.98 and 0.99", whole, jain(got))
		}
	})
}

// A flood of streams that are opened and closed does not stop data, and data does not stop them.
func TestAFloodOfOpensAndClosesDoesNotStopData(t *testing.T) {
	for _, from := range []string{"the same side", "the other side"} {
		t.Run(from, func(t *testing.T) {
			versions(t, func(t *testing.T, version int) {
				const rate = 10 * simnet.Mbit
				c, s := over(t, path(rate, 10*time.Millisecond), &session.Config{Version: version}, &session.Config{Version: version})
				all := loads(t, c, s, 1)
				all[0].start(64 * kib)
				time.Sleep(time.Second)
				opener, acceptor := c, s
				if from == "the other side" {
					opener, acceptor = s, c
				}
				var opened, accepted atomic.Int64
				for range 8 {
					go func() {
						for {
							st, err := opener.OpenStream(t.Context())
							if err != nil {
								return
							}
							if st.Close() != nil {
								return
							}
							opened.Add(1)
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
				o, a := opened.Load(), accepted.Load()
				got := total(during(time.Second, all)) / rate
				t.Logf("%.3f of the link for data, beside %d streams opened and %d accepted a second", got, opened.Load()-o, accepted.Load()-a)
				if got < 0.1 {
					t.Errorf("data gets %.3f of the link, want 0.1", got)
				}
				if accepted.Load() == a {
					t.Error("no stream was accepted")
				}
			})
		})
	}
}

// Data of many streams does not stop streams from being opened, used and closed: each time that
// takes little more than the round trip and what the transport holds already.
func TestAFloodOfDataDoesNotStopOpensAndCloses(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		const rate, rtt = 100 * simnet.Mbit, 10 * time.Millisecond
		link := path(rate, rtt)
		link.Buffer = 64 * kib
		c, s := over(t, link, &session.Config{Version: version}, &session.Config{Version: version})
		all := append(loads(t, c, s, 8), loads(t, s, c, 8)...)
		for _, l := range all {
			l.start(64 * kib)
		}
		time.Sleep(time.Second)
		go func() {
			for {
				st, err := s.AcceptStream(t.Context())
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(st, st)
					_ = st.Close()
				}()
			}
		}()
		// The transport's buffer each way, and a batch or two that are under way.
		const limit = rtt + 2*time.Second*(64*kib+4*32*kib)/rate
		worst := time.Duration(0)
		for range 100 {
			elapsed := clock()
			st := mustOpen(t, c)
			exchange(t, st, st) // an echo
			if err := st.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("read %v, want EOF", err)
			}
			_ = st.Close()
			worst = max(worst, elapsed()/2) // two round trips
		}
		t.Logf("a round trip takes %v at the most; bytes in the transport alone %v", worst, rtt+2*time.Second*64*kib/rate)
		if worst > limit {
			t.Errorf("a round trip takes up to %v, want %v", worst, limit)
		}
	})
}
