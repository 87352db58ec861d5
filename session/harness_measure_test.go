package session_test

import (
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Helpers that measure how many bytes move, and when.

// path returns one direction of a connection with this rate, in bytes a second, and this round-trip time.
func path(rate int64, rtt time.Duration) simnet.Link {
	return simnet.Link{Rate: rate, Delay: rtt / 2}
}

// sessionsOver starts both ends of a session over a simulated link. A test that runs for two days of virtual time
// hangs: its transport is closed.
func sessionsOver(t testing.TB, link simnet.Link, cc, sc *session.Config) (c, s *session.Session) {
	t.Helper()
	a, b := testutil.SimPair(t, link)
	hangs := time.AfterFunc(48*time.Hour, func() {
		t.Error("the test has hung for two days")
		_, _ = a.Close(), b.Close()
	})
	t.Cleanup(func() { hangs.Stop() })
	return client(t, a, cc), server(t, b, sc)
}

// scaled returns n, or n/part with the race detector. Use it for the size of a transfer and the rate of its link
// alike: the transfer then takes the same time and the same number of round trips.
func scaled(n int64, part int64) int64 {
	if testutil.Race {
		return n / part
	}
	return n
}

// sendMessage sends a message of size bytes from one end of a stream to the other.
func sendMessage(t testing.TB, from, to *stream.Stream, size int) {
	t.Helper()
	pattern := testutil.Pattern(from.ID())
	if _, err := from.Write(pattern.Bytes(size)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if err := pattern.Check(got, 0); err != nil {
		t.Fatal(err)
	}
}

// writeN writes n bytes of no meaning, chunk bytes a Write, and returns how many bytes were taken.
func writeN(w io.Writer, n int64, chunk int) (int64, error) {
	buf := make([]byte, chunk)
	var done int64
	for done < n {
		k, err := w.Write(buf[:min(int64(chunk), n-done)])
		done += int64(k)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeUntilEnd writes until Write fails: at the end of the stream or at its deadline. Run it in the background.
func writeUntilEnd(w io.Writer, chunk int) { _, _ = writeN(w, math.MaxInt64, chunk) }

// readN reads n bytes into a buffer of 64 KiB. After each Read it calls after, unless that is nil, with the
// number of bytes read so far.
func readN(t testing.TB, r io.Reader, n int64, after func(read int64)) {
	t.Helper()
	buf := make([]byte, 64*testutil.KiB)
	var done int64
	for done < n {
		k, err := r.Read(buf[:min(int64(len(buf)), n-done)])
		done += int64(k)
		if after != nil {
			after(done)
		}
		if err != nil {
			t.Errorf("read %d bytes of %d: %v", done, n, err)
			return
		}
	}
}

// readUntilEnd reads until Read fails, and adds the bytes to total. Run it in the background.
func readUntilEnd(r io.Reader, total *atomic.Int64) {
	buf := make([]byte, 64*testutil.KiB)
	for {
		n, err := r.Read(buf)
		total.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// share returns n bytes in this time as a fraction of what the rate allows.
func share(n int64, in time.Duration, rate int64) float64 {
	return float64(n) / in.Seconds() / float64(rate)
}

// A frameTap is a transport that reports the frames written to it.
type frameTap struct {
	net.Conn
	frame func(h wire.Header, body []byte) // body of UPD alone

	head []byte // the start of a frame that has not been written whole
	skip int    // payload bytes to come
}

// Write is called by one goroutine at a time.
func (t *frameTap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.decode(p[:n])
	return n, err
}

func (t *frameTap) decode(p []byte) {
	for len(p) > 0 {
		if t.skip > 0 {
			k := min(t.skip, len(p))
			t.skip -= k
			p = p[k:]
			continue
		}
		t.head = append(t.head, p[0])
		p = p[1:]
		if len(t.head) < wire.HeaderSize {
			continue
		}
		h, err := wire.ParseHeader(t.head)
		if err != nil {
			panic(err)
		}
		size := wire.HeaderSize
		if h.Command == wire.UPD {
			size += wire.UpdateSize
		}
		if len(t.head) < size {
			continue
		}
		t.frame(h, t.head[wire.HeaderSize:])
		if h.Command == wire.PSH {
			t.skip = int(h.Length)
		}
		t.head = t.head[:0]
	}
}

// An updateTap is a transport that records the window updates written to it.
type updateTap struct {
	*frameTap
	mu      sync.Mutex
	updates []update // guarded by mu
}

type update struct {
	id               uint32
	consumed, window uint32
	at               time.Time
}

func tapUpdates(conn net.Conn) *updateTap {
	u := new(updateTap)
	u.frameTap = &frameTap{Conn: conn, frame: func(h wire.Header, body []byte) {
		if h.Command != wire.UPD {
			return
		}
		w, err := wire.ParseWindowUpdate(body)
		if err != nil {
			panic(err)
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.updates = append(u.updates, update{h.StreamID, w.Consumed, w.Window, time.Now()})
	}}
	return u
}

// list returns the updates so far, in order.
func (t *updateTap) list() []update {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.updates)
}

// last returns the last update of stream id, and whether there is one.
func (t *updateTap) last(id uint32) (update, bool) {
	for _, u := range slices.Backward(t.list()) {
		if u.id == id {
			return u, true
		}
	}
	return update{}, false
}
