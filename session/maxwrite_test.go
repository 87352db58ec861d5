package session_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Config.MaxWriteSize.

// A writeSizes checks the messages that a session writes: whole frames, and at most limit bytes.
type writeSizes struct {
	t     testing.TB
	limit int

	mu      sync.Mutex
	largest int // of the messages
	payload int // the largest of a frame
}

func (w *writeSizes) note(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.largest = max(w.largest, len(p))
	if len(p) > w.limit {
		w.t.Errorf("a write of %d bytes, want at most %d", len(p), w.limit)
	}
	for len(p) > 0 {
		h, err := wire.ParseHeader(p)
		size := wire.HeaderSize + int(h.Length)
		if err != nil || len(p) < size {
			w.t.Errorf("a write does not hold whole frames: %d bytes of a frame of %d, %v", len(p), size, err)
			return
		}
		w.payload = max(w.payload, int(h.Length))
		p = p[size:]
	}
}

// get returns what was noted, and begins again.
func (w *writeSizes) get() (largest, payload int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	largest, payload = w.largest, w.payload
	w.largest, w.payload = 0, 0
	return largest, payload
}

// busy lets two sessions do everything that sends frames: data both ways in Writes of several sizes, many streams that
// are opened at once and closed, refused ones, Ping, Close. c refuses streams beyond 20.
func busy(t *testing.T, c, s *session.Session, size int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 3 {
		out, in := openPair(t, c, s)
		for k, ends := range [][2]*stream.Stream{{out, in}, {in, out}} {
			p := testutil.Pattern(2*i + k)
			all.Go(func() {
				if _, err := p.Send(ends[0], int64(size), []int{100, 5000, 100_000}[i]); err != nil {
					t.Error(err)
				}
				testutil.WantErr(t, "CloseWrite", ends[0].CloseWrite(), nil)
			})
			all.Go(func() {
				if err := p.Receive(ends[1], int64(size)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Go(func() {
		var opened []*stream.Stream
		for range 120 {
			opened = append(opened, open(t, s))
		}
		for _, st := range opened[20:] {
			_, err := st.Read(make([]byte, 1))
			testutil.WantErr(t, "Read of a stream beyond MaxStreams", err, stream.ErrRefused)
		}
		for _, st := range opened {
			_ = st.Close()
		}
	})
	all.Go(func() {
		for range 20 {
			if _, err := c.Ping(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}

// No write to the transport is larger than MaxWriteSize, and each holds whole frames, with and without a SendRate. A
// transport that carries messages of that size carries everything.
func TestTransportWritesStayWithinMaxWriteSize(t *testing.T) {
	for i, limit := range []int{64, 65, 100, 1200, 4 << 10, 16 << 10, 60_000} {
		for _, rate := range []flow.Rate{{}, {BytesPerSecond: 200_000}, {BytesPerSecond: 200_000, Burst: 1000}} {
			t.Run(fmt.Sprintf("%d/%v", limit, rate), func(t *testing.T) {
				someVersions(t, i, func(t *testing.T, version int) {
					a, b := testutil.SimPair(t, path(simnet.Gbit, time.Millisecond))
					sizes := &writeSizes{t: t, limit: limit}
					cfg := session.Config{Version: version, MaxWriteSize: limit, SendRate: rate, KeepAlive: off}
					cc := cfg
					cc.MaxStreams = 20
					c := client(t, simnet.Messages(a, limit, sizes.note), &cc)
					s := server(t, simnet.Messages(b, limit, sizes.note), &cfg)
					size := 40_000
					if limit > 1200 {
						size = 200_000
					}
					busy(t, c, s, size)
					testutil.WantErr(t, "Err", c.Err(), nil)
					if largest, _ := sizes.get(); rate.BytesPerSecond == 0 && largest < limit-limit/8-16 {
						t.Errorf("the largest write has %d bytes, want about %d", largest, limit)
					}
					testutil.WantErr(t, "Close", c.Close(), nil)
				})
			})
		}
	}
}

// Bulk data fills the writes, and MaxFrameSize follows MaxWriteSize: most of a write is payload.
func TestBulkDataFillsMaxWriteSize(t *testing.T) {
	for _, c := range []struct{ limit, frame, want int }{ // want is the largest payload
		{1200, 0, 1176},
		{16 << 10, 0, 16<<10 - 24},
		{40_000, 0, 19_984}, // two frames fill a write better than one of 32,760 bytes
		{60_000, 0, 29_984},
		{16 << 10, 1000, 1000},
		{1 << 20, 0, 32_684}, // no limit
	} {
		t.Run(fmt.Sprintf("%d/%d", c.limit, c.frame), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				a, b := testutil.SimPair(t, path(simnet.Gbit, time.Millisecond))
				sizes := &writeSizes{t: t, limit: min(c.limit, wire.BatchSize)}
				cfg := session.Config{Version: version, MaxWriteSize: c.limit, MaxFrameSize: c.frame, KeepAlive: off}
				out, in := openPair(t, client(t, simnet.Messages(a, c.limit, sizes.note), &cfg), server(t, simnet.Messages(b, c.limit, nil), &cfg))
				const size = 4 << 20
				go func() { _, _ = writeN(out, size, 64<<10) }()
				readN(t, in, size, nil)
				largest, payload := sizes.get()
				if largest < sizes.limit*95/100 {
					t.Errorf("the largest write has %d bytes, want about %d", largest, sizes.limit)
				}
				if payload != c.want {
					t.Errorf("the largest payload has %d bytes, want %d", payload, c.want)
				}
			})
		})
	}
}

// On a socket no system call gets more than MaxWriteSize, and each gets whole frames unless the socket is full.
func TestSocketWritesStayWithinMaxWriteSize(t *testing.T) {
	for _, rate := range []flow.Rate{{}, {BytesPerSecond: 50e6}} {
		eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
			for _, limit := range []int{64, 1200, 16 << 10} {
				ca, cb := tr.Pair(t)
				sizes := &writeSizes{t: t, limit: limit}
				cfg := session.Config{Version: version, MaxWriteSize: limit, SendRate: rate, MaxStreams: 20}
				c, err := session.ClientWithTap(ca, &cfg, sizes.note)
				if err != nil {
					t.Fatal(err)
				}
				s := server(t, cb, &session.Config{Version: version})
				busy(t, c, s, 40_000)
				testutil.WantErr(t, "Close", c.Close(), nil)
				<-s.Done()
			}
		})
	}
}

// A message that the transport refuses ends the session with the transport's error: MaxWriteSize was not set.
func TestMessageLimitWithoutMaxWriteSizeEndsTheSession(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{})
		c := client(t, simnet.Messages(a, 1000, nil), &session.Config{Version: version})
		server(t, simnet.Messages(b, 1000, nil), &session.Config{Version: version})
		st := open(t, c)
		_, err := st.Write(make([]byte, 100_000))
		testutil.WantErr(t, "Write", err, simnet.ErrMessageTooLong)
	})
}

// With MaxWriteSize, SendRate holds, but a write may exceed the burst by up to 1,200 bytes: frames are not cut.
func TestMaxWriteSizeKeepsToSendRate(t *testing.T) {
	for i, r := range []flow.Rate{{BytesPerSecond: 20_000}, {BytesPerSecond: 50_000, Burst: 100}, {BytesPerSecond: 1000, Burst: 1}} {
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			someVersions(t, i, func(t *testing.T, version int) {
				m := newMeter()
				a, b := testutil.SimPair(t, path(simnet.Gbit, 10*time.Millisecond))
				log := func(p []byte) { m.add(len(p)) }
				c := client(t, simnet.Messages(a, 1200, log), &session.Config{Version: version, SendRate: r, MaxWriteSize: 1200})
				s := server(t, simnet.Messages(b, 1200, nil), &session.Config{Version: version})
				bulk(t, c, s, 3)
				time.Sleep(12 * time.Second)
				burst := r.Burst
				if burst == 0 {
					burst = int(r.BytesPerSecond / 10)
				}
				m.check(t, r.BytesPerSecond, burst+1200)
			})
		})
	}
}

// Whatever Config allows, a full frame has at least one byte of payload and at most MaxFrameSize, and fits in a write with
// two FINs.
func TestFramesFitEveryMaxWriteSize(t *testing.T) {
	for limit := 64; limit <= 2000; limit++ {
		for frame := 1; frame <= limit-3*wire.HeaderSize; frame++ {
			if got := session.FitFrames(frame, limit); got < 1 || got > frame {
				t.Fatalf("MaxFrameSize %d, MaxWriteSize %d: the payload of full frames has %d bytes", frame, limit, got)
			}
		}
	}
}

// Data passes with the smallest frames in small writes.
func TestSmallestFramesInSmallWrites(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		for limit := 64; limit < 130; limit++ {
			cfg := session.Config{Version: version, MaxFrameSize: 1, MaxWriteSize: limit, KeepAlive: off}
			a, b := testutil.SimPair(t, simnet.Link{})
			sizes := &writeSizes{t: t, limit: limit}
			c, s := client(t, simnet.Messages(a, limit, sizes.note), &cfg), server(t, simnet.Messages(b, limit, nil), &cfg)
			out, in := openPair(t, c, s)
			sendMessage(t, out, in, 100)
			_ = c.CloseNow()
			_ = s.CloseNow()
		}
	})
}
