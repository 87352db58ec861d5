package main

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// pooled is bubble for a test of the original, which has a pool of channels: those of a bubble must not be used outside of
// it.
func pooled(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	emptyPools()
	defer emptyPools()
	bubble(t, test)
}

// emptyPools empties each sync.Pool.
func emptyPools() {
	runtime.GC() // after one, a pool still has what was in it before
	runtime.GC()
}

// ended reports whether c is closed.
func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waiting makes a call in another goroutine, and returns when the call waits.
func (x *exchange) waiting(call func() error) <-chan testutil.Result[struct{}] {
	c := testutil.BackgroundErr(call)
	x.settle()
	return c
}

// look notes what is to be seen of both ends without a call that may wait.
func (x *exchange) look(what string) {
	x.note(what, fmt.Sprintf("streams %d and %d, ended %v and %v", x.c.NumStreams(), x.s.NumStreams(), ended(x.a.GetDieCh()), ended(x.b.GetDieCh())), nil)
}

// readAll notes what io.ReadAll returns.
func (x *exchange) readAll(what string, r io.Reader) {
	p, err := io.ReadAll(r)
	x.note(what, string(p), err)
}

// The two packages return the same from the same calls, also when the other side has done something before: what it did
// has arrived when the next call begins.
func TestCallsReturnTheSameOnceTheOtherSideHasActed(t *testing.T) {
	for name, calls := range map[string]func(x *exchange){
		"the peer closes, with unread data here": func(x *exchange) {
			x.write("the peer's Write", x.b, 10)
			x.note("the peer's Close", "", x.b.Close())
			x.look("then")
			x.read("Read", x.a)
			x.read("Read", x.a)
			x.look("after Read")
			x.note("Close", "", x.a.Close())
			x.look("after Close")
		},
		"both half-close, with unread data": func(x *exchange) {
			x.write("Write", x.a, 5)
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.write("the peer's Write", x.b, 7)
			x.note("the peer's CloseWrite", "", x.b.CloseWrite())
			x.look("then")
			x.read("Read", x.a)
			x.look("after Read")
			x.read("Read", x.a)
			x.note("Close", "", x.a.Close())
			x.read("Read", x.a)
			x.note("the peer's Close", "", x.b.Close())
			x.read("the peer's Read", x.b)
			x.look("after Close")
		},
		"Close of a stream from which others read": func(x *exchange) {
			reading := x.waiting(func() error { _, err := x.a.Read(make([]byte, 1)); return err })
			copying := x.waiting(func() error { _, err := x.a.WriteTo(io.Discard); return err })
			x.note("Close", "", x.a.Close())
			x.note("Read", "", (<-reading).Err)
			x.note("WriteTo", "", (<-copying).Err)
		},
		"the peer half-closes while Read waits": func(x *exchange) {
			reading := x.waiting(func() error { _, err := x.a.Read(make([]byte, 1)); return err })
			x.note("the peer's CloseWrite", "", x.b.CloseWrite())
			x.note("Read", "", (<-reading).Err)
			x.write("Write", x.a, 3)
			x.read("the peer's Read", x.b)
			x.look("then")
		},
		"the peer closes, and this side half-closes": func(x *exchange) {
			x.note("the peer's Close", "", x.b.Close())
			x.look("then")
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.look("after CloseWrite")
			x.note("Close", "", x.a.Close())
		},
		"the peer closes streams that nobody has accepted": func(x *exchange) {
			for _, data := range []string{"abc", ""} {
				st, err := x.c.Open()
				if err != nil {
					x.t.Fatal(err)
				}
				_, err = io.WriteString(st, data)
				x.note("the peer's Write", "", err)
				x.note("the peer's Close", "", st.Close())
			}
			x.look("then")
			for range 2 {
				st, err := x.s.Accept()
				if err != nil {
					x.t.Fatal(err)
				}
				x.readAll("Read", st)
				x.note("Close", "", st.Close())
			}
			x.look("after Close")
		},
		"Close of the session, with unread data": func(x *exchange) {
			x.write("the peer's Write", x.b, 10)
			x.note("Close", "", x.c.Close())
			x.note("closed", fmt.Sprint(ended(x.c.CloseChan()), ended(x.a.GetDieCh())), nil)
			x.read("Read", x.a)
			x.write("Write", x.a, 1)
		},
		"the peer's session ends, with unread data here": func(x *exchange) {
			x.write("the peer's Write", x.b, 10)
			x.note("the peer's Close", "", x.s.Close())
			n, _ := x.a.Read(make([]byte, 100)) // in version 2, the original fails to send a window update
			x.note("Read", n, nil)
			x.read("Read", x.a)
			_, err := x.c.Accept()
			x.note("Accept", "", err)
		},
		"a deadline that has passed": func(x *exchange) {
			x.note("SetDeadline", "", x.a.SetDeadline(time.Now().Add(-time.Second)))
			x.write("Write of nothing", x.a, 0)
			x.read("Read", x.a)
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.read("the peer's Read", x.b)
		},
		"a deadline ends a Read that waits": func(x *exchange) {
			reading := x.waiting(func() error { _, err := x.a.Read(make([]byte, 1)); return err })
			began := time.Now()
			x.note("SetReadDeadline", "", x.a.SetReadDeadline(began.Add(time.Minute)))
			x.note("Read", "", (<-reading).Err)
			x.note("after", time.Since(began), nil)
		},
		"a deadline ends an Accept that waits": func(x *exchange) {
			began := time.Now()
			x.note("SetDeadline", "", x.s.SetDeadline(began.Add(time.Minute)))
			_, err := x.s.Accept()
			x.note("Accept", time.Since(began), err)
		},
	} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", name, version), func(t *testing.T) {
				var notes [2][]string
				for i, impl := range implementations {
					pooled(t, func(t *testing.T) {
						x := &exchange{t: t, settle: synctest.Wait}
						x.begin(impl, version)
						calls(x)
						notes[i] = x.notes
					})
				}
				if diff := cmp.Diff(notes[0], notes[1]); diff != "" {
					t.Errorf("the original's -, ours +:\n%s", diff)
				}
			})
		}
	}
}
