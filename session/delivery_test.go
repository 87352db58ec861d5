package session_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
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

// How Close finds out that its data has arrived, over a transport that cannot tell, and whose Close throws away what has
// not arrived yet.

// forgetful are such transports. Neither tells the peer that it was closed.
var forgetful = map[string]func(*simnet.Conn) io.ReadWriteCloser{
	"datagrams": func(c *simnet.Conn) io.ReadWriteCloser { return simnet.Datagrams(c) },
	"bare":      func(c *simnet.Conn) io.ReadWriteCloser { return simnet.Bare(simnet.Datagrams(c)) },
}

// forgetRTT is the round-trip time of the simulated links below.
const forgetRTT = 200 * time.Millisecond

// eachForgetful runs test for both versions over each of the forgetful transports. sessions starts a client and a server
// over it.
func eachForgetful(t *testing.T, test func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session))) {
	t.Helper()
	for name, wrap := range forgetful {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				test(t, version, func(cfg session.Config) (c, s *session.Session) {
					a, b := testutil.SimPair(t, simnet.Link{Delay: forgetRTT / 2})
					cfg.Version = version
					return client(t, wrap(a), &cfg), server(t, wrap(b), &cfg)
				})
			})
		})
	}
}

// Write, Stream.Close and Close at once deliver everything, from either side, on a new session and on an old one. Close
// takes a round trip.
func TestCloseDeliversOverATransportThatForgets(t *testing.T) {
	const streams, size = 5, 20_000
	for _, age := range []time.Duration{0, time.Minute} {
		for _, side := range []string{"client", "server"} {
			t.Run(side+", "+age.String()+" old", func(t *testing.T) {
				eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
					closes, stays := sessions(session.Config{})
					if side == "server" {
						closes, stays = stays, closes
					}
					time.Sleep(age)
					var readers sync.WaitGroup
					defer readers.Wait()
					for k := range streams {
						st := open(t, closes)
						if _, err := st.Write(testutil.Pattern(k).Bytes(size)); err != nil {
							t.Error(err)
						}
						testutil.WantErr(t, "Stream.Close", st.Close(), nil)
						readers.Go(func() {
							got, err := io.ReadAll(accept(t, stays))
							if err != nil || len(got) != size {
								t.Errorf("%d of %d bytes arrived: %v", len(got), size, err)
							}
						})
					}
					elapsed := testutil.Clock()
					testutil.WantErr(t, "Close", closes.Close(), nil)
					testutil.WantTime(t, "Close returned", elapsed(), forgetRTT)
				})
			})
		}
	}
}

// Close waits for a peer of this package whose application reads slowly, and reports it if that takes too long.
func TestCloseWaitsForASlowReaderOfASession(t *testing.T) {
	for name, pause := range map[string]time.Duration{"in time": 3 * time.Second, "too late": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
				c, s := sessions(session.Config{MaxReceiveBuffer: 64 << 10})
				a, b := openPair(t, c, s)
				const size = 200_000
				var writer sync.WaitGroup
				defer writer.Wait()
				writer.Go(func() {
					if _, err := a.Write(make([]byte, size)); err != nil && name == "in time" {
						t.Error(err)
					}
				})
				time.Sleep(time.Second)
				closed := testutil.BackgroundErr(c.Close)
				time.Sleep(pause)
				n, err := io.Copy(io.Discard, b)
				r := <-closed
				if name == "too late" {
					testutil.WantErr(t, "Close", r.Err, session.ErrNotFlushed)
					testutil.WantTime(t, "Close returned", r.After, session.DefaultCloseTimeout)
					return
				}
				testutil.WantErr(t, "Close", r.Err, nil)
				if n != size {
					t.Errorf("%d of %d bytes arrived: %v", n, size, err)
				}
			})
		})
	}
}

// estimating is a transport that measures the round trip, as KCP does.
type estimating struct{ io.ReadWriteCloser }

func (estimating) GetSRTT() int32 { return 40 }
func (estimating) GetRTO() uint32 { return 100 }

