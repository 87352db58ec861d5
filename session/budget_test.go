package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
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

// The session's receive buffer.

func TestUnreadDataNeverExceedsTheBudgetByMoreThanOneFrame(t *testing.T) {
	const budget = 1 << 20
	for _, c := range []struct {
		name    string
		streams int
		frame   int
	}{
		{"one stream, large frames", 1, 65535},
		{"one stream, small frames", 1, 100},
		{"many streams, large frames", 50, 65535},
		{"many streams, usual frames", 50, 32760},
		{"many streams, small frames", 200, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{MaxReceiveBuffer: budget})
				var streams []*stream.Stream
				for n := range c.streams {
					p.Send(t, r.syn(r.theirs(n)))
					streams = append(streams, accept(t, s))
				}
				// As much as the peer may send, and in version 1 twice what the budget holds.
				each := 2 * budget / c.streams
				if r.version == 2 {
					each = min(each, flow.InitialWindow)
				}
				total := 0
				sending := background(func() (any, error) {
					data := make([]byte, c.frame)
					for sent := 0; sent+c.frame <= each; sent += c.frame {
						for n := range streams {
							if _, err := p.Conn.Write(r.psh(r.theirs(n), data).Append(nil)); err != nil {
								return nil, err
							}
							total += c.frame
						}
					}
					return nil, nil
				})
				check := func() int {
					synctest.Wait()
					n := s.Stats().Unread
					if n > budget+65535 {
						t.Errorf("%d bytes are unread", n)
					}
					return n
				}
				full := check()
				if want := min(budget, each/c.frame*c.frame*c.streams); full < want {
					t.Errorf("only %d bytes were taken, want %d", full, want)
				}
				// While some is read, more comes.
				rng := rand.New(rand.NewPCG(1, uint64(c.streams)))
				read := 0
				buf := make([]byte, 100_000)
				for range 200 {
					st := streams[rng.IntN(len(streams))]
					_ = st.SetReadDeadline(time.Now().Add(time.Millisecond))
					n, _ := st.Read(buf[:1+rng.IntN(len(buf))])
					read += n
					check()
				}
				for _, st := range streams {
					_ = st.SetReadDeadline(time.Time{})
					go io.Copy(io.Discard, st)
				}
				if res := <-sending; res.err != nil {
					t.Error(res.err)
				}
				if n := check(); n != 0 {
					t.Errorf("%d bytes are unread when all were read", n)
				}
				if got := s.Stats().BytesReceived; int(got) < total {
					t.Errorf("%d bytes came, want %d", got, total)
				}
			})
		})
	}
}

