//go:build !nolatency

package session_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A mixture is a session of version 2 that sends bulk data to s until the test ends. The reader at s limits its
// speed.
type mixture struct {
	c, s    *session.Session
	updates *updateTap // of s
	running sync.WaitGroup
}

func newMixture(t *testing.T, rtt time.Duration, local, remote net.Addr) *mixture {
	t.Helper()
	return newMixtureWith(t, rtt, local, remote, session.Config{})
}

// newMixtureWith is newMixture with this Config at s.
func newMixtureWith(t *testing.T, rtt time.Duration, local, remote net.Addr, sc session.Config) *mixture {
	t.Helper()
	a, b := testutil.SimPair(t, path(100*simnet.Gbit, rtt))
	m := &mixture{updates: tapUpdates(b)}
	sc.Version, sc.KeepAlive = 2, keepalive.Off{}
	m.c = client(t, a, &session.Config{Version: 2, KeepAlive: keepalive.Off{}})
	m.s = server(t, addressed{m.updates, local, remote}, &sc)
	return m
}

// bulk writes size bytes at a time from one stream to the other, whose reader takes this time for each 32 KiB.
func (m *mixture) bulk(from, to *stream.Stream, size int, each time.Duration) {
	go writeUntilEnd(from, size)
	m.running.Go(func() {
		buf := make([]byte, 32*testutil.KiB)
		for {
			if _, err := io.ReadFull(to, buf); err != nil {
				return
			}
			time.Sleep(each)
		}
	})
}

func (m *mixture) end() {
	_, _ = m.c.Close(), m.s.Close()
	m.running.Wait()
}

// Within a machine, the windows of bulk streams are small while short messages that somebody waits for pass, and
// only then.
func TestWindowsOnThisMachineAreSmallBesideMessages(t *testing.T) {
	const bulk = 8
	talk := func(t *testing.T, _ *mixture, out, in *stream.Stream) {
		sendMessage(t, out, in, 64)
		sendMessage(t, in, out, 64)
	}
	loopback := tcpAddr("127.0.0.1")
	for _, tt := range []struct {
		name          string
		local, remote net.Addr
		rtt           time.Duration
		// beside is called each millisecond while bulk data is sent.
		beside func(t *testing.T, m *mixture, out, in *stream.Stream)
		small  bool
		cfg    session.Config
	}{
		{"a conversation", loopback, loopback, 0, talk, true, session.Config{}},
		{"a conversation, IPv6", tcpAddr("::1"), tcpAddr("::1"), 0, talk, true, session.Config{}},
		{"a conversation, own address", tcpAddr("10.0.0.1"), tcpAddr("10.0.0.1"), 0, talk, true, session.Config{}},
		{"a conversation over a Unix socket", &net.UnixAddr{}, &net.UnixAddr{}, 0, talk, true, session.Config{}},
		{"a stream for each message", loopback, loopback, 0, func(t *testing.T, m *mixture, _, _ *stream.Stream) {
			out, in := openPair(t, m.c, m.s)
			sendMessage(t, out, in, 64)
			_, _ = out.Close(), in.Close()
		}, true, session.Config{}},
		{"a conversation over a network", tcpAddr("10.0.0.1"), tcpAddr("10.0.0.2"), 0, talk, false, session.Config{}},
		{"a conversation over what has no address", nil, nil, 0, talk, false, session.Config{}},
		{"a conversation over what has no address, with one in Config", nil, nil, 0, talk, false, session.Config{LocalAddr: loopback, RemoteAddr: loopback}},
		{"a conversation, with a far address in Config", loopback, loopback, 0, talk, true, session.Config{RemoteAddr: tcpAddr("192.0.2.1")}},
		{"a conversation behind a proxy on this machine", loopback, loopback, 2 * time.Millisecond, talk, false, session.Config{}},
		{"nothing", loopback, loopback, 0, func(*testing.T, *mixture, *stream.Stream, *stream.Stream) {}, false, session.Config{}},
		{"messages one way", loopback, loopback, 0, func(t *testing.T, _ *mixture, out, in *stream.Stream) {
			sendMessage(t, out, in, 64)
		}, false, session.Config{}},
		{"long messages", loopback, loopback, 0, func(t *testing.T, _ *mixture, out, in *stream.Stream) {
			sendMessage(t, out, in, 10_000)
			sendMessage(t, in, out, 10_000)
		}, false, session.Config{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := newMixtureWith(t, tt.rtt+4*time.Microsecond, tt.local, tt.remote, tt.cfg)
				defer m.end()
				quiet, quietIn := openPair(t, m.c, m.s)
				sendMessage(t, quiet, quietIn, 64)
				outs, ins := openPairs(t, m.c, m.s, bulk)
				for i, in := range ins {
					m.bulk(outs[i], in, 64*testutil.KiB, 200*time.Microsecond)
				}
				time.Sleep(30 * time.Millisecond)
				for range 20 {
					tt.beside(t, m, quiet, quietIn)
					time.Sleep(time.Millisecond)
				}
				for i, in := range ins {
					u, ok := m.updates.last(in.ID())
					switch {
					case !ok:
						t.Errorf("stream %d had no update", i)
					case tt.small && u.window > 30*testutil.KiB: // 24 KiB, or what is read in two round trips
						t.Errorf("stream %d has a window of %d bytes, want about 24 KiB", i, u.window)
					case !tt.small && u.window < 256*testutil.KiB-1:
						t.Errorf("stream %d has a window of %d bytes, want no less than 256 KiB", i, u.window)
					}
				}
			})
		})
	}
}

