package session_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// SendRate, ReceiveRate and Stream.SetSendRate. Time is virtual.

// A meter records times and numbers of bytes.
type meter struct {
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
	n     []int
}

func newMeter() *meter { return &meter{start: time.Now()} }

func (m *meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Since(m.start))
	m.n = append(m.n, n)
}

// log returns a function for simnet.Link.Log that records the events of one kind.
func (m *meter) log(op simnet.Op) func(simnet.Event) {
	return func(e simnet.Event) {
		if e.Op == op && e.N > 0 {
			m.add(e.N)
		}
	}
}

// rate returns the bytes a second between two times.
func (m *meter) rate(from, to time.Duration) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := 0
	for i, at := range m.at {
		if at > from && at <= to {
			sum += m.n[i]
		}
	}
	return float64(sum) / (to - from).Seconds()
}

// most returns the most bytes in any interval of this length, its ends included, and when it begins.
func (m *meter) most(length time.Duration) (bytes int, at time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum, first := 0, 0
	for i, n := range m.n {
		sum += n
		for m.at[i]-m.at[first] > length {
			sum -= m.n[first]
			first++
		}
		if sum > bytes {
			bytes, at = sum, m.at[first]
		}
	}
	return bytes, at
}

// check checks that the rate holds within 2 % for 10 s after the first second, and that no 100 ms have more bytes
// than the rate allows in them, and the burst.
func (m *meter) check(t *testing.T, rate float64, burst int) {
	t.Helper()
	if burst == 0 {
		burst = int(rate / 10)
	}
	got := m.rate(time.Second, 11*time.Second)
	most, at := m.most(100 * time.Millisecond)
	limit := rate/10 + float64(burst)
	t.Logf("%.4f of the rate over 10 s; most in 100 ms: %d bytes, %.3f of what is allowed", got/rate, most, float64(most)/limit)
	if math.Abs(got/rate-1) > 0.02 {
		t.Errorf("%.0f bytes a second over 10 s, want %.0f", got, rate)
	}
	if float64(most) > limit {
		t.Errorf("%d bytes in the 100 ms from %v on, want at most %.0f", most, at, limit)
	}
}

// rates are the rates that are tested: with the default burst, with large and small ones, and with bursts smaller
// than a frame.
var rates = []flow.Rate{
	{BytesPerSecond: 20_000},
	{BytesPerSecond: 1e6},
	{BytesPerSecond: float64(scaled(12.5e6, 5))},
	{BytesPerSecond: 1e6, Burst: 500_000},
	{BytesPerSecond: 1e6, Burst: 16 * testutil.KiB},
	{BytesPerSecond: 400_000, Burst: 1500},
	{BytesPerSecond: 50_000, Burst: 100},
	{BytesPerSecond: 1_000, Burst: 1},
}

func eachRate(t *testing.T, test func(t *testing.T, version int, r flow.Rate)) {
	t.Helper()
	for i, r := range rates {
		t.Run(fmt.Sprintf("%.0f bytes a second, burst %d", r.BytesPerSecond, r.Burst), func(t *testing.T) {
			someVersions(t, i, func(t *testing.T, version int) { test(t, version, r) })
		})
	}
}

// bulk writes n streams of c at full speed, in Writes of several sizes, and reads them at s.
func bulk(t *testing.T, c, s *session.Session, n int) {
	t.Helper()
	outs, ins := openPairs(t, c, s, n)
	for i, out := range outs {
		go writeUntilEnd(out, []int{64 * testutil.KiB, 1000, 20_000}[i%3])
		go readUntilEnd(ins[i], new(atomic.Int64))
	}
}

// A session sends at Config.SendRate, headers included, within 2 % over 10 s. No 100 ms carry more than the rate
// allows in them, and the burst.
func TestSendRateHolds(t *testing.T) {
	eachRate(t, func(t *testing.T, version int, r flow.Rate) {
		m := newMeter()
		link := path(simnet.Gbit, 10*time.Millisecond)
		limited := link
		limited.Log = m.log(simnet.OpWrite)
		a, b := simnet.AsymmetricPair(limited, link)
		c := client(t, a, &session.Config{Version: version, SendRate: r})
		s := server(t, b, &session.Config{Version: version})
		bulk(t, c, s, 3)
		time.Sleep(12 * time.Second)
		m.check(t, r.BytesPerSecond, r.Burst)
	})
}