func TestAFullBudgetStopsThePeerByTheTransportAlone(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		const budget, buffers = 64 << 10, 10_000
		s, p := r.startLink(t, simnet.Link{Buffer: buffers, ReadBuffer: buffers}, session.Config{MaxReceiveBuffer: budget})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		data := testutil.Pattern(7).Bytes(250_000)
		sending := background(func() (any, error) {
			for _, f := range append(r.pshs(id, data), r.fin(id)) {
				if _, err := p.Conn.Write(f.Append(nil)); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		time.Sleep(time.Hour)
		if n := p.Conn.(*simnet.Conn).Out().Counters().Written; n > budget+65535+2*buffers+1000 {
			t.Errorf("%d bytes were taken from the peer", n)
		}
		p.ExpectNothing(t, time.Second) // the protocol has no words for it
		if err := s.Err(); err != nil {
			t.Errorf("Err = %v", err)
		}
		if err := testutil.Pattern(7).Receive(st, int64(len(data))); err != nil {
			t.Error(err)
		}
		if res := <-sending; res.err != nil {
			t.Error(res.err)
		}
	})
}

// In version 1 this is the only flow control there is.
func TestInVersionOneAStreamThatNobodyReadsStopsThemAllUntilItIsReadOrClosed(t *testing.T) {
	for _, c := range []struct {
		name string
		free func(st *stream.Stream)
	}{
		{"read", func(st *stream.Stream) { go io.Copy(io.Discard, st) }},
		{"Close", func(st *stream.Stream) { _ = st.Close() }},
		{"CloseRead", func(st *stream.Stream) { _ = st.CloseRead() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				cs, ss := sessions(t, transport("sim"), session.Config{Version: 1, MaxReceiveBuffer: 100_000, KeepAlive: off})
				a, unread := openPair(t, cs, ss)
				b, other := openPair(t, cs, ss)
				go testutil.Pattern(0).Send(a, 1<<20, 10_000)
				synctest.Wait()
				go b.Write([]byte("data"))
				_ = other.SetReadDeadline(time.Now().Add(time.Hour))
				if n, err := other.Read(make([]byte, 4)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("Read = %d, %v: that proves nothing", n, err)
				}
				_ = other.SetReadDeadline(time.Time{})
				c.free(unread)
				if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheBudgetIsSharedAndWhatASessionHoldsGoesBackAtItsEnd(t *testing.T) {
	const size = 1 << 20
	eachRole(t, func(t *testing.T, r role) {
		budget := flow.NewBudget(size)
		var all []*session.Session
		var peers []*testutil.Peer
		var streams []*stream.Stream
		const n = 6
		for range n {
			s, p := r.start(t, session.Config{Budget: budget})
			p.Send(t, r.syn(r.theirs(0)))
			streams = append(streams, accept(t, s))
			go p.Conn.Write(appendAll(r.pshs(r.theirs(0), make([]byte, flow.InitialWindow))))
			all, peers = append(all, s), append(peers, p)
			synctest.Wait()
			if used := budget.Used(); used > size+65535*len(all) {
				t.Errorf("%d sessions hold %d bytes", len(all), used)
			}
		}
		sum := 0
		for _, s := range all {
			sum += s.Stats().Unread
		}
		if used := budget.Used(); used != sum || used < size/2 {
			t.Errorf("the budget says %d bytes are used, the sessions say %d", used, sum)
		}
		// One ends and can still be read; another closes a stream; one closes; the rest end.
		_ = peers[0].Close()
		_ = streams[1].Close()
		_ = all[2].Close()
		if got, _ := io.Copy(io.Discard, streams[0]); got == 0 {
			t.Error("nothing could be read after the end")
		}
		for i := 1; i < n; i++ {
			_ = all[i].Close()
		}
		synctest.Wait()
		for i := range all {
			<-all[i].Done()
		}
		if budget.Used() != 0 || budget.Promised() != 0 {
			t.Errorf("with all sessions ended %d bytes are used, %d promised", budget.Used(), budget.Promised())
		}
		for _, st := range streams { // reading what is left changes nothing
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		}
		if budget.Used() != 0 || budget.Promised() != 0 {
			t.Errorf("after reading %d bytes are used, %d promised", budget.Used(), budget.Promised())
		}
	})
}

func TestASessionThatIsReadIsNotStarvedByOthersOfItsBudgetThatAreNot(t *testing.T) {
	const size = 3 << 20
	eachVersion(t, func(t *testing.T, version int) {
		budget := flow.NewBudget(256 << 10)
		cfg := session.Config{Version: version, Budget: budget, KeepAlive: off}
		for n := range 5 {
			c, s := sessions(t, transport("sim"), cfg)
			a, _ := openPair(t, c, s)
			go testutil.Pattern(n).Send(a, size, 10_000)
		}
		synctest.Wait()
		c, s := sessions(t, transport("sim"), cfg)
		a, b := openPair(t, c, s)
		go func() {
			_, _ = testutil.Pattern(9).Send(a, size, 10_000)
			_ = a.Close()
		}()
		if err := testutil.Pattern(9).Receive(b, size); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsThrownAwayDoesNotCountForTheBudget(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 << 10})
		p.Ignore(wire.NOP, wire.UPD)
		for n, drop := range []func(*stream.Stream) error{(*stream.Stream).Close, (*stream.Stream).CloseRead} {
			id := r.theirs(n)
			p.Send(t, r.syn(id), r.psh(id, make([]byte, 30_000)))
			st := accept(t, s)
			synctest.Wait()
			if n := s.Stats().Unread; n != 30_000 {
				t.Errorf("%d bytes are unread", n)
			}
			_ = drop(st)
			if n := s.Stats().Unread; n != 0 {
				t.Errorf("%d bytes are unread", n)
			}
			p.Send(t, r.pshs(id, make([]byte, 200_000))...)
			synctest.Wait()
			if n := s.Stats().Unread; n != 0 {
				t.Errorf("%d bytes are unread", n)
			}
		}
	})
}

// xtaci/smux #89: it deadlocks with a budget at or below 256 KiB.
func TestVersionTwoWithASmallBudgetDoesNotDeadlock(t *testing.T) {
	const size = 400_000
	for _, budget := range []int{64 << 10, 100_000, 256<<10 - 1, 256 << 10} {
		for _, streams := range []int{1, 30} {
			t.Run(fmt.Sprintf("%d/%d", budget, streams), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					c, s := sessions(t, transport("sim"), session.Config{Version: 2, MaxReceiveBuffer: budget})
					var done []<-chan result[any]
					for n := range streams {
						a, b := openPair(t, c, s)
						for _, way := range [][2]*stream.Stream{{a, b}, {b, a}} {
							done = append(done, background(func() (any, error) {
								if _, err := testutil.Pattern(n).Send(way[0], size/int64(streams), 20_000); err != nil {
									return nil, err
								}
								return nil, way[0].CloseWrite()
							}), background(func() (any, error) {
								return nil, testutil.Pattern(n).Receive(way[1], size/int64(streams))
							}))
						}
					}
					for _, d := range done {
						if res := <-d; res.err != nil {
							t.Error(res.err)
						}
					}
				})
			})
		}
	}
}

// Flow control of version 2, with this side as the sender.

// sending is a Write of much data to a scripted peer of version 2.
type sending struct {
	id    uint32
	total int // bytes that came so far
	wrote <-chan result[int]
}

const muchData = 1 << 20

func startSending(t *testing.T, s *session.Session, p *testutil.Peer) *sending {
	t.Helper()
	st := open(t, s)
	p.Ignore(wire.NOP, wire.SYN)
	return &sending{st.ID(), 0, background(func() (int, error) {
		n, err := st.Write(testutil.Pattern(1).Bytes(muchData))
		_ = st.Close()
		return n, err
	})}
}

// read reads all that comes and wants it to have brought the stream to total bytes.
func (w *sending) read(t *testing.T, p *testutil.Peer, total int) {
	t.Helper()
	for {
		f, err := p.TryNext(time.Second)
		if err != nil {
			break
		}
		if f.Command == wire.FIN {
			p.ExpectFrame(t, f) // Close sends it twice
			break
		}
		if err := testutil.Pattern(1).Check(f.Data, int64(w.total)); err != nil {
			t.Fatal(err)
		}
		w.total += len(f.Data)
	}
	if w.total != total {
		t.Fatalf("%d bytes were sent, want %d", w.total, total)
	}
}

func TestTheSenderKeepsToTheWindow(t *testing.T) {
	type update struct{ consumed, window, total uint32 }
	for _, c := range []struct {
		name    string
		updates []update
	}{
		{"it assumes 262,144 bytes at first", nil},
		{"an update that says what is assumed anyway", []update{{0, 262144, 262144}}},
		{"a larger window", []update{{0, 300_000, 300_000}}},
		{"data that was consumed", []update{{100_000, 262144, 362_144}}},
		{"a smaller window", []update{{0, 10, 262144}, {100_000, 1000, 262144}, {262_000, 1000, 263_000}, {263_000, 1000, 264_000}}},
		{"no window, and then one again", []update{{262144, 0, 262144}, {262144, 1, 262145}, {262145, 99, 262244}}},
		{"an update that is older than the last", []update{{100_000, 262144, 362_144}, {50_000, 1 << 20, 362_144}, {100_000, 262_145, 362_145}}},
		{"a window of 2^31 is negative", []update{{0, 1 << 31, 262144}, {262144, 1 << 31, 262144}, {262144, 1 << 20, muchData}}},
		{"the largest window", []update{{0, 1<<31 - 1, muchData}}},
		{"an update for each byte", []update{{1, 262144, 262145}, {2, 262144, 262146}, {3, 262144, 262147}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if r.version == 1 {
					return
				}
				s, p := r.start(t, session.Config{})
				w := startSending(t, s, p)
				w.read(t, p, flow.InitialWindow)
				for _, u := range c.updates {
					p.Send(t, testutil.UPD(2, w.id, u.consumed, u.window))
					w.read(t, p, int(u.total))
				}
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
				if w.total < muchData {
					p.Send(t, testutil.UPD(2, w.id, uint32(w.total), muchData))
					w.read(t, p, muchData)
				}
				if res := <-w.wrote; res.err != nil || res.value != muchData {
					t.Errorf("Write = %d, %v", res.value, res.err)
				}
			})
		})
	}
}

