package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Windows that are taken back from a session.

// A wanter is a member of a budget that holds four fifths of what the budget may promise. This makes windows
// scarce.
type wanter struct {
	account *flow.Account
	held    int
}

func newWanter(b *flow.Budget) *wanter {
	w := &wanter{account: b.NewAccount()}
	w.account.SetMaxWindow(b.Size())
	for w.held < b.Size()*7/10 {
		w.held = w.account.Resize(w.held, b.Size()*7/10)
	}
	return w
}

// want asks for more until the budget has told its sessions, and then gives it back.
func (w *wanter) want() {
	for range 64 {
		w.account.Resize(w.account.Resize(w.held, 1<<30), w.held)
	}
	synctest.Wait()
}

// transfer sends n bytes and reads them.
func transfer(t *testing.T, out, in *stream.Stream, n int64) {
	t.Helper()
	go writeN(out, n, 64*testutil.KiB)
	readN(t, in, n, nil)
}

// reclaimers returns the number of goroutines that take windows back.
func reclaimers() int { return goroutines("(*reclaimer)") }

// While windows are scarce an idle session gives its own back, except those of streams that hold unread bytes. It
// then has no goroutine for this, however often other sessions ask.
func TestIdleSessionHoldsNoGoroutineForScarceWindows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(8 * testutil.MiB)
		cfg := &session.Config{Version: 2, Budget: budget, KeepAlive: off}
		c, s := sessionsOver(t, path(100*simnet.Mbit, 10*time.Millisecond), &session.Config{Version: 2, KeepAlive: off}, cfg)
		outs, ins := openPairs(t, c, s, 3)
		transfer(t, outs[0], ins[0], 2*testutil.MiB)
		transfer(t, outs[1], ins[1], 2*testutil.MiB)
		if _, err := outs[2].Write(make([]byte, 10_000)); err != nil { // nobody reads this
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		held := budget.Committed()
		w := newWanter(budget)

		w.want()
		if n := reclaimers(); n != 1 {
			t.Errorf("%d goroutines take windows back, want one", n)
		}
		time.Sleep(time.Second)
		kept := budget.Committed() - w.held
		t.Logf("of %d KiB, %d KiB are left", held/testutil.KiB, kept/testutil.KiB)
		if kept == 0 || kept > flow.InitialWindow {
			t.Errorf("%d bytes are promised, want no more than the window of the stream that is not read", kept)
		}
		if !w.account.UnderPressure() {
			t.Fatal("windows are not scarce")
		}
		for range 100 {
			if n := reclaimers(); n != 0 {
				t.Fatalf("%d goroutines take windows back that an idle session does not have", n)
			}
			w.want()
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// A session that has given back all it could gives back more when streams become idle, and when data that a stream
// held is read.
func TestWindowsAreTakenBackWhenStreamsBecomeIdle(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(t *testing.T, c, s *session.Session, out, in *stream.Stream)
	}{
		{"a stream that was idle is used", func(t *testing.T, _, _ *session.Session, out, in *stream.Stream) {
			readN(t, in, 10_000, nil)
			transfer(t, out, in, testutil.MiB)
		}},
		{"a stream is opened and used", func(t *testing.T, c, s *session.Session, _, in *stream.Stream) {
			readN(t, in, 10_000, nil)
			out, in := openPair(t, c, s)
			transfer(t, out, in, testutil.MiB)
		}},
		{"what was unread is read", func(t *testing.T, _, _ *session.Session, _, in *stream.Stream) {
			readN(t, in, 10_000, nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				budget := flow.NewBudget(8 * testutil.MiB)
				cfg := &session.Config{Version: 2, Budget: budget, KeepAlive: off}
				c, s := sessionsOver(t, path(100*simnet.Mbit, 10*time.Millisecond), &session.Config{Version: 2, KeepAlive: off}, cfg)
				out, in := openPair(t, c, s)
				if _, err := out.Write(make([]byte, 10_000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				w := newWanter(budget)
				w.want()
				time.Sleep(time.Second)
				if reclaimers() != 0 || budget.Committed() == w.held {
					t.Fatal("the stream that holds unread bytes has lost its window")
				}

				tt.use(t, c, s, out, in)
				time.Sleep(time.Second)
				if budget.Committed() == w.held {
					t.Fatal("nothing is promised")
				}
				w.want()
				time.Sleep(time.Second)
				if got := budget.Committed() - w.held; got != 0 {
					t.Errorf("%d bytes are still promised to streams that are idle", got)
				}
				if n := reclaimers(); n != 0 {
					t.Errorf("%d goroutines still take windows back", n)
				}
			})
		})
	}
}

// A session that ends while its windows are taken back leaves nothing behind.
func TestSessionMayEndWhileItsWindowsAreTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		budget := flow.NewBudget(8 * testutil.MiB)
		c, s := sessionsOver(t, path(100*simnet.Mbit, 0), v2(), &session.Config{Version: 2, Budget: budget})
		out, in := openPair(t, c, s)
		transfer(t, out, in, testutil.MiB)
		w := newWanter(budget)
		w.want()
		if n := reclaimers(); n != 1 {
			t.Errorf("%d goroutines take windows back, want one", n)
		}
		elapsed := testutil.Clock()
		_, _ = c.Close(), s.Close()
		synctest.Wait()
		if d := elapsed(); d > time.Millisecond {
			t.Errorf("the end after %v", d)
		}
		if n := reclaimers(); n != 0 {
			t.Errorf("%d goroutines are left", n)
		}
		w.want() // reaches nobody
	})
}
