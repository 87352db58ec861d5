package stream_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

var errGone = errors.New("session gone")

// Finished is called once when nothing is left to do, in whatever order the events of a stream's life come.
func TestFinishedIsCalledOnce(t *testing.T) {
	events := map[string]func(f *fake){
		"Write":      func(f *fake) { f.stream().Write([]byte("hello")) },
		"CloseWrite": func(f *fake) { f.stream().CloseWrite() },
		"Close":      func(f *fake) { f.stream().Close() },
		"CloseRead":  func(f *fake) { f.stream().CloseRead() },
		"data":       func(f *fake) { f.core.Deliver([]byte("hello"), false) },
		"FIN":        func(f *fake) { f.core.HandleFIN() },
		"read":       func(f *fake) { f.stream().SetReadDeadline(time.Now()); drain(f.stream()) },
		"send":       func(f *fake) { f.take(1000) },
	}
	for _, set := range [][]string{
		{"Close", "FIN", "send"},
		{"CloseWrite", "FIN", "read", "send"},
		{"CloseWrite", "Close", "send", "FIN"},
		{"Write", "CloseWrite", "data", "FIN", "read", "send"},
		{"CloseRead", "CloseWrite", "data", "FIN", "send"},
		{"Close", "data", "FIN", "FIN", "send", "send"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				for order := range permutations(set) {
					f := newFake(t, v, true)
					for _, e := range order {
						events[e](f)
					}
					// Now all events have happened, and everything can be sent and read.
					f.take(1000)
					drain(f.stream())
					f.take(1000)
					f.stream().Close()
					f.take(1000)
					if f.finished != 1 {
						t.Errorf("%v: Finished was called %d times", order, f.finished)
					}
					if n := f.cfg.Budget.Used(); n != 0 {
						t.Errorf("%v: the budget is charged %d bytes", order, n)
					}
				}
			})
		})
	}
}

// drain reads all data that has arrived.
func drain(s *stream.Stream) {
	s.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, s)
		close(done)
	}()
	synctest.Wait()
	s.SetReadDeadline(time.Unix(1, 0))
	<-done
	s.SetReadDeadline(time.Time{})
}

// permutations yields the orders of list.
func permutations(list []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		list := slices.Clone(list)
		var from func(i int) bool
		from = func(i int) bool {
			if i == len(list) {
				return yield(list)
			}
			for k := i; k < len(list); k++ {
				list[i], list[k] = list[k], list[i]
				if !from(i + 1) {
					return false
				}
				list[i], list[k] = list[k], list[i]
			}
			return true
		}
		from(0)
	}
}

// Finished is called when both directions have ended, and not before.
func TestFinishedIsNotCalledTooEarly(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fake)
		want int
	}{
		{"open", func(f *fake) {}, 0},
		{"closed, FIN unsent", func(f *fake) { f.stream().Close() }, 0},
		{"closed", func(f *fake) { f.stream().Close(); f.take(100) }, 1},
		{"closed, FIN came first", func(f *fake) { f.core.HandleFIN(); f.stream().Close(); f.take(100) }, 1},
		{"half-closed", func(f *fake) { f.stream().CloseWrite(); f.take(100) }, 0},
		{"half-closed by the peer", func(f *fake) { f.core.HandleFIN() }, 0},
		{"half-closed by both, unread", func(f *fake) {
			f.deliver([]byte("x"))
			f.core.HandleFIN()
			f.stream().CloseWrite()
			f.take(100)
		}, 0},
		{"half-closed by both, read", func(f *fake) {
			f.deliver([]byte("x"))
			f.core.HandleFIN()
			f.stream().CloseWrite()
			f.take(100)
			f.stream().Read(make([]byte, 10))
		}, 1},
		{"half-closed by both, closed for reading", func(f *fake) {
			f.deliver([]byte("x"))
			f.core.HandleFIN()
			f.stream().CloseWrite()
			f.take(100)
			f.stream().CloseRead()
		}, 1},
		{"the session has ended", func(f *fake) { f.core.Abort(errGone, stream.AbortBoth) }, 0},
		{"closed after the session has ended", func(f *fake) { f.core.Abort(errGone, stream.AbortBoth); f.stream().Close() }, 0},
		{"closed while the session ends", func(f *fake) { f.core.Abort(errGone, stream.AbortRead); f.stream().Close(); f.take(100) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, true)
				f.take(100)
				c.do(f)
				if f.finished != c.want {
					t.Errorf("Finished was called %d times, want %d", f.finished, c.want)
				}
			})
		})
	}
}

// A second FIN ends Writes and drops unsent data, which nobody would read.
func TestSecondFINEndsWritesAndDropsUnsentData(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		s.Write([]byte("nobody will read this"))
		blocked := write(s, make([]byte, 1<<20))
		synctest.Wait()
		f.core.HandleFIN()
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read: %v, want a bare io.EOF", err)
		}
		f.core.HandleFIN()
		r := <-blocked
		wantOpErr(t, "Write", r.Err, stream.ErrPeerClosed)
		_, err := s.Write([]byte("x"))
		wantOpErr(t, "Write", err, stream.ErrPeerClosed)
		wantOpErr(t, "Close", s.Close(), stream.ErrPeerClosed) // data that Write took was not sent
		if diff := cmp.Diff([]wire.Command{wire.FIN}, commands(f.take(1<<20))); diff != "" {
			t.Errorf("sent (-want +got)\n%s", diff)
		}
	})
}

