package session_test

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A MaxStreamWindow below the 262,144 bytes that the protocol begins with.

// smallWindows are values of MaxStreamWindow. The window is odd, and so it may be a byte smaller.
var smallWindows = []int{16_384, 16_385, 50_000, 65_536, 262_143}

// eachSmallWindow runs test for both roles in version 2.
func eachSmallWindow(t *testing.T, test func(t *testing.T, r role, size int)) {
	t.Helper()
	for _, size := range smallWindows {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if r.version == 2 {
					test(t, r, size)
				}
			})
		})
	}
}

// The window is told right behind SYN, of a stream that the peer opens and of one that this side opens.
func TestSmallMaxStreamWindowIsToldRightAfterSYN(t *testing.T) {
	eachSmallWindow(t, func(t *testing.T, r role, size int) {
		s, p := r.start(t, session.Config{MaxStreamWindow: size})
		check := func(id uint32) {
			t.Helper()
			f := p.Next(t, "the window is told")
			if u := f.Update(); f.StreamID != id || u.Consumed != 0 || int(u.Window) > size || int(u.Window) < size-2 {
				t.Errorf("got %v, want a window of %d", f, size)
			}
		}
		p.Send(t, r.syn(r.theirs(0)))
		accept(t, s)
		check(r.theirs(0))
		st := open(t, s)
		p.ExpectFrame(t, "SYN is first", r.syn(st.ID()))
		check(st.ID())
	})
}

// A peer that has not seen the update may send 262,144 bytes. They arrive, and once they are read the window is the small
// one.
func TestPeerMayUseTheInitialWindowOfASmallOne(t *testing.T) {
	eachSmallWindow(t, func(t *testing.T, r role, size int) {
		s, p := r.startLink(t, simnet.Link{Delay: 10 * time.Millisecond}, session.Config{MaxStreamWindow: size})
		id := r.theirs(0)
		data := testutil.Pattern(1).Bytes(flow.InitialWindow)
		p.Send(t, append([]testutil.Frame{r.syn(id)}, r.pshs(id, data)...)...)
		st := accept(t, s)
		synctest.Wait()
		if got := s.Stats().Unread; got > 2*flow.InitialWindow {
			t.Errorf("%d bytes are unread", got)
		}
		if err := testutil.Pattern(1).Receive(io.LimitReader(st, flow.InitialWindow), flow.InitialWindow); err != nil {
			t.Error(err)
		}
		w := newWindow()
		w.limit = 0
		time.Sleep(time.Second)
		w.take(t, p, id, flow.InitialWindow)
		last := w.updates[len(w.updates)-1]
		if left := int(last.Consumed+last.Window) - flow.InitialWindow; left > size || left < size/2-2 {
			t.Errorf("when all was read the peer may send %d bytes, want about %d", left, size)
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// However fast the path and the reader, no update allows more than MaxStreamWindow beyond what was read, and a peer that
// keeps to it never has more unread. Streams still get all of their data, ten times the window and more.
func TestSmallMaxStreamWindowIsNeverExceeded(t *testing.T) {
	for _, size := range smallWindows {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := testutil.SimPair(t, path(simnet.Gbit, 20*time.Millisecond))
				tap := tapUpdates(b)
				c, s := client(t, a, v2()), server(t, tap, &session.Config{Version: 2, MaxStreamWindow: size})
				outs, ins := openPairs(t, c, s, 4)
				total := int64(10 * size)
				time.Sleep(time.Second) // the peer learns the windows
				for _, out := range outs {
					go func() { _, _ = writeN(out, total, 20_000) }()
				}
				time.Sleep(time.Second)
				if got := s.Stats().Unread; got > 4*size {
					t.Errorf("%d bytes of four streams are unread", got)
				}
				for _, in := range ins {
					readN(t, in, total, nil)
				}
				for _, u := range tap.list() {
					if int(u.window) > size {
						t.Errorf("an update allows %d bytes", u.window)
					}
				}
			})
		})
	}
}
