package stream_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// An idleFake is a fake whose session closes idle streams when the test says so.
type idleFake struct {
	*fake
	within []time.Duration // what WatchIdle was called with
}

func (f *idleFake) WatchIdle(d time.Duration) { f.within = append(f.within, d) }

// newIdleFake returns a fake with a stream whose time-out is d.
func newIdleFake(t testing.TB, v wire.Version, d time.Duration) *idleFake {
	f := &idleFake{fake: newFake(t, v, false)}
	f.cfg.IdleTimeout = d
	f.core = stream.Core{}
	f.core.Init(&f.cfg, f, 1, false)
	f.core.Start()
	return f
}

// look calls CloseIdle. The session was active just now.
func (f *idleFake) look() time.Duration {
	now := time.Since(f.start)
	return f.core.CloseIdle(now, now)
}

// watch looks as often as CloseIdle asks for, for at most d. It returns after what time the stream was closed, or
// 0.
func (f *idleFake) watch(d time.Duration) time.Duration {
	begin := time.Now()
	for time.Since(begin) <= d {
		again := f.look()
		if again == 0 {
			return time.Since(begin)
		}
		time.Sleep(again)
	}
	return 0
}

// A stream that was idle for its time-out is closed as by Close: calls fail with ErrIdleTimeout, also those that are
// blocked, and the peer is sent two FINs.
func TestIdleStreamIsClosedAfterItsTimeout(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newIdleFake(t, v, time.Minute)
		s := f.stream()
		reading := testutil.Background(func() (int, error) { return s.Read(make([]byte, 10)) })
		synctest.Wait()
		if got := f.watch(time.Hour); got != time.Minute {
			t.Errorf("closed after %v", got)
		}
		wantOpErr(t, "the blocked Read", (<-reading).Err, stream.ErrIdleTimeout)
		_, err := s.Write([]byte("x"))
		wantOpErr(t, "Write", err, stream.ErrIdleTimeout)
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v is no time-out, or one of a deadline", err)
		}
		if diff := cmp.Diff([]wire.Command{wire.FIN, wire.FIN}, commands(f.take(1000))); diff != "" {
			t.Errorf("sent (-want +got)\n%s", diff)
		}
		if f.ended() != 1 || f.core.Outcome() != stream.OutcomeIdle {
			t.Errorf("Finished was called %d times, outcome %v", f.ended(), f.core.Outcome())
		}
		testutil.WantErr(t, "OutcomeErr", f.core.OutcomeErr(), stream.ErrIdleTimeout)
		<-s.Done()
	})
}

// Each of these makes a stream active: then its time begins again.
func TestActivityBeginsTheIdleTimeAgain(t *testing.T) {
	for name, act := range map[string]func(f *idleFake, s *stream.Stream){
		"data that arrives": func(f *idleFake, s *stream.Stream) {
			f.deliver([]byte("x"))
			s.Read(make([]byte, 10))
		},
		"data that is sent": func(f *idleFake, s *stream.Stream) {
			s.Write([]byte("x"))
			f.take(1000)
		},
		"a window update of the peer": func(f *idleFake, s *stream.Stream) {
			f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 20})
		},
		"a new time-out": func(f *idleFake, s *stream.Stream) { s.SetIdleTimeout(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newIdleFake(t, v, time.Minute)
				for range 10 {
					if got := f.watch(50 * time.Second); got != 0 {
						t.Fatalf("closed after %v", got)
					}
					act(f, f.stream())
				}
				if got := f.watch(time.Hour); got < time.Minute || got > 75*time.Second {
					t.Errorf("closed %v after the last activity", got)
				}
			})
		})
	}
}