func TestVersionOneHasNoWindow(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 2 {
			return
		}
		s, p := r.start(t, session.Config{})
		w := startSending(t, s, p)
		w.read(t, p, muchData)
		<-w.wrote
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		p.Send(t, r.pshs(id, testutil.Pattern(1).Bytes(muchData))...)
		p.Send(t, r.fin(id))
		if err := testutil.Pattern(1).Receive(st, muchData); err != nil {
			t.Error(err)
		}
		p.ExpectNothing(t, time.Second) // no UPD
	})
}

func TestAStreamThatIsStoppedByItsWindowStopsNoOther(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 1 {
			return
		}
		s, p := r.start(t, session.Config{})
		var stopped []*sending
		for range 5 {
			w := startSending(t, s, p)
			w.read(t, p, flow.InitialWindow)
			stopped = append(stopped, w)
		}
		w := startSending(t, s, p)
		w.read(t, p, flow.InitialWindow)
		p.Send(t, testutil.UPD(2, w.id, 0, 1<<30))
		w.read(t, p, muchData)
		wantAlive(t, r, s, p, r.theirs(0))
		_ = s.Close()
		for _, w := range stopped {
			if res := <-w.wrote; res.value != flow.InitialWindow || res.err == nil {
				t.Errorf("a stopped Write = %d, %v", res.value, res.err)
			}
		}
	})
}

