package session_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Flow control of version 2, with the session under test as the receiver.

// window is what a peer may send on a stream.
type window struct {
	sent, limit uint32
	updates     []wire.WindowUpdate
}

func newWindow() *window { return &window{limit: flow.InitialWindow} }

// take checks the updates that have come for stream id, and applies them.
func (w *window) take(t *testing.T, p *testutil.Peer, id uint32, read int) {
	t.Helper()
	synctest.Wait()
	for {
		f, err := p.TryNext(time.Nanosecond)
		if err != nil {
			return
		}
		if f.Command != wire.UPD || f.StreamID != id {
			t.Fatalf("got %v", f)
		}
		u := f.Update()
		if u.Consumed > uint32(read) {
			t.Fatalf("the update says that %d bytes were read, but %d were", u.Consumed, read)
		}
		w.limit = max(w.limit, u.Consumed+u.Window)
		w.updates = append(w.updates, u)
	}
}

// A peer may use its window to the last byte at any time. More than that is taken up to a bound (overrun_test.go).
func TestPeerMayUseItsWindowToTheLastByte(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  session.Config
	}{
		{"defaults", session.Config{}},
		{"a small budget lowers the window", session.Config{MaxReceiveBuffer: 64 << 10}},
		{"a window that does not grow", session.Config{MaxStreamWindow: 262144}},
		{"a window below that of the protocol", session.Config{MaxStreamWindow: 100_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if r.version == 1 {
					return
				}
				s, p := r.startLink(t, simnet.Link{Delay: 20 * time.Millisecond}, c.cfg)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				pattern, w := testutil.Pattern(3), newWindow()
				rng := rand.New(rand.NewPCG(1, 2))
				read := 0
				buf := make([]byte, 1<<20)
				for range 20 {
					time.Sleep(50 * time.Millisecond)
					w.take(t, p, id, read)
					if n := w.limit - w.sent; n > 0 { // all that is allowed
						data := make([]byte, n)
						pattern.Fill(data, int64(w.sent))
						go p.Conn.Write(appendAll(r.pshs(id, data)))
						w.sent += n
					}
					_ = st.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
					for range 1 + rng.IntN(40) {
						n, err := st.Read(buf[:1+rng.IntN(100_000)])
						if err != nil {
							break
						}
						if err := pattern.Check(buf[:n], int64(read)); err != nil {
							t.Fatal(err)
						}
						read += n
					}
					if err := s.Err(); err != nil {
						t.Fatalf("after %d bytes: %v", w.sent, err)
					}
				}
				if read < 1<<20 {
					t.Errorf("only %d bytes were read", read)
				}
				if len(w.updates) == 0 {
					t.Error("there were no updates")
				}
				_ = st.SetReadDeadline(time.Now().Add(time.Second))
				n, _ := io.Copy(io.Discard, st)
				w.take(t, p, id, read+int(n))
				p.Send(t, r.pshs(id, make([]byte, w.limit-w.sent))...)
				time.Sleep(100 * time.Millisecond)
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// A window update says how many bytes the application has read.
func TestWindowUpdateSaysHowMuchWasRead(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 1 {
			return
		}
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		w, read := newWindow(), 0
		for range 40 {
			p.Send(t, r.pshs(id, make([]byte, 20_000))...)
			if _, err := io.ReadFull(st, make([]byte, 20_000)); err != nil {
				t.Fatal(err)
			}
			read += 20_000
			w.take(t, p, id, read)
			if left := int(w.limit) - read; left < flow.InitialWindow/2 {
				t.Fatalf("with all of %d bytes read the peer may send %d", read, left)
			}
		}
		if last := w.updates[len(w.updates)-1]; int(last.Consumed) < read-flow.InitialWindow/2 {
			t.Errorf("the last update says %d of %d bytes", last.Consumed, read)
		}
		// Unread data is not consumed.
		before := len(w.updates)
		p.Send(t, r.pshs(id, make([]byte, 100_000))...)
		w.take(t, p, id, read)
		if len(w.updates) != before {
			t.Errorf("an update without reading: %v", w.updates[before:])
		}
	})
}

// After the peer's FIN a stream sends no window update.
func TestWindowUpdateIsNotSentAfterFIN(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, append(append([]testutil.Frame{r.syn(id)}, r.pshs(id, make([]byte, 250_000))...), r.fin(id))...)
		st := accept(t, s)
		synctest.Wait()
		if n, err := io.Copy(io.Discard, st); n != 250_000 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		p.ExpectNothing(t, "no update follows FIN", time.Second)
	})
}

// In version 2 streams that nobody reads do not stop another.
func TestVersion2UnreadStreamsStopNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, s := sessions(t, transport("sim"), session.Config{Version: 2, KeepAlive: off})
		for n := range 64 {
			a, _ := openPair(t, c, s)
			go testutil.Pattern(n).Send(a, 1<<20, 50_000)
		}
		synctest.Wait()
		a, b := openPair(t, c, s)
		go func() {
			_, _ = testutil.Pattern(99).Send(a, 5<<20, 50_000)
			_ = a.Close()
		}()
		if err := testutil.Pattern(99).Receive(b, 5<<20); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Unread; n > session.DefaultMaxReceiveBuffer {
			t.Errorf("%d bytes are unread", n)
		}
	})
}

// A window below 262,144 bytes is told right after SYN. A peer that has not seen that yet may use all of 262,144
// bytes.
func TestLoweredWindowIsToldRightAfterSYN(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 1 {
			return
		}
		s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 << 10})
		p.Send(t, r.syn(r.theirs(0)))
		accept(t, s)
		f := p.Next(t, "a lowered window is told")
		if u := f.Update(); f.StreamID != r.theirs(0) || u.Consumed != 0 || u.Window == 0 || u.Window >= flow.InitialWindow {
			t.Errorf("got %v", f)
		}
		mine := open(t, s)
		p.ExpectFrame(t, "SYN is first", r.syn(mine.ID()))
		f = p.Next(t, "a lowered window is told after SYN")
		if u := f.Update(); f.StreamID != mine.ID() || u.Consumed != 0 || u.Window == 0 || u.Window >= flow.InitialWindow {
			t.Errorf("got %v", f)
		}
		// A peer that has not seen the update may use the larger window.
		go p.Conn.Write(appendAll(append(r.pshs(r.theirs(0), make([]byte, flow.InitialWindow)), r.nop())))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.AcceptStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Accept: %v", err)
		}
		if diff := cmp.Diff(error(nil), s.Err()); diff != "" {
			t.Error(diff)
		}
	})
}
