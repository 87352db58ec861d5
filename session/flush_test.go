package session_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Close of a session sends what was written, for at most CloseTimeout, and reports failure.

// fullWindow starts a session with a stream that has used up the peer's window of version 2, and has more to send.
func fullWindow(t *testing.T) (s *session.Session, peer *testutil.Peer, st *stream.Stream, src *source) {
	ca, cb := testutil.SimPair(t, simnet.Link{})
	s = client(t, ca, &session.Config{Version: 2, KeepAlive: off})
	peer = testutil.NewPeer(t, cb)
	peer.Timeout = time.Hour
	st = open(t, s)
	src = newSource(1, 1000)
	src.fill(t, st)
	return s, peer, st, src
}

// Close of a session sends what was written, for at most CloseTimeout, and then returns ErrNotFlushed.
func TestSessionCloseFlushesForAtMostCloseTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{
		{"the default", 0, 5 * time.Second},
		{"an hour", time.Hour, time.Hour},
		{"a nanosecond", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: c.timeout, KeepAlive: off})
				st := openWide(t, s, peer, version)
				newSource(1, 1000).fill(t, st)
				elapsed := testutil.Clock()
				testutil.WantErr(t, "Close", s.Close(), session.ErrNotFlushed)
				testutil.WantTime(t, "Close returned", elapsed(), c.want)
				testutil.WantErr(t, "Err", s.Err(), net.ErrClosed)
			})
		})
	}
	t.Run("on a socket", func(t *testing.T) {
		eachTransport(t, func(tr testutil.Transport) bool { return !tr.Bubble }, func(t *testing.T, tr testutil.Transport, version int) {
			s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: 20 * time.Millisecond})
			src := newSource(1, 1<<20)
			src.patience = 200 * time.Millisecond
			src.fill(t, openWide(t, s, peer, version))
			elapsed := testutil.Clock()
			testutil.WantErr(t, "Close", s.Close(), session.ErrNotFlushed)
			if d := elapsed(); d < 20*time.Millisecond {
				t.Errorf("Close returned after %v", d)
			}
		})
	})
	t.Run("with a window that stays full", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s, peer, st, _ := fullWindow(t)
			elapsed := testutil.Clock()
			closed := testutil.BackgroundErr(s.Close)
			got := readFrames(t, peer)
			testutil.WantErr(t, "Close", (<-closed).Err, session.ErrNotFlushed)
			testutil.WantTime(t, "Close returned", elapsed(), session.DefaultCloseTimeout)
			if n := len(got.data[st.ID()]); n != 262144 {
				t.Errorf("%d bytes were sent", n)
			}
		})
	})
	t.Run("with a window that opens", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s, peer, st, src := fullWindow(t)
			elapsed := testutil.Clock()
			closed := testutil.BackgroundErr(s.Close)
			time.Sleep(time.Second)
			peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, 1<<20))
			got := readFrames(t, peer)
			testutil.WantErr(t, "Close", (<-closed).Err, nil)
			testutil.WantTime(t, "Close returned", elapsed(), time.Second)
			if n := int64(len(got.data[st.ID()])); n != src.off {
				t.Errorf("%d of %d bytes were sent", n, src.off)
			}
		})
	})
}

// Close succeeds if the peer closes the transport once it has read everything.
func TestSessionCloseSucceedsIfThePeerClosesAfterReading(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, c, peer, version)
		src := newSource(1, 1000)
		src.fill(t, st)
		st.Close()
		closed := testutil.BackgroundErr(c.Close)
		settle(tr)
		for peer.Next(t, "all frames up to FIN are sent").Command != wire.FIN {
		}
		peer.Next(t, "a second FIN follows")
		peer.Close()
		testutil.WantErr(t, "Close", (<-closed).Err, nil)
	})
}

// Close returns ErrNotFlushed if the transport ends before everything written was sent.
func TestSessionCloseFailsIfNotEverythingWasSent(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		size int // of what is written to a full transport
		end  func(peer *simnet.Conn)
	}{
		{"the transport breaks, the writer holds it all", 100, func(peer *simnet.Conn) { peer.Break(broken) }},
		{"the transport breaks, much is in line", 60_000, func(peer *simnet.Conn) { peer.Break(broken) }},
		{"the peer closes the transport, the writer holds it all", 100, func(peer *simnet.Conn) { peer.Close() }},
		{"the peer closes the transport, much is in line", 60_000, func(peer *simnet.Conn) { peer.Close() }},
		{"the peer breaks the protocol", 100, func(peer *simnet.Conn) { peer.Write([]byte("GET / HTTP/1.1\r\n")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, tr := range []string{"sim", "bare"} {
				t.Run(tr, func(t *testing.T) {
					eachVersion(t, func(t *testing.T, version int) {
						a, b := testutil.SimPair(t, simnet.Link{Buffer: 50})
						var conn io.ReadWriteCloser = a
						if tr == "bare" {
							conn = simnet.Bare(a)
						}
						s := client(t, conn, &session.Config{Version: version, CloseTimeout: time.Hour, KeepAlive: off})
						st := open(t, s)
						synctest.Wait()
						a.Out().Stall()
						for left := c.size; left > 0; left -= 100 {
							if _, err := st.Write(make([]byte, 100)); err != nil {
								t.Fatal(err)
							}
						}
						synctest.Wait()
						closed := testutil.BackgroundErr(s.Close)
						synctest.Wait()
						elapsed := testutil.Clock()
						c.end(b)
						r := <-closed
						testutil.WantErr(t, "Close", r.Err, session.ErrNotFlushed)
						testutil.WantTime(t, "Close returned", elapsed(), 0)
						testutil.WantErr(t, "Err", s.Err(), net.ErrClosed)
					})
				})
			}
		})
	}
}

// Closing a stream while its session is being closed does not delay the session's Close.
func TestStreamClosedDuringSessionCloseDelaysNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		fin  func(*stream.Stream) error
	}{
		{"Close", (*stream.Stream).Close},
		{"CloseWrite", (*stream.Stream).CloseWrite},
		{"CloseRead", (*stream.Stream).CloseRead},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: time.Hour, KeepAlive: off})
				busy := openWide(t, s, peer, version)
				idle := openWide(t, s, peer, version)
				src := newSource(1, 1000)
				src.fill(t, busy)
				elapsed := testutil.Clock()
				closed := testutil.BackgroundErr(s.Close)
				synctest.Wait()
				for _, st := range []*stream.Stream{idle, busy} {
					if err := c.fin(st); err != nil {
						t.Error(err)
					}
				}
				got := readFrames(t, peer)
				testutil.WantErr(t, "Close", (<-closed).Err, nil)
				testutil.WantTime(t, "Close returned", elapsed(), 0)
				if n := int64(len(got.data[busy.ID()])); n != src.off {
					t.Errorf("%d of %d bytes were sent", n, src.off)
				}
			})
		})
	}
}
