package session_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// The session's receive buffer.

// Unread data never exceeds the budget by more than one frame.
func TestUnreadDataExceedsTheBudgetByOneFrameAtMost(t *testing.T) {
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
				// All that the peer may send; in version 1 twice the budget.
				each := 2 * budget / c.streams
				if r.version == 2 {
					each = min(each, flow.InitialWindow)
				}
				total := 0
				sending := testutil.Background(func() (any, error) {
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
				// More data comes while some is read.
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
				if res := <-sending; res.Err != nil {
					t.Error(res.Err)
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

// A session whose budget is full stops reading its transport. The peer gets no frame about it.
func TestFullBudgetStopsThePeerByTheTransport(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		const budget, buffers = 64 << 10, 10_000
		s, p := r.startLink(t, simnet.Link{Buffer: buffers, ReadBuffer: buffers}, session.Config{MaxReceiveBuffer: budget})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		data := testutil.Pattern(7).Bytes(250_000)
		sending := testutil.Background(func() (any, error) {
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
		p.ExpectNothing(t, "the session does not say that its budget is full", time.Second)
		if err := s.Err(); err != nil {
			t.Errorf("Err = %v", err)
		}
		if err := testutil.Pattern(7).Receive(st, int64(len(data))); err != nil {
			t.Error(err)
		}
		if res := <-sending; res.Err != nil {
			t.Error(res.Err)
		}
	})
}

// In version 1 a stream that nobody reads fills the budget and stops all others, until it is read or closed.
// Version 1 has no other flow control.
func TestVersion1UnreadStreamStopsAllOthers(t *testing.T) {
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

// Sessions share a budget. What a session holds of it goes back when the session ends.
func TestBudgetIsGivenBackAtTheSessionsEnd(t *testing.T) {
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
		// One session ends and can still be read, one closes a stream, one is closed, and the others end.
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
		if budget.Used() != 0 || budget.Committed() != 0 {
			t.Errorf("with all sessions ended %d bytes are used, %d promised", budget.Used(), budget.Committed())
		}
		for _, st := range streams { // reading the rest changes nothing
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		}
		if budget.Used() != 0 || budget.Committed() != 0 {
			t.Errorf("after reading %d bytes are used, %d promised", budget.Used(), budget.Committed())
		}
	})
}

// A session that is read gets its data although others, which nobody reads, have filled the budget.
func TestSharedBudgetStarvesNoSessionThatIsRead(t *testing.T) {
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

// Data that is discarded by Close or CloseRead is not charged to the budget.
func TestDiscardedDataIsNotChargedToTheBudget(t *testing.T) {
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

// Version 2 works with budgets of 256 KiB and less. xtaci/smux deadlocks with them (its issue 89).
func TestVersion2WithASmallBudgetDoesNotDeadlock(t *testing.T) {
	const size = 400_000
	for _, budget := range []int{64 << 10, 100_000, 256<<10 - 1, 256 << 10} {
		for _, streams := range []int{1, 30} {
			t.Run(fmt.Sprintf("%d/%d", budget, streams), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					c, s := sessions(t, transport("sim"), session.Config{Version: 2, MaxReceiveBuffer: budget})
					var done []<-chan testutil.Result[any]
					for n := range streams {
						a, b := openPair(t, c, s)
						for _, way := range [][2]*stream.Stream{{a, b}, {b, a}} {
							done = append(done, testutil.Background(func() (any, error) {
								if _, err := testutil.Pattern(n).Send(way[0], size/int64(streams), 20_000); err != nil {
									return nil, err
								}
								return nil, way[0].CloseWrite()
							}), testutil.Background(func() (any, error) {
								return nil, testutil.Pattern(n).Receive(way[1], size/int64(streams))
							}))
						}
					}
					for _, d := range done {
						if res := <-d; res.Err != nil {
							t.Error(res.Err)
						}
					}
				})
			})
		}
	}
}