// And with this side as the receiver.

// window follows what a peer may send on a stream.
type window struct {
	sent, limit uint32
	updates     []wire.WindowUpdate
}

func newWindow() *window { return &window{limit: flow.InitialWindow} }

// take notes the updates that have come for stream id, and that are as they must be.
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

// A peer may use its window to the last byte at any time. What it sends beyond is taken as well, up to a
// bound; see overrun_test.go.
func TestPeerMayUseItsWindowToTheLastByte(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  session.Config
	}{
		{"defaults", session.Config{}},
		{"a small budget lowers the window", session.Config{MaxReceiveBuffer: 64 << 10}},
		{"the smallest largest window", session.Config{MaxStreamWindow: 262144}},
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

func TestAWindowUpdateSaysHowMuchTheApplicationHasRead(t *testing.T) {
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
		// Data that is not read is not consumed.
		before := len(w.updates)
		p.Send(t, r.pshs(id, make([]byte, 100_000))...)
		w.take(t, p, id, read)
		if len(w.updates) != before {
			t.Errorf("an update without reading: %v", w.updates[before:])
		}
	})
}

func TestAStreamThatHasSeenFINGetsNoWindowUpdate(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, append(append([]testutil.Frame{r.syn(id)}, r.pshs(id, make([]byte, 250_000))...), r.fin(id))...)
		st := accept(t, s)
		synctest.Wait()
		if n, err := io.Copy(io.Discard, st); n != 250_000 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		p.ExpectNothing(t, time.Second)
	})
}

func TestInVersionTwoStreamsThatNobodyReadsDoNotStopAnother(t *testing.T) {
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

func TestALoweredWindowIsToldRightAfterSYN(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 1 {
			return
		}
		s, p := r.start(t, session.Config{MaxReceiveBuffer: 64 << 10})
		p.Send(t, r.syn(r.theirs(0)))
		accept(t, s)
		f := p.Next(t)
		if u := f.Update(); f.StreamID != r.theirs(0) || u.Consumed != 0 || u.Window == 0 || u.Window >= flow.InitialWindow {
			t.Errorf("got %v", f)
		}
		mine := open(t, s)
		p.ExpectFrame(t, r.syn(mine.ID()))
		f = p.Next(t)
		if u := f.Update(); f.StreamID != mine.ID() || u.Consumed != 0 || u.Window == 0 || u.Window >= flow.InitialWindow {
			t.Errorf("got %v", f)
		}
		// What a peer sends that has not seen it yet is legal all the same.
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