// Toward a peer that does not answer, Close waits for the FIN of the last stream, or for some round trips.
func TestCloseTowardAPeerThatDoesNotAnswer(t *testing.T) {
	const later = 300 * time.Millisecond
	for _, c := range []struct {
		name     string
		estimate bool                                            // the transport measures the round trip
		before   func(t *testing.T, r role, p *testutil.Peer)    // Close is called
		during   func(t *testing.T, p *testutil.Peer, id uint32) // Close, on the stream written last
		want     error
		at       time.Duration
	}{
		{"nothing was ever received", false, nil, nil, session.ErrNotFlushed, session.DefaultCloseTimeout},
		{"the round-trip time is unknown", false, func(t *testing.T, r role, p *testutil.Peer) { p.Send(t, r.nop()) }, nil, session.ErrNotFlushed, time.Second},
		{"the round-trip time is known", true, nil, nil, nil, 800 * time.Millisecond},
		{"FIN of the last stream", false, nil, func(t *testing.T, p *testutil.Peer, id uint32) {
			time.Sleep(later)
			p.Send(t, testutil.FIN(wire.V1, id))
		}, nil, later},
		{"FIN of the last stream, after a round trip", true, nil, func(t *testing.T, p *testutil.Peer, id uint32) {
			time.Sleep(later)
			p.Send(t, testutil.FIN(wire.V1, id))
		}, nil, later},
		{"FIN of the last stream, on its way before", true, nil, func(t *testing.T, p *testutil.Peer, id uint32) {
			time.Sleep(39 * time.Millisecond)
			p.Send(t, testutil.FIN(wire.V1, id))
		}, nil, 800 * time.Millisecond},
		{"FIN of another stream", false, nil, func(t *testing.T, p *testutil.Peer, id uint32) {
			p.Send(t, testutil.FIN(wire.V1, id-2))
		}, session.ErrNotFlushed, time.Second},
		{"the peer closes the transport", false, nil, func(t *testing.T, p *testutil.Peer, id uint32) {
			time.Sleep(later)
			p.Close()
		}, nil, later},
		{"sent a second ago", false, func(t *testing.T, r role, p *testutil.Peer) {
			p.Send(t, r.nop())
			time.Sleep(time.Second)
		}, nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, client := range []bool{false, true} {
				t.Run(role{client, wire.V1, transport("sim")}.String(), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						r := role{client, wire.V1, transport("sim")}
						a, b := testutil.SimPair(t, simnet.Link{})
						conn := simnet.Bare(a)
						if c.estimate {
							conn = estimating{conn}
						}
						s, p := r.startOn(t, conn, b, session.Config{})
						var last *stream.Stream
						for range 2 {
							last = open(t, s)
							if _, err := last.Write([]byte("the end")); err != nil {
								t.Fatal(err)
							}
							testutil.WantErr(t, "Stream.Close", last.Close(), nil)
						}
						synctest.Wait()
						if c.before != nil {
							c.before(t, r, p)
							synctest.Wait()
						}
						closed := testutil.BackgroundErr(s.Close)
						synctest.Wait()
						if c.during != nil {
							c.during(t, p, last.ID())
						}
						got := <-closed
						testutil.WantErr(t, "Close", got.Err, c.want)
						testutil.WantTime(t, "Close returned", got.After, c.at)
					})
				})
			}
		})
	}
}

// If both ends close their sessions, at the same time or one a little later, neither waits for CloseTimeout.
func TestSessionsClosedTogetherBothDeliver(t *testing.T) {
	for _, lag := range []time.Duration{0, time.Millisecond, forgetRTT/2 - 1, forgetRTT / 2, forgetRTT * 3 / 4, forgetRTT, time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
				c, s := sessions(session.Config{})
				a, b := openPair(t, c, s)
				time.Sleep(time.Second)
				for _, st := range []*stream.Stream{a, b} {
					if _, err := st.Write([]byte("the end")); err != nil {
						t.Error(err)
					}
				}
				first := testutil.BackgroundErr(c.Close)
				time.Sleep(lag)
				second := testutil.BackgroundErr(s.Close)
				r := <-first
				testutil.WantErr(t, "the first Close", r.Err, nil)
				testutil.WantTime(t, "the first Close returned", r.After, forgetRTT)
				r = <-second
				testutil.WantErr(t, "the second Close", r.Err, nil)
				if limit := forgetRTT/2 + 2*time.Second; r.After > limit {
					t.Errorf("the second Close returned after %v, want at most %v", r.After, limit)
				}
				if lag == 0 {
					testutil.WantTime(t, "the second Close returned", r.After, forgetRTT)
				}
			})
		})
	}
}