// Config.ReceiveRate holds the same way for the bytes that are read from the transport.
func TestReceiveRateHolds(t *testing.T) {
	eachRate(t, func(t *testing.T, version int, r flow.Rate) {
		m := newMeter()
		link := path(simnet.Gbit, 10*time.Millisecond)
		limited := link
		limited.Log = m.log(simnet.OpRead)
		a, b := simnet.AsymmetricPair(limited, link)
		c := client(t, a, &session.Config{Version: version})
		s := server(t, b, &session.Config{Version: version, ReceiveRate: r})
		bulk(t, c, s, 3)
		time.Sleep(12 * time.Second)
		m.check(t, r.BytesPerSecond, r.Burst)
	})
}

// Stream.SetSendRate holds the same way for the data of the stream, without headers.
func TestStreamSendRateHolds(t *testing.T) {
	eachRate(t, func(t *testing.T, version int, r flow.Rate) {
		chunks := []int{256 * testutil.KiB, 5000}
		if r.BytesPerSecond <= 50_000 {
			chunks[1] = 100
		}
		for _, chunk := range chunks {
			m := newMeter()
			a, b := testutil.SimPair(t, path(100*simnet.Mbit, 10*time.Millisecond))
			var id uint32
			counted := &frameTap{Conn: a, frame: func(h wire.Header, _ []byte) {
				if h.Command == wire.PSH && h.StreamID == id {
					m.add(int(h.Length))
				}
			}}
			c := client(t, counted, &session.Config{Version: version})
			s := server(t, b, &session.Config{Version: version})
			out, in := openPair(t, c, s)
			id = out.ID()
			out.SetSendRate(r)
			go writeUntilEnd(out, chunk)
			go readUntilEnd(in, new(atomic.Int64))
			time.Sleep(12 * time.Second)
			m.check(t, r.BytesPerSecond, r.Burst)
			_, _ = c.Close(), s.Close()
		}
	})
}

// A stream with a limited rate does not slow down another.
func TestStreamSendRateCostsTheOthersNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const rate = 100 * simnet.Mbit
		c, s := sessionsOver(t, path(rate, time.Millisecond), &session.Config{Version: version}, &session.Config{Version: version})
		outs, ins := openPairs(t, c, s, 2)
		outs[0].SetSendRate(flow.Rate{BytesPerSecond: 100_000})
		go writeUntilEnd(outs[0], 64*testutil.KiB)
		go readUntilEnd(ins[0], new(atomic.Int64))
		go writeUntilEnd(outs[1], 64*testutil.KiB)
		readN(t, ins[1], 2*testutil.MiB, nil)
		elapsed := testutil.Clock()
		const size = 8 * testutil.MiB
		readN(t, ins[1], size, nil)
		if got := share(size, elapsed(), rate); got < 0.98 {
			t.Errorf("%.3f of the link beside 100 kB/s, want 0.98", got)
		}
	})
}

// SetSendRate applies to a Write that began without a limit.
func TestSetSendRateAppliesToAWriteWithoutLimit(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const size, rate = 10_000_000, 1_000_000
		c, s := sessionsOver(t, path(100*simnet.Mbit, time.Millisecond), &session.Config{Version: version}, &session.Config{Version: version})
		out, in := openPair(t, c, s)
		go readUntilEnd(in, new(atomic.Int64))
		elapsed := testutil.Clock()
		write := testutil.Background(func() (int, error) { return out.Write(make([]byte, size)) })
		time.Sleep(400 * time.Millisecond) // in which 5,000,000 bytes go
		out.SetSendRate(flow.Rate{BytesPerSecond: rate})
		if r := <-write; r.Value != size || r.Err != nil {
			t.Errorf("Write = %d, %v", r.Value, r.Err)
		}
		if took := elapsed(); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("Write took %v, want some five seconds", took)
		}
	})
}

