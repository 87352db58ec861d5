package main

import (
	"io"
	"testing"
	"time"

	original "github.com/xtaci/smux"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session/smux"
)

// clients and servers start a session of each package, with these times of its keep-alive.
var clients, servers = timedStarts(original.Client, smux.Client), timedStarts(original.Server, smux.Server)

// A timedStart starts a session.
type timedStart func(conn io.ReadWriteCloser, interval, timeout time.Duration) (session, error)

func timedStarts(
	theirs func(io.ReadWriteCloser, *original.Config) (*original.Session, error),
	ours func(io.ReadWriteCloser, *smux.Config) (*smux.Session, error),
) map[string]timedStart {
	return map[string]timedStart{
		"original": func(conn io.ReadWriteCloser, interval, timeout time.Duration) (session, error) {
			cfg := original.DefaultConfig()
			cfg.KeepAliveInterval, cfg.KeepAliveTimeout = interval, timeout
			return theirs(conn, cfg)
		},
		"session/smux": func(conn io.ReadWriteCloser, interval, timeout time.Duration) (session, error) {
			cfg := smux.DefaultConfig()
			cfg.KeepAliveInterval, cfg.KeepAliveTimeout = interval, timeout
			return ours(conn, cfg)
		},
	}
}

// A session is closed at the same time as one of the original, whenever its peer was heard last: at the first end of a
// KeepAliveTimeout in which nothing has arrived.
func TestKeepAliveHasTheOriginalsTimes(t *testing.T) {
	const timeout = 30 * time.Second
	for _, c := range []struct {
		name  string
		heard []time.Duration // when the peer sends a NOP
		want  time.Duration
	}{
		{"never", nil, timeout},
		{"once", []time.Duration{time.Second}, 2 * timeout},
		{"just before a look", []time.Duration{timeout - time.Second}, 2 * timeout},
		{"just after a look", []time.Duration{1, timeout + time.Second}, 3 * timeout},
		{"within each, with longer silence between", []time.Duration{1, timeout + 1, 3*timeout - 1, 4*timeout - 1}, 5 * timeout},
	} {
		for name, start := range clients {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				pooled(t, func(t *testing.T) {
					ca, cb := testutil.SimPair(t, simnet.Link{})
					began := time.Now()
					s, err := start(ca, timeout/3, timeout)
					if err != nil {
						t.Fatal(err)
					}
					go func() { _, _ = io.Copy(io.Discard, cb) }()
					sent := make(chan struct{})
					go func() {
						defer close(sent)
						for _, at := range c.heard {
							time.Sleep(at - time.Since(began))
							_, _ = cb.Write([]byte{1, 3, 0, 0, 0, 0, 0, 0})
						}
					}()
					<-s.CloseChan()
					if d := time.Since(began); d != c.want {
						t.Errorf("closed after %v, want %v", d, c.want)
					}
					<-sent
				})
			})
		}
	}
}

// A peer whose KeepAliveInterval is as long as this side's KeepAliveTimeout, which VerifyConfig allows, is not given up while
// both are idle: not by this package, nor by the original whose peer this package is.
func TestKeepAliveIntervalMayBeTheTimeout(t *testing.T) {
	const same = 10 * time.Second
	for name, start := range clients {
		for peer, startPeer := range servers {
			t.Run(name+" and "+peer, func(t *testing.T) {
				pooled(t, func(t *testing.T) {
					const latency = 20 * time.Millisecond
					ca, cb := testutil.SimPair(t, simnet.Link{Delay: latency})
					c, err := start(ca, same, same)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					s, err := startPeer(cb, same, same)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					// Both hear of each other before their first look.
					for _, x := range []session{c, s} {
						if _, err := x.Open(); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Hour)
					if c.IsClosed() || s.IsClosed() {
						t.Errorf("closed: %v, %v", c.IsClosed(), s.IsClosed())
					}
				})
			})
		}
	}
}
