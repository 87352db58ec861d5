package session_test

import (
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/session"
)

// A careless source makes callbacks that do what they should not, until they are careful: they fail, hang, end their
// goroutine, close or drain their session, or call back.
type careless struct {
	careful atomic.Bool

	mu     sync.Mutex
	random *rand.Rand
}

func (c *careless) intN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// draws returns which of n things a callback does; -1 is what it should do.
func (c *careless) draws(n int) (k int) {
	if c.careful.Load() {
		return -1
	}
	return c.intN(n)
}

// onSession is an OnSession of a Dialer or Listener, whose own methods are back.
func (c *careless) onSession(back func()) func(context.Context, *session.Session) error {
	return func(ctx context.Context, s *session.Session) error {
		switch c.draws(12) {
		case 0:
			return errBroken
		case 1:
			runtime.Goexit()
		case 2:
			<-ctx.Done()
			return ctx.Err()
		case 3:
			time.Sleep(time.Minute) // longer than ctx
		case 4:
			return s.Close()
		case 5:
			return s.CloseNow()
		case 6:
			return s.Listener().Close()
		case 7:
			go s.Shutdown(context.Background())
		case 8:
			back()
		case 9:
			_ = s.SetKeepAlive(nil)
			time.Sleep(time.Duration(c.intN(2000)) * time.Millisecond)
		}
		return nil
	}
}

// trace is a Config.Trace whose functions may end their goroutine.
func (c *careless) trace() *session.Trace {
	gone := func() {
		if c.draws(10) == 0 {
			runtime.Goexit()
		}
	}
	return &session.Trace{
		SessionEnd:      func(*session.Session, error) { gone() },
		StreamClosed:    func(*session.Session, session.StreamEnd) { gone() },
		StreamRefused:   func(*session.Session, session.Refusal) { gone() },
		DrainBegin:      func(*session.Session) { gone() },
		PeerDraining:    func(*session.Session) { gone() },
		KeepAliveProbe:  func(*session.Session, time.Duration) { gone() },
		KeepAliveGiveUp: func(*session.Session, time.Duration) { gone() },
	}
}

// goOn runs f in a goroutine, and again in another one each time a function of Config.Trace has ended that.
func goOn(all *sync.WaitGroup, f func()) {
	all.Go(func() {
		returned := false
		defer func() {
			if !returned {
				goOn(all, f)
			}
		}()
		f()
		returned = true
	})
}

// A Dialer and a Listener whose callbacks are careless, over connections that break, go on: once the callbacks are careful,
// each caller's streams are echoed. In the end Shutdown or Close of both returns, no call waits, and nothing is left.
func TestPoolsSurviveCarelessCallbacks(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		bubble(t, func(t *testing.T) {
			c := &careless{random: rand.New(rand.NewPCG(seed, 1))}
			sim := newSimListener(simnet.Link{Delay: time.Duration(c.intN(20)) * time.Millisecond})
			l := &session.Listener{Listener: sim, HandshakeTimeout: 5 * time.Second, MaxSessions: 1 + c.intN(20), Config: &session.Config{Trace: c.trace()}}
			l.OnSession = c.onSession(func() { l.Stats() })
			l.OnError = func(error) {
				if c.draws(3) == 0 {
					runtime.Goexit()
				}
			}
			var serving sync.WaitGroup
			goOn(&serving, func() { echoAll(l) })

			d := &session.Dialer{StreamsPerSession: 3, MaxSessions: 4, MaxAge: 20 * time.Second, DialTimeout: 5 * time.Second, MaxBackoff: time.Second, Config: &session.Config{Trace: c.trace()}}
			d.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
				switch c.draws(10) {
				case 0:
					runtime.Goexit()
				case 1:
					return nil, errBroken
				case 2:
					return nil, nil
				}
				return sim.dial(ctx)
			}
			d.OnSession = c.onSession(func() { d.Stats() })

			var calls sync.WaitGroup
			var echoed [5]atomic.Int64
			ended := make(chan struct{})
			for n := range echoed {
				goOn(&calls, func() {
					for {
						select {
						case <-ended:
							return
						default:
						}
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+c.intN(20_000))*time.Millisecond)
						st, err := d.OpenStream(ctx)
						cancel()
						if err != nil {
							time.Sleep(10 * time.Millisecond)
							continue
						}
						_ = st.SetDeadline(time.Now().Add(5 * time.Second))
						p := []byte("hello")
						if _, err = st.Write(p); err == nil {
							if _, err = io.ReadFull(st, p); err == nil {
								echoed[n].Add(1)
							}
						}
						_ = st.Close()
						time.Sleep(time.Duration(c.intN(1000)) * time.Millisecond)
					}
				})
			}
			for range 20 {
				time.Sleep(15 * time.Second)
				sim.mu.Lock()
				for _, conn := range sim.dialed {
					if c.intN(4) == 0 {
						conn.Break(nil)
					}
				}
				sim.mu.Unlock()
			}
			c.careful.Store(true)
			time.Sleep(90 * time.Second) // until each callback has returned, and each session that was rejected has ended
			for n := range echoed {
				echoed[n].Store(0)
			}
			time.Sleep(time.Minute)
			for n := range echoed {
				if echoed[n].Load() == 0 {
					t.Errorf("seed %d: no stream of caller %d was echoed in a minute: %+v, %+v", seed, n, d.Stats(), l.Stats())
				}
			}
			close(ended)
			end := c.intN(2)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			if end == 0 {
				_ = d.Shutdown(ctx)
			} else {
				_ = d.Close()
			}
			calls.Wait()
			if err := ctx.Err(); err != nil {
				t.Errorf("seed %d: the end of the Dialer: %v", seed, err)
			}
			if end == 0 {
				_ = l.Shutdown(ctx)
			}
			_ = l.CloseNow()
			serving.Wait()
			_ = d.Close()
			if err := ctx.Err(); err != nil {
				t.Errorf("seed %d: the end of the Listener: %v", seed, err)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if x := d.Stats(); x.Sessions+x.Retired+x.Streams+x.Waiting != 0 {
				t.Errorf("seed %d: Stats of the Dialer: %+v", seed, x)
			}
			if x := l.Stats(); x.Sessions+x.Handshakes+x.Streams+x.Waiting != 0 {
				t.Errorf("seed %d: Stats of the Listener: %+v", seed, x)
			}
			for _, conn := range sim.dialed {
				if _, err := conn.Write([]byte("x")); err == nil {
					t.Errorf("seed %d: a transport is open", seed)
				}
			}
		})
	}
}
