package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// A server that rejects each session after it has answered the Dialer's ping gets pauses between the dials.
func TestDialerPausesForAServerThatRejects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sim := newSimListener(simnet.Link{Delay: 5 * time.Millisecond})
		l, _ := listening(t, &session.Listener{OnSession: func(context.Context, *session.Session) error {
			time.Sleep(20 * time.Millisecond) // it looks the client up
			return errors.New("unknown client")
		}})
		l.Listener = sim
		defer l.CloseNow()
		acceptFrom(l)
		d := closing(t, &session.Dialer{Dial: sim.dial, Config: &session.Config{KeepAlive: off}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			st, err := d.OpenStream(ctx)
			if err != nil {
				break
			}
			_, _ = st.Read(make([]byte, 1))
			_ = st.Close()
		}
		if n := d.Stats().Dials; n > 100 {
			t.Errorf("%d dials in a minute", n)
		}
	})
}

// A server that drains each new session at once, or before it has answered anything, gets pauses between the dials, too.
// So does an OnSession that closes each session, and returns nil.
func TestDialerPausesIfNewSessionsTakeNoStreams(t *testing.T) {
	for name, set := range map[string]func(d *session.Dialer, l *session.Listener){
		"the server drains at once": func(_ *session.Dialer, l *session.Listener) {
			l.OnSession = func(_ context.Context, s *session.Session) error { return s.Listener().Close() }
		},
		"the server drains when a stream waits": func(_ *session.Dialer, l *session.Listener) {
			l.OnSession = func(_ context.Context, s *session.Session) error {
				time.Sleep(time.Second / 2)
				go s.Shutdown(context.Background())
				return nil
			}
		},
		"OnSession closes": func(d *session.Dialer, _ *session.Listener) {
			d.OnSession = func(_ context.Context, s *session.Session) error { return s.Close() }
		},
		"OnSession drains": func(d *session.Dialer, _ *session.Listener) {
			d.OnSession = func(_ context.Context, s *session.Session) error {
				go s.Shutdown(context.Background())
				return s.CloseNow()
			}
		},
	} {
		for _, wants := range []string{"streams", "a session"} {
			t.Run(name+", "+wants, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					sim := newSimListener(simnet.Link{Delay: 5 * time.Millisecond})
					l, _ := listening(t, &session.Listener{})
					l.Listener = sim
					d := closing(t, &session.Dialer{Dial: sim.dial, Config: &session.Config{KeepAlive: off}})
					set(d, l)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					go func() { // takes streams and ends them without a word
						for {
							st, err := l.Accept()
							if err != nil {
								return
							}
							_ = st.Close()
						}
					}()
					for ctx.Err() == nil {
						if wants == "streams" {
							st, err := d.OpenStream(ctx)
							if err != nil {
								continue
							}
							_, _ = st.Read(make([]byte, 1))
							_ = st.Close()
						} else if s, err := d.Session(ctx); err == nil {
							select {
							case <-s.Draining():
							case <-s.Done():
							}
						}
					}
					if n := d.Stats().Dials; n < 5 || n > 100 {
						t.Errorf("%d dials in a minute", n)
					}
				})
			})
		}
	}
}

// A server that drains each session after one stream, and answers on that, is a place that works: there are no pauses.
func TestDialerDoesNotPauseForOneStreamASession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sim := newSimListener(simnet.Link{Delay: 5 * time.Millisecond})
		l, _ := listening(t, &session.Listener{})
		l.Listener = sim
		go func() {
			for {
				st, err := l.Accept()
				if err != nil {
					return
				}
				_ = sessionOf(t, st).Listener().Close()
				go func() {
					time.Sleep(20 * time.Millisecond)
					_, _ = st.Write([]byte("answer"))
					_ = st.Close()
				}()
			}
		}()
		d := closing(t, &session.Dialer{Dial: sim.dial, Config: &session.Config{KeepAlive: off}})
		elapsed := testutil.Clock()
		for range 100 {
			st := openOn(t, d)
			if got, err := io.ReadAll(st); err != nil || string(got) != "answer" {
				t.Fatalf("read %q, %v", got, err)
			}
			_ = st.Close()
		}
		if took := elapsed(); took > 5*time.Second {
			t.Errorf("100 requests took %v", took)
		}
	})
}

// Close of a Dialer returns when the sessions that OnSession has rejected have ended, and so does Shutdown. What OnSession
// has written arrives.
func TestDialerCloseWaitsForRejectedSessions(t *testing.T) {
	for name, end := range map[string]func(*session.Dialer) error{
		"Close":    (*session.Dialer).Close,
		"Shutdown": func(d *session.Dialer) error { return d.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newSite(t, simnet.Link{Delay: time.Second}, session.Config{KeepAlive: off})
				var rejected *session.Session
				d := p.dialer(t, &session.Dialer{FailFast: true, OnSession: func(ctx context.Context, s *session.Session) error {
					rejected = s
					st, err := s.OpenStream(ctx)
					if err != nil {
						return err
					}
					_, _ = st.Write(make([]byte, 100<<10))
					return errBroken
				}})
				_, err := d.OpenStream(context.Background())
				testutil.WantErr(t, "OpenStream", err, errBroken)
				select {
				case <-rejected.Done():
					t.Error("the session has ended already")
				default:
				}
				testutil.WantErr(t, name, end(d), nil)
				select {
				case <-rejected.Done():
				default:
					t.Error("the session has not ended")
				}
			})
		})
	}
}

// Close of a Dialer ends a session that is in OnSession, and waits for its end, but not for OnSession.
func TestDialerCloseEndsTheSessionInOnSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{KeepAlive: off})
		var inside *session.Session
		d := p.dialer(t, &session.Dialer{OnSession: func(_ context.Context, s *session.Session) error {
			inside = s
			time.Sleep(time.Hour)
			return nil
		}})
		call := opening(d, context.Background())
		synctest.Wait()
		elapsed := testutil.Clock()
		testutil.WantErr(t, "Close", d.Close(), nil)
		testutil.WantErr(t, "OpenStream", (<-call).Err, net.ErrClosed)
		select {
		case <-inside.Done():
		default:
			t.Error("the session has not ended")
		}
		testutil.WantTime(t, "Close returned", elapsed(), 0)
		time.Sleep(2 * time.Hour)
		if x := d.Stats(); x.Sessions+x.Retired != 0 {
			t.Errorf("Stats: %+v", x)
		}
	})
}

// A policy is validated without a lock of the Dialer or the Listener: it may call them.
func TestPoolsValidateAPolicyWithoutALock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{KeepAlive: off})
		d := p.dialer(t, new(session.Dialer))
		policy := &nosyPolicy{ask: func() { d.Stats() }}
		d.Config = &session.Config{KeepAlive: policy}
		echoes(t, openOn(t, d))

		l, sim := listening(t, &session.Listener{Config: &session.Config{KeepAlive: policy}})
		policy.ask = func() { l.Stats() }
		accepting := acceptFrom(l)
		say(t, connect(t, sim), "hello")
		if r := <-accepting; r.Err != nil {
			t.Error(r.Err)
		}
		if policy.validated == 0 {
			t.Error("Validate was not called")
		}
	})
}

// A nosyPolicy asks for the state of a pool when it is validated.
type nosyPolicy struct {
	keepalive.Off
	ask       func()
	validated int
}

func (p *nosyPolicy) Validate() error {
	p.validated++
	p.ask()
	return nil
}
