package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Config.WriteThrough.

// A gate is a transport whose Writes do not return while it is closed. The data is on its way before that.
type gate struct {
	*faulty
	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
}

func newGate(c *simnet.Conn) *gate {
	g := &gate{faulty: newFaulty(c), opened: make(chan struct{})}
	close(g.opened)
	g.write = func(p []byte) (int, error) {
		n, err := c.Write(p)
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		<-opened
		return n, err
	}
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

// gated returns a session with WriteThrough over a gate, and a stream to a scripted peer that stops no Write.
func gated(t *testing.T, cfg session.Config) (*session.Session, *stream.Stream, *gate, *testutil.Peer) {
	t.Helper()
	cfg.WriteThrough, cfg.KeepAlive = true, off
	ours, theirs := testutil.SimPair(t, simnet.Link{})
	g := newGate(ours)
	c, peer := scriptedOver(t, g, theirs, &cfg)
	st := openWide(t, c, peer, cfg.Version)
	synctest.Wait()
	return c, st, g, peer
}

// With WriteThrough, Write, ReadFrom, CloseWrite and Close return when the transport's Write has returned.
func TestWriteThroughWaitsForTheTransport(t *testing.T) {
	type call struct {
		name string
		call func(st *stream.Stream) (int64, error)
		want int64
	}
	var calls []call
	for _, size := range []int{1, 4000, 40_000, 1 << 20} {
		calls = append(calls,
			call{fmt.Sprintf("Write of %d bytes", size), func(st *stream.Stream) (int64, error) {
				n, err := st.Write(make([]byte, size))
				return int64(n), err
			}, int64(size)},
			call{fmt.Sprintf("ReadFrom with %d bytes", size), func(st *stream.Stream) (int64, error) {
				return st.ReadFrom(testutil.Pattern(1).Reader(int64(size)))
			}, int64(size)})
	}
	calls = append(calls,
		call{"CloseWrite", func(st *stream.Stream) (int64, error) { return 0, st.CloseWrite() }, 0},
		call{"Close", func(st *stream.Stream) (int64, error) { return 0, st.Close() }, 0},
		call{"Close after CloseWrite", func(st *stream.Stream) (int64, error) { return 0, errors.Join(st.CloseWrite(), st.Close()) }, 0},
		call{"two Writes", func(st *stream.Stream) (int64, error) {
			second := testutil.Background(func() (int, error) { return st.Write(make([]byte, 1000)) })
			n, err := st.Write(make([]byte, 1000))
			r := <-second
			return int64(n + r.Value), errors.Join(err, r.Err)
		}, 2000})
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				_, st, g, peer := gated(t, session.Config{Version: version})
				go func() { _, _ = io.Copy(io.Discard, peer.Conn) }()
				g.shut()
				result := testutil.Background(func() (int64, error) { return call.call(st) })
				time.Sleep(30 * time.Second) // less than LingerTimeout
				wantPending(t, call.name, result)
				g.open()
				if r := <-result; r.Value != call.want || r.Err != nil {
					t.Errorf("%s = %d, %v, want %d", call.name, r.Value, r.Err, call.want)
				}
			})
		})
	}
}

// With WriteThrough, a Write after the transport has been closed fails, over every transport, also the first and however
// short it is.
func TestWriteThroughFailsWithTheTransport(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for _, size := range []int{1, 1 << 20} {
			ca, cb := tr.Pair(t)
			c := client(t, ca, &session.Config{Version: version, WriteThrough: true})
			s := server(t, cb, &session.Config{Version: version})
			a, b := openPair(t, c, s)
			sendMessage(t, a, b, 1000)
			_ = ca.Close()
			if n, err := a.Write(make([]byte, size)); err == nil {
				t.Errorf("Write of %d bytes = %d, nil", size, n)
			}
		}
	})
}

// With WriteThrough, the error of the transport's Write is that of the stream's Write, also if Write has nothing more to
// add to a batch.
func TestWriteThroughReportsTheTransportsError(t *testing.T) {
	cut := errors.New("cable cut")
	for _, size := range []int{1, 1 << 20} {
		eachVersion(t, func(t *testing.T, version int) {
			_, st, g, _ := gated(t, session.Config{Version: version})
			g.fail(func(f *faulty) { f.writeErr = cut })
			_, err := st.Write(make([]byte, size))
			testutil.WantErr(t, "Write", err, cut)
			testutil.WantErr(t, "Close", st.Close(), cut)
		})
	}
}

// With WriteThrough, a Write that waits for the transport's Write ends at its deadline, and at the close of its stream or
// session. It counts what the session has taken, and no more is sent.
func TestWriteThroughEndsEarly(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(c *session.Session, st *stream.Stream)
		want error
		at   time.Duration
	}{
		{"at its deadline", func(_ *session.Session, st *stream.Stream) { _ = st.SetWriteDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded, time.Second},
		{"at Close", func(_ *session.Session, st *stream.Stream) { go st.Close() }, net.ErrClosed, 0},
		{"at CloseWrite", func(_ *session.Session, st *stream.Stream) { go st.CloseWrite() }, net.ErrClosed, 0},
		{"at the session's Close", func(c *session.Session, _ *stream.Stream) { go c.Close() }, net.ErrClosed, 0},
	} {
		for _, size := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d bytes", e.name, size), func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					c, st, g, peer := gated(t, session.Config{Version: version, CloseTimeout: time.Minute})
					g.shut()
					write := testutil.Background(func() (int, error) { return st.Write(make([]byte, size)) })
					synctest.Wait()
					elapsed := testutil.Clock()
					e.end(c, st)
					r := <-write
					testutil.WantErr(t, "Write", r.Err, e.want)
					testutil.WantTime(t, "Write ended", elapsed(), e.at)
					g.open()
					go c.Close()
					if n := len(readFrames(t, peer).data[st.ID()]); n != r.Value {
						t.Errorf("Write counted %d bytes, the peer got %d", r.Value, n)
					}
				})
			})
		}
	}
}