// Abort ends the directions that its kind names.
func TestAbortEndsWhatItsKindSays(t *testing.T) {
	for _, c := range []struct {
		how      stream.Ending
		unread   string // what a Read gets
		arriving bool   // more may come
		sent     string
	}{
		{stream.AbortBoth, "unread", false, ""},
		{stream.AbortWrite, "unread", true, ""},
		{stream.AbortRead, "", false, "written"},
	} {
		t.Run(fmt.Sprint(c.how), func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, false)
				s := f.stream()
				unread := c.unread
				f.deliver([]byte("unread"))
				s.Write([]byte("written"))
				f.core.Abort(errGone, c.how)
				if f.core.HasUnsent() != (c.sent != "") {
					t.Errorf("Unsent = %v", f.core.HasUnsent())
				}
				if got := string(payload(f.take(1000))); got != c.sent {
					t.Errorf("sent %q, want %q", got, c.sent)
				}
				_, err := s.Write([]byte("x"))
				wantOpErr(t, "Write", err, errGone)
				if c.arriving {
					f.deliver([]byte(" and more"))
					unread += " and more"
					f.core.Abort(errGone, stream.AbortBoth)
				}
				f.core.Deliver([]byte("too late"), false)
				got, err := io.ReadAll(s)
				if string(got) != unread {
					t.Errorf("read %q, want %q", got, unread)
				}
				want := errGone
				if c.how == stream.AbortRead {
					want = net.ErrClosed // only Close of the session ends it so
				}
				wantOpErr(t, "Read", err, want)
				if n := f.cfg.Budget.Used(); n != 0 {
					t.Errorf("the budget is charged %d bytes", n)
				}
			})
		})
	}
}

// After CloseRead the peer's window moves on, although nobody reads.
func TestCloseReadKeepsThePeerFromWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		f := newFake(t, wire.V2, false)
		f.deliver(make([]byte, 200_000))
		f.stream().CloseRead()
		f.take(1000)
		for range 20 {
			f.deliver(make([]byte, 100_000))
			f.take(1000) // with window updates, or else Deliver would fail
		}
		if n := f.cfg.Budget.Used(); n != 0 {
			t.Errorf("the budget is charged %d bytes", n)
		}
	})
}

// A closed stream gives up data for which the peer opens no window. A peer that has sent one FIN may have closed
// the stream and forgotten it, as xtaci/smux does. If it opens its window once, it has not, and may take any time
// to do so again.
func TestClosedStreamGivesUpDataWithoutWindow(t *testing.T) {
	const linger, size = 5 * time.Second, 30_000
	window := func(f *fake, n uint32) {
		if err := f.core.HandleUpdate(wire.WindowUpdate{Window: n}); err != nil {
			f.t.Error(err)
		}
	}
	none := func(*fake) {}
	fin := func(f *fake) { f.core.HandleFIN() }
	// others are closed streams of the same session that wait for their windows.
	others := func(streams int) func(f *fake) {
		return func(f *fake) {
			for i := range streams {
				o := &fake{t: f.t, start: f.start}
				o.core.Init(&f.cfg, o, uint32(3+2*i), false)
				window(o, 0)
				o.stream().Write(make([]byte, 1))
				for range 4 {
					o.stream().Write(make([]byte, 25_000)) // each is accepted, as it is short
				}
				o.stream().Close()
				f.t.Cleanup(func() { o.core.Abort(io.EOF, stream.AbortBoth) })
			}
		}
	}
	for _, c := range []struct {
		name string
		do   func(f *fake)
		late time.Duration // when its last turn comes and it uses up the window
		then func(f *fake) // a second later
		gone time.Duration // when the stream is finished; 0 means never
	}{
		{"FIN", fin, 0, nil, linger},
		{"FIN, and the transport is busy", fin, 4 * time.Second, nil, 4*time.Second + linger},
		{"an update, and FIN", func(f *fake) { window(f, 1000); fin(f) }, 0, nil, linger},
		{"FIN, and an update", func(f *fake) { fin(f); window(f, 1000) }, 0, nil, 0},
		{"no FIN", none, 0, nil, 0},
		{"no FIN, and others wait for 15 MB", none, 0, others(150), 0},
		{"no FIN, and others wait for 17 MB", none, 0, others(170), linger},
		{"no FIN, and others have begun to wait for 17 MB before", others(170), time.Second, nil, 0},
		{"FIN, an update, and others wait for 17 MB", func(f *fake) { fin(f); window(f, 1000) }, 0, others(170), linger},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, wire.V2, false)
				f.cfg.Linger = linger
				window(f, 1000)
				f.stream().Write(make([]byte, 1))
				f.stream().Write(make([]byte, size-1)) // waits for its turn when Close is called
				c.do(f)
				f.stream().Close()
				time.Sleep(c.late)
				got := payload(f.take(1 << 20))
				if len(got) != 1000 {
					t.Errorf("%d bytes were sent, want 1000", len(got))
				}
				time.Sleep(time.Second)
				if c.then != nil {
					c.then(f)
				}
				times := 0
				for time.Since(f.start) < time.Hour && times == 0 {
					time.Sleep(time.Second)
					synctest.Wait()
					times = f.ended()
					if late := f.take(1 << 20); len(late) > 0 {
						t.Errorf("there was nothing to send, it sent %v", late)
					}
				}
				if c.gone > 0 {
					if at := time.Since(f.start); times != 1 || at != c.gone {
						t.Errorf("finished %d times after %v, want once after %v", times, at, c.gone)
					}
					return
				}
				if times != 0 {
					t.Fatalf("finished after %v", time.Since(f.start))
				}
				window(f, size)
				late := f.take(1 << 20)
				if got = append(got, payload(late)...); len(got) != size || late[len(late)-1].Command != wire.FIN {
					t.Errorf("%d bytes were sent, and then %v; want %d, and FIN", len(got), late[len(late)-1], size)
				}
			})
		})
	}
}