// SetSendRate applies to a Write that waits: with a higher rate, and with none.
func TestSetSendRateAppliesToABlockedWrite(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessionsOver(t, path(simnet.Gbit, time.Millisecond), &session.Config{Version: version}, &session.Config{Version: version})
		out, in := openPair(t, c, s)
		go readUntilEnd(in, new(atomic.Int64))
		out.SetSendRate(flow.Rate{BytesPerSecond: 1000, Burst: 1000})
		write := testutil.Background(func() (int, error) { return out.Write(make([]byte, 500_000)) })
		time.Sleep(10 * time.Second)
		elapsed := testutil.Clock()
		out.SetSendRate(flow.Rate{BytesPerSecond: 100_000, Burst: 1000})
		time.Sleep(time.Second)
		out.SetSendRate(flow.Rate{})
		if r := <-write; r.Value != 500_000 || r.Err != nil {
			t.Errorf("Write = %d, %v", r.Value, r.Err)
		}
		if took := elapsed(); took > 1100*time.Millisecond {
			t.Errorf("Write took %v after the limit was raised and then lifted, want little more than a second", took)
		}
	})
}

// limits are the ways to make a Write wait for a rate.
var limits = []struct {
	name   string
	config session.Config
	stream bool
}{
	{name: "SendRate", config: session.Config{SendRate: flow.Rate{BytesPerSecond: 1000, Burst: 1000}}},
	{name: "SetSendRate", stream: true},
}

// A Write that waits for its rate ends at once at its deadline, when its stream or session is closed, and when the
// session ends. It returns how many bytes the peer gets.
func TestWriteThatWaitsForItsRateIsReleased(t *testing.T) {
	for _, l := range limits {
		for _, tt := range []struct {
			name string
			end  func(c *session.Session, out *stream.Stream, conn net.Conn)
			want error
		}{
			{"deadline", func(_ *session.Session, out *stream.Stream, _ net.Conn) { _ = out.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
			{"Close", func(_ *session.Session, out *stream.Stream, _ net.Conn) { _ = out.Close() }, net.ErrClosed},
			{"CloseWrite", func(_ *session.Session, out *stream.Stream, _ net.Conn) { _ = out.CloseWrite() }, net.ErrClosed},
			{"Session.Close", func(c *session.Session, _ *stream.Stream, _ net.Conn) { go c.Close() }, net.ErrClosed},
			{"transport's end", func(_ *session.Session, _ *stream.Stream, conn net.Conn) { _ = conn.Close() }, nil},
		} {
			t.Run(l.name+"/"+tt.name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					cfg := l.config
					cfg.Version = version
					a, b := testutil.SimPair(t, path(simnet.Gbit, 0))
					c, s := client(t, a, &cfg), server(t, b, &session.Config{Version: version})
					out, in := openPair(t, c, s)
					var got atomic.Int64
					go readUntilEnd(in, &got)
					if l.stream {
						out.SetSendRate(flow.Rate{BytesPerSecond: 1000, Burst: 1000})
					}
					write := testutil.Background(func() (int, error) { return out.Write(make([]byte, 200_000)) })
					time.Sleep(10 * time.Second)
					elapsed := testutil.Clock()
					tt.end(c, out, b)
					r := <-write
					if tt.want != nil {
						testutil.WantErr(t, "Write", r.Err, tt.want)
					} else if r.Err == nil {
						t.Error("Write returned no error")
					}
					testutil.WantTime(t, "Write", elapsed(), 0)
					if r.Value < 9_000 || r.Value > 12_000 {
						t.Errorf("Write took %d bytes in 10 s, want 10,000 or little more", r.Value)
					}
					time.Sleep(5 * time.Second) // Session.Close sends what it can
					if tt.want != nil && got.Load() != int64(r.Value) {
						t.Errorf("Write says %d bytes, the peer got %d", r.Value, got.Load())
					}
				})
			})
		}
	}
}

// A Write that waits for its rate ends exactly at its deadline. With later deadlines it goes on, and nothing is
// lost or doubled.
func TestWriteThatWaitsForItsRateKeepsItsDeadline(t *testing.T) {
	for _, l := range limits {
		t.Run(l.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				cfg := l.config
				cfg.Version = version
				c, s := sessionsOver(t, path(simnet.Gbit, 0), &cfg, &session.Config{Version: version})
				out, in := openPair(t, c, s)
				const size = 200_000
				received := testutil.Background(func() (int, error) { return 0, testutil.Pattern(7).Receive(in, size) })
				if l.stream {
					out.SetSendRate(flow.Rate{BytesPerSecond: 1000, Burst: 1000})
				}
				all := testutil.Pattern(7).Bytes(size)
				for sent := 0; sent < size; {
					if err := out.SetWriteDeadline(time.Now().Add(700 * time.Millisecond)); err != nil {
						t.Fatal(err)
					}
					elapsed := testutil.Clock()
					n, err := out.Write(all[sent:])
					sent += n
					if err == nil {
						break
					}
					testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
					testutil.WantTime(t, "Write", elapsed(), 700*time.Millisecond)
				}
				if err := out.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if r := <-received; r.Err != nil {
					t.Error(r.Err)
				}
			})
		})
	}
}