// With WriteThrough, CloseWrite and Close wait for LingerTimeout at most, and until the session ends. The FIN is sent when
// the transport goes on.
func TestWriteThroughCloseEnds(t *testing.T) {
	closes := map[string]func(*stream.Stream) error{"Close": (*stream.Stream).Close, "CloseWrite": (*stream.Stream).CloseWrite}
	for name, call := range closes {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				c, st, g, peer := gated(t, session.Config{Version: version, LingerTimeout: 7 * time.Second})
				other := open(t, c)
				synctest.Wait()
				g.shut()
				elapsed := testutil.Clock()
				testutil.WantErr(t, name, call(st), os.ErrDeadlineExceeded)
				testutil.WantTime(t, name+" returned", elapsed(), 7*time.Second)
				late := testutil.BackgroundErr(func() error { return call(other) })
				synctest.Wait()
				wantPending(t, "the second "+name, late)
				g.open()
				if r := <-late; r.Err != nil {
					t.Errorf("%s: %v", name, r.Err)
				}
				go c.Close()
				sent := readFrames(t, peer)
				for _, st := range []*stream.Stream{st, other} {
					if !slices.Contains(sent.commands(st.ID()), wire.FIN) {
						t.Errorf("stream %d sent no FIN", st.ID())
					}
				}
			})
			eachVersion(t, func(t *testing.T, version int) {
				c, st, g, _ := gated(t, session.Config{Version: version})
				g.shut()
				late := testutil.BackgroundErr(func() error { return call(st) })
				synctest.Wait()
				go c.CloseNow()
				testutil.WantErr(t, name, (<-late).Err, net.ErrClosed)
				g.open()
			})
		})
	}
}

// With WriteThrough, a Write to a full socket returns when the socket has taken all of it, and counts exactly what the
// peer gets if it ends before.
func TestWriteThroughCountsWhatAFullSocketTakes(t *testing.T) {
	const size = 64 << 20 // more than sockets take
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, peer := scriptedOver(t, ca, cb, &session.Config{Version: version, WriteThrough: true})
		st := openWide(t, c, peer, version)
		write := testutil.Background(func() (int, error) { return st.Write(make([]byte, size)) })
		got := len(peer.Next(t, "the Write has begun").Data)
		_ = st.SetWriteDeadline(time.Unix(1, 0))
		r := <-write
		testutil.WantErr(t, "Write", r.Err, os.ErrDeadlineExceeded)
		_ = st.SetWriteDeadline(time.Time{})
		closed := testutil.BackgroundErr(st.Close)
		for f := (testutil.Frame{}); f.Command != wire.FIN; {
			f = peer.Next(t, "the Write's data and a FIN arrive")
			got += len(f.Data)
		}
		if got != r.Value {
			t.Errorf("Write counted %d bytes, the peer got %d", r.Value, got)
		}
		if r := <-closed; r.Err != nil {
			t.Errorf("Close: %v", r.Err)
		}
	})
}

// With WriteThrough, streams carry every byte both ways at the same time, whatever the size of the Writes, and all
// streams end.
func TestWriteThroughCarriesEveryByte(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, WriteThrough: true})
		var calls sync.WaitGroup
		for i, chunk := range []int{7, 1000, 30_000, 200_000} {
			a, b := openPair(t, c, s)
			size := int64(min(1<<20, 1000*chunk))
			for _, st := range []*stream.Stream{a, b} {
				calls.Go(func() {
					if _, err := testutil.Pattern(i).Send(st, size, chunk); err != nil {
						t.Error(err)
					}
					if err := st.CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				calls.Go(func() {
					if err := testutil.Pattern(i).Receive(st, size); err != nil {
						t.Error(err)
					}
				})
			}
		}
		calls.Wait()
		settle(tr)
		if tr.Bubble && c.NumStreams()+s.NumStreams() > 0 {
			t.Errorf("%d and %d streams are open", c.NumStreams(), s.NumStreams())
		}
	})
}

// With WriteThrough, WriteLazily takes nothing, so that no data waits in the stream.
func TestWriteThroughLeavesNothingLazy(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		_, st, _, _ := gated(t, session.Config{Version: version})
		if n, err := st.WriteLazily([]byte("header")); n != 0 || err != io.ErrShortWrite {
			t.Errorf("WriteLazily = %d, %v", n, err)
		}
	})
}

// With WriteThrough, a peer may get the data and close both directions before the transport's Write returns. The Write has
// succeeded.
func TestWriteThroughSucceedsIfThePeerClosesFirst(t *testing.T) {
	for _, size := range []int{1, 40_000} {
		eachVersion(t, func(t *testing.T, version int) {
			_, st, g, peer := gated(t, session.Config{Version: version})
			g.shut()
			write := testutil.Background(func() (int, error) { return st.Write(make([]byte, size)) })
			peer.ExpectData(t, "the data arrives", st.ID(), make([]byte, size))
			fin := testutil.FIN(wire.Version(version), st.ID())
			peer.Send(t, fin, fin)
			if r := <-write; r.Value != size || r.Err != nil {
				t.Errorf("Write = %d, %v", r.Value, r.Err)
			}
			testutil.WantErr(t, "the next Write", second(st.Write(make([]byte, 1))), stream.ErrPeerClosed)
			g.open()
		})
	}
}