// A session whose peer has closed ends soon with io.EOF, although the transport tells nothing. Until then it opens no
// stream, and its Close succeeds.
func TestPeersCloseEndsASessionWithoutAnEndOfTransport(t *testing.T) {
	for _, closes := range []bool{false, true} {
		t.Run(map[bool]string{false: "it waits", true: "it closes"}[closes], func(t *testing.T) {
			eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
				c, s := sessions(session.Config{})
				a, b := openPair(t, c, s)
				if _, err := a.Write([]byte("the end")); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				elapsed := testutil.Clock()
				testutil.WantErr(t, "Close", c.Close(), nil)
				<-s.Draining()
				testutil.WantErr(t, "OpenStream", second(s.OpenStream(context.Background())), session.ErrPeerShutdown)
				want := io.EOF
				if closes {
					want = net.ErrClosed
					if _, err := b.Write([]byte("too late")); err != nil {
						t.Error(err)
					}
					testutil.WantErr(t, "the peer's Close", s.Close(), nil)
				}
				wantEnded(t, s, want)
				testutil.WantTime(t, "the peer's session ended", elapsed(), forgetRTT/2+2*time.Second)
				if !closes {
					got, err := io.ReadAll(b)
					testutil.WantErr(t, "the peer's Read", err, io.ErrUnexpectedEOF)
					if string(got) != "the end" {
						t.Errorf("the peer read %q", got)
					}
				}
			})
		})
	}
}

// Close waits for nothing if nothing was sent that is not known to have arrived.
func TestCloseOfAnIdleSessionReturnsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		start func(t *testing.T) *session.Session
	}{
		"no stream was opened": {func(t *testing.T) *session.Session {
			a, _ := testutil.SimPair(t, simnet.Link{})
			return client(t, simnet.Bare(a), nil)
		}},
		"the version is unknown": {func(t *testing.T) *session.Session {
			a, _ := testutil.SimPair(t, simnet.Link{})
			return server(t, simnet.Bare(a), nil)
		}},
		"a ping has come back": {func(t *testing.T) *session.Session {
			a, b := testutil.SimPair(t, simnet.Link{Delay: time.Second})
			c := client(t, simnet.Bare(a), nil)
			server(t, simnet.Bare(b), nil)
			if _, err := open(t, c).Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			if _, err := c.Ping(context.Background()); err != nil {
				t.Error(err)
			}
			return c
		}},
		"a net.Pipe": {func(t *testing.T) *session.Session {
			a, b := testutil.PipePair(t)
			c, p := scriptedOver(t, a, b, nil)
			st := open(t, c)
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			p.ExpectFrame(t, "SYN comes first", testutil.SYN(wire.V2, st.ID()))
			p.ExpectData(t, "the data follows", st.ID(), []byte("hello"))
			return c
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := c.start(t)
				elapsed := testutil.Clock()
				testutil.WantErr(t, "Close", s.Close(), nil)
				testutil.WantTime(t, "Close returned", elapsed(), 0)
			})
		})
	}
}

// CloseNow ends a Close that waits for the peer's answer.
func TestCloseNowEndsACloseThatWaitsForAnEcho(t *testing.T) {
	eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
		c, _ := sessions(session.Config{})
		if _, err := open(t, c).Write([]byte("the end")); err != nil {
			t.Error(err)
		}
		closed := testutil.BackgroundErr(c.Close)
		time.Sleep(time.Millisecond)
		testutil.WantErr(t, "CloseNow", c.CloseNow(), nil)
		r := <-closed
		testutil.WantErr(t, "Close", r.Err, session.ErrNotFlushed)
		testutil.WantTime(t, "Close returned", r.After, time.Millisecond)
	})
}

// Shutdown delivers everything, too.
func TestShutdownDeliversOverATransportThatForgets(t *testing.T) {
	eachForgetful(t, func(t *testing.T, version int, sessions func(session.Config) (c, s *session.Session)) {
		c, s := sessions(session.Config{})
		a, b := openPair(t, c, s)
		ended := testutil.BackgroundErr(func() error { return c.Shutdown(context.Background()) })
		time.Sleep(time.Second)
		elapsed := testutil.Clock()
		if _, err := a.Write([]byte("the end")); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Stream.Close", a.Close(), nil)
		testutil.WantErr(t, "Shutdown", (<-ended).Err, nil)
		testutil.WantTime(t, "Shutdown returned", elapsed(), forgetRTT)
		if got, err := io.ReadAll(b); string(got) != "the end" || err != nil {
			t.Errorf("the peer read %q, %v", got, err)
		}
	})
}