// Window updates do not wait behind data that waits for SendRate: the other direction keeps its speed.
func TestUpdatesDoNotWaitForRateLimitedData(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const rate, limit = 100 * simnet.Mbit, 50_000
		c, s := sessionsOver(t, path(rate, 20*time.Millisecond),
			&session.Config{Version: 2, SendRate: flow.Rate{BytesPerSecond: limit}}, v2())
		outs, ins := openPairs(t, c, s, 2)
		go writeUntilEnd(outs[0], 64*testutil.KiB)
		go readUntilEnd(ins[0], new(atomic.Int64))
		// In the other direction c reads what s sends, and sends updates.
		go writeUntilEnd(ins[1], 64*testutil.KiB)
		readN(t, outs[1], 4*testutil.MiB, nil)
		const size = 16 * testutil.MiB
		elapsed := testutil.Clock()
		readN(t, outs[1], size, nil)
		got := share(size, elapsed(), rate)
		t.Logf("the way that is not limited gets %.3f of the link", got)
		if got < 0.95 {
			t.Errorf("the way that is not limited gets %.3f of the link, want 0.95", got)
		}
	})
}

// A probe is sent before data that waits for its rate.
func TestProbesDoNotWaitForRateLimitedData(t *testing.T) {
	for _, r := range []flow.Rate{{BytesPerSecond: 1000, Burst: 100}, {BytesPerSecond: 50_000}} {
		eachVersion(t, func(t *testing.T, version int) {
			a, b := testutil.SimPair(t, path(100*simnet.Mbit, 0))
			elapsed := testutil.Clock()
			var mu sync.Mutex
			var probes []time.Duration
			taps := &frameTap{Conn: a, frame: func(h wire.Header, _ []byte) {
				if h.Command == wire.NOP {
					mu.Lock()
					defer mu.Unlock()
					probes = append(probes, elapsed())
				}
			}}
			c := client(t, taps, &session.Config{Version: version, SendRate: r, KeepAlive: everySecond{}})
			s := server(t, b, &session.Config{Version: version})
			bulk(t, c, s, 1)
			time.Sleep(60 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if len(probes) < 50 {
				t.Errorf("%d probes in 60 s, want one a second", len(probes))
			}
			for i := 2; i < len(probes); i++ {
				if gap := probes[i] - probes[i-1]; gap > 2500*time.Millisecond {
					t.Errorf("no probe between %v and %v", probes[i-1], probes[i])
				}
			}
		})
	}
}

// everySecond is a policy that probes each second.
type everySecond struct{}

func (everySecond) Next(keepalive.Activity) (keepalive.Action, time.Duration) {
	return keepalive.Probe, time.Second
}

// Sessions with limits in both directions deliver everything over any transport, even if a burst is smaller than a
// header.
func TestRateLimitedSessionsDeliverEverything(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for _, burst := range []int{0, 5000, 1} {
			cfg := session.Config{
				Version:     version,
				SendRate:    flow.Rate{BytesPerSecond: 20e6, Burst: burst},
				ReceiveRate: flow.Rate{BytesPerSecond: 10e6, Burst: burst},
			}
			size := int64(300_000)
			if burst == 1 {
				size = 200
			}
			c, s := sessions(t, tr, cfg)
			out, in := openPair(t, c, s)
			var wg sync.WaitGroup
			for i, ends := range [][2]*stream.Stream{{out, in}, {in, out}} {
				p := testutil.Pattern(i)
				wg.Go(func() {
					if _, err := p.Send(ends[0], size, 20_000); err != nil {
						t.Error(err)
					}
					if err := ends[0].CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					if err := p.Receive(ends[1], size); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			<-s.Done()
		}
	})
}
