package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Helpers of the tests that measure how much goes where, and when.

const (
	kib = 1 << 10
	mib = 1 << 20
)

// path is both ways of a connection of this rate, in bytes a second, and round-trip time.
func path(rate int64, rtt time.Duration) simnet.Link {
	return simnet.Link{Rate: rate, Delay: rtt / 2}
}

// over starts the two ends of a session over a simulated path. A test that has not ended after two
// days of virtual time hangs: its transport is closed.
func over(t testing.TB, link simnet.Link, cc, sc *session.Config) (c, s *session.Session) {
	t.Helper()
	a, b := testutil.SimPair(t, link)
	hangs := time.AfterFunc(48*time.Hour, func() {
		t.Error("the test has hung for two days")
		_, _ = a.Close(), b.Close()
	})
	t.Cleanup(func() { hangs.Stop() })
	return client(t, a, cc), server(t, b, sc)
}

// someVersions is versions. With the race detector it runs the i-th case for one version alone.
func someVersions(t *testing.T, i int, test func(t *testing.T, version int)) {
	t.Helper()
	if !testutil.Race {
		versions(t, test)
		return
	}
	version := 1 + i%2
	t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
		bubble(t, func(t *testing.T) { test(t, version) })
	})
}

// scaled is n, or with the race detector this part of it: of the bytes and the rate of
// a link alike, so that the time and the number of round trips that a transfer takes are the same.
func scaled(n int64, part int64) int64 {
	if testutil.Race {
		return n / part
	}
	return n
}

// exchange sends a message from one end of a stream to the other.
func exchange(t *testing.T, from, to *stream.Stream) {
	t.Helper()
	want := testutil.Pattern(from.ID()).Bytes(10_000)
	if _, err := from.Write(want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// v2 is the default Config but for the version.
func v2() *session.Config { return &session.Config{Version: 2} }

// push writes n bytes that mean nothing, chunk at a time, and returns how many were taken.
func push(w io.Writer, n int64, chunk int) (int64, error) {
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

// pushFor writes until it is told no more, by the end of its stream or its deadline. It is to
// be run in the background.
func pushFor(w io.Writer, chunk int) { _, _ = push(w, math.MaxInt64, chunk) }

// pull reads n bytes in a buffer of 64 KiB, and calls each, if it is not nil, after each Read
// with the bytes that were read so far.
func pull(t testing.TB, r io.Reader, n int64, each func(read int64)) {
	t.Helper()
	buf := make([]byte, 64*kib)
	var done int64
	for done < n {
		k, err := r.Read(buf[:min(int64(len(buf)), n-done)])
		done += int64(k)
		if each != nil {
			each(done)
		}
		if err != nil {
			t.Errorf("read %d bytes of %d: %v", done, n, err)
			return
		}
	}
}

// swallow reads to the end, whatever that is, and adds what it read to total. It is to be run in
// the background.
func swallow(r io.Reader, total *atomic.Int64) {
	buf := make([]byte, 64*kib)
	for {
		n, err := r.Read(buf)
		total.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// fillUp writes to st until nothing more is taken, and returns how much was. The transport
// must take data within the patience.
func fillUp(t testing.TB, st *stream.Stream, patience time.Duration) (n int64) {
	t.Helper()
	buf := make([]byte, 32*kib)
	for {
		if err := st.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		k, err := st.Write(buf)
		n += int64(k)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := st.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// share is n bytes in some time, as a part of what a rate brings.
func share(n int64, in time.Duration, rate int64) float64 {
	return float64(n) / in.Seconds() / float64(rate)
}

// jain is Jain's index of the shares: 1 if they are equal, 1/n if one got all.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// A frameTap is a transport that tells of the frames that are written to it.
type frameTap struct {
	net.Conn
	frame func(h wire.Header, body []byte) // body of UPD alone

	head []byte // of a frame that has not been written whole
	skip int    // of a payload
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

// An updateTap is a transport that keeps the updates that are written to it.
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

// list returns the updates so far, in their order.
func (t *updateTap) list() []update {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.updates)
}

// last returns the last update of stream id.
func (t *updateTap) last(id uint32) (update, bool) {
	for _, u := range slices.Backward(t.list()) {
		if u.id == id {
			return u, true
		}
	}
	return update{}, false
}

// openMany opens n streams from c, no more than fit into the backlog, and accepts them at s, in the same order.
func openMany(t testing.TB, c, s *session.Session, n int) (opened, accepted []*stream.Stream) {
	t.Helper()
	for range n {
		st, err := c.OpenStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, st)
	}
	for range n {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		accepted = append(accepted, st)
	}
	return opened, accepted
}