// A stream is not idle while it holds data, or while a Write waits. Its time begins when that ends.
func TestBusyStreamIsNotIdle(t *testing.T) {
	for name, begin := range map[string]func(f *idleFake, s *stream.Stream) (end func()){
		"unread data": func(f *idleFake, s *stream.Stream) func() {
			f.deliver([]byte("x"))
			return func() { s.Read(make([]byte, 10)) }
		},
		"unsent data": func(f *idleFake, s *stream.Stream) func() {
			s.Write([]byte("x"))
			return func() { f.take(1000) }
		},
		"a Write that waits for the session": func(f *idleFake, s *stream.Stream) func() {
			done := write(s, make([]byte, 1<<20))
			return func() {
				f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30})
				for len(done) == 0 {
					f.take(1 << 20)
					synctest.Wait()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newIdleFake(t, v, time.Minute)
				end := begin(f, f.stream())
				synctest.Wait()
				if got := f.watch(time.Hour); got != 0 {
					t.Fatalf("closed after %v", got)
				}
				end()
				if got := f.watch(time.Hour); got < time.Minute || got > 75*time.Second {
					t.Errorf("closed %v later", got)
				}
			})
		})
	}
}

// A stream's idle time begins when the session was last active, if the stream was not active after that.
func TestIdleTimeIsExactInAQuietSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newIdleFake(t, wire.V2, time.Minute)
		time.Sleep(10 * time.Second)
		f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 20})
		last := time.Since(f.start)
		time.Sleep(14 * time.Second)
		if again := f.core.CloseIdle(time.Since(f.start), last); again != 15*time.Second {
			t.Errorf("after 14 s: again after %v", again)
		}
		time.Sleep(40 * time.Second)
		if again := f.core.CloseIdle(time.Since(f.start), last); again != 6*time.Second {
			t.Errorf("after 54 s: again after %v", again)
		}
		time.Sleep(6 * time.Second)
		if again := f.core.CloseIdle(time.Since(f.start), last); again != 0 {
			t.Errorf("after 60 s: again after %v", again)
		}
	})
}

// SetIdleTimeout replaces the time-out of one stream, also by none.
func TestSetIdleTimeoutReplacesTheDefault(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newIdleFake(t, v, time.Minute)
		s := f.stream()
		if err := s.SetIdleTimeout(0); err != nil {
			t.Fatal(err)
		}
		if again := f.look(); again != 0 || len(f.within) != 0 {
			t.Errorf("without a time-out, CloseIdle returns %v; WatchIdle %v", again, f.within)
		}
		if err := s.SetIdleTimeout(8 * time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{2 * time.Second}, f.within); diff != "" {
			t.Errorf("WatchIdle (-want +got)\n%s", diff)
		}
		if got := f.watch(time.Hour); got != 8*time.Second {
			t.Errorf("closed after %v", got)
		}
		wantOpErr(t, "SetIdleTimeout after that", s.SetIdleTimeout(time.Second), net.ErrClosed)
	})
}

// SetIdleTimeout fails for a negative time, and for a session that does not close idle streams.
func TestSetIdleTimeoutFails(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newIdleFake(t, v, 0)
		if err := f.stream().SetIdleTimeout(-1); err == nil {
			t.Error("a negative time-out is accepted")
		}
		if again := f.look(); again != 0 {
			t.Errorf("CloseIdle returns %v", again)
		}
		if err := f.stream().SetIdleTimeout(1); err != nil {
			t.Error(err)
		}
		if got := f.watch(time.Hour); got != stream.MinIdleTimeout {
			t.Errorf("a time-out of 1 ns: closed after %v", got)
		}
		plain := newFake(t, v, false).stream()
		wantOpErr(t, "SetIdleTimeout", plain.SetIdleTimeout(time.Second), errors.ErrUnsupported)
	})
}

// The end of the session counts, and not the time-out.
func TestCloseIdleLeavesAStreamThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newIdleFake(t, wire.V2, time.Minute)
		f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
		time.Sleep(time.Hour)
		if again := f.look(); again != 0 {
			t.Errorf("CloseIdle returns %v", again)
		}
		_, err := f.stream().Read(make([]byte, 1))
		wantOpErr(t, "Read", err, io.ErrUnexpectedEOF)
	})
}