// Beside messages one stream may have the window that 8 have together, and so may the streams that are left when
// others pause, at any age of the session.
func TestWindowsBesideMessagesAreSmallInSum(t *testing.T) {
	for _, tt := range []struct {
		streams, each int
		age           time.Duration // of the session
	}{
		{1, 192 * testutil.KiB, 0}, {2, 96 * testutil.KiB, 0}, {8, 24 * testutil.KiB, 0}, {16, 24 * testutil.KiB, 0},
		{8, 24 * testutil.KiB, 51 * 24 * time.Hour}, {8, 24 * testutil.KiB, 3653 * 24 * time.Hour},
	} {
		bubble(t, func(t *testing.T) {
			m := newMixture(t, 4*time.Microsecond, tcpAddr("127.0.0.1"), tcpAddr("127.0.0.1"))
			defer m.end()
			time.Sleep(tt.age)
			quiet, quietIn := openPair(t, m.c, m.s)
			outs, ins := openPairs(t, m.c, m.s, tt.streams)
			for i, in := range ins {
				m.bulk(outs[i], in, 64*testutil.KiB, 200*time.Microsecond)
			}
			for range 40 {
				sendMessage(t, quiet, quietIn, 64)
				sendMessage(t, quietIn, quiet, 64)
				time.Sleep(time.Millisecond)
			}
			for i, in := range ins {
				u, _ := m.updates.last(in.ID())
				if int(u.window) > tt.each*5/4 || int(u.window) < tt.each*7/8 {
					t.Errorf("%d streams, age %v: stream %d has a window of %d bytes, want about %d",
						tt.streams, tt.age, i, u.window, tt.each)
				}
			}
		})
	}
}

// Windows stay large if bulk data comes in bursts, as it does when its goroutines wait for a processor: small
// windows would be used up at once.
func TestWindowsAreNotSmallForBursts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMixture(t, 4*time.Microsecond, tcpAddr("127.0.0.1"), tcpAddr("127.0.0.1"))
		defer m.end()
		quiet, quietIn := openPair(t, m.c, m.s)
		out, in := openPair(t, m.c, m.s)
		m.bulk(out, in, 64*testutil.KiB, 2*time.Millisecond) // and a window update each 128 KiB
		for range 100 {
			sendMessage(t, quiet, quietIn, 64)
			sendMessage(t, quietIn, quiet, 64)
			time.Sleep(time.Millisecond)
		}
		u, ok := m.updates.last(in.ID())
		if !ok || u.window < 256*testutil.KiB-1 {
			t.Errorf("a window of %d bytes", u.window)
		}
	})
}

// Frames that are short because a window or a Write ends there are not taken for messages.
func TestShortEndsOfBulkDataAreNoMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMixture(t, 4*time.Microsecond, tcpAddr("127.0.0.1"), tcpAddr("127.0.0.1"))
		defer m.end()
		for _, size := range []int{33_000, 70_001} {
			out, in := openPair(t, m.c, m.s)
			m.bulk(out, in, size, 200*time.Microsecond)
			m.bulk(in, out, size, 200*time.Microsecond)
		}
		time.Sleep(300 * time.Millisecond)
		updates := m.updates.list()
		if len(updates) == 0 {
			t.Error("there was no update")
		}
		for _, u := range updates {
			if u.window < 256*testutil.KiB-1 {
				t.Fatalf("stream %d has a window of %d bytes", u.id, u.window)
			}
		}
	})
}