// A session over such a transport begins with a ping, and ends with the close signal, behind all data. It echoes
// the peer's close signal, once each time.
func TestCloseSignalFollowsAllData(t *testing.T) {
	for name, wrap := range forgetful {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				a, b := testutil.SimPair(t, simnet.Link{})
				s, p := r.startOn(t, wrap(a), b, session.Config{})
				p.ExpectFrame(t, "it begins with a ping", r.myPing())
				p.Send(t, r.myPing())
				st := open(t, s)
				if _, err := st.Write([]byte("the end")); err != nil {
					t.Error(err)
				}
				closed := testutil.BackgroundErr(s.Close)
				p.ExpectFrame(t, "SYN is sent", r.syn(st.ID()))
				p.ExpectData(t, "the data is sent", st.ID(), []byte("the end"))
				p.ExpectFrame(t, "the close signal is last", r.myClose())
				p.Send(t, r.closeSignal())
				p.ExpectFrame(t, "the peer's close signal is echoed", r.closeSignal())
				p.Send(t, r.myClose())
				testutil.WantErr(t, "Close", (<-closed).Err, nil)
			})
		})
	}
}

// A kcp is a transport that has the methods of KCP. A Write waits while as many packets as the send window has are on
// their way: this one counts all of them as one.
type kcp struct {
	net.Conn
	estimating
	conn *simnet.Conn
	rto  uint32 // GetRTO, if not 0

	mu       sync.Mutex // guards the fields below
	window   int
	deadline time.Time
}

func (k *kcp) Read(p []byte) (int, error)    { return k.Conn.Read(p) }
func (k *kcp) Close() error                  { return k.Conn.Close() }
func (k *kcp) GetConv() uint32               { return 1 }
func (k *kcp) GetRTO() uint32                { return cmp.Or(k.rto, k.estimating.GetRTO()) }
func (k *kcp) SetDeadline(t time.Time) error { return k.SetWriteDeadline(t) }
func (k *kcp) SetWindowSize(sndwnd, rcvwnd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.window = sndwnd
}

func (k *kcp) SetWriteDeadline(t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deadline = t
	return nil
}

func (k *kcp) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.conn.Out().Counters()
	if k.window == 1 && out.Unsent+out.InFlight > 0 {
		time.Sleep(time.Until(k.deadline))
		return 0, errors.New("timeout")
	}
	return k.Conn.Write(p)
}

// Over KCP, toward a peer that does not answer, Close waits until the peer's host has acknowledged everything.
func TestCloseOverKCPWaitsForAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		name     string
		pause    time.Duration // before Close
		stalled  bool
		want     error
		at, late time.Duration // Close returns at this time, or a little later
	}{
		{"right after Write", 0, false, nil, forgetRTT / 2, 50 * time.Millisecond},
		{"a second after Write", time.Second, false, nil, 0, 0},
		{"nothing arrives", 0, true, session.ErrNotFlushed, 800 * time.Millisecond, 60 * time.Millisecond},
		{"nothing has arrived for a minute", time.Minute, true, session.ErrNotFlushed, 800 * time.Millisecond, 60 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				a, b := testutil.SimPair(t, simnet.Link{Delay: forgetRTT / 2})
				s, p := r.startOn(t, &kcp{Conn: simnet.Datagrams(a), conn: a}, b, session.Config{})
				time.Sleep(time.Second)
				if c.stalled {
					a.Out().Stall()
				}
				data := bytes.Repeat([]byte("the end "), 100)
				st := open(t, s)
				if _, err := st.Write(data); err != nil {
					t.Error(err)
				}
				time.Sleep(c.pause)
				elapsed := testutil.Clock()
				testutil.WantErr(t, "Close", s.Close(), c.want)
				if d := elapsed(); d < c.at || d > c.at+c.late {
					t.Errorf("Close returned after %v, want %v and at most %v more", d, c.at, c.late)
				}
				if !c.stalled {
					p.ExpectFrame(t, "it begins with a ping", r.myPing())
					p.ExpectFrame(t, "SYN arrives", r.syn(st.ID()))
					p.ExpectData(t, "the data arrives", st.ID(), data)
				}
			})
		})
	}
}
