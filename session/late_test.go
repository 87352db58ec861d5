package session_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Frames of streams that have ended.

// Data for a stream that was closed gets no answer: its two FINs have said that nobody reads.
func TestDataForAClosedStreamGetsNoAnswer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		for n, size := range []int{1, 8000, 8192, 60_000} {
			id := r.theirs(n)
			p.Send(t, r.syn(id))
			_ = accept(t, s).Close()
			p.ExpectClosed(t, "Close sends two FINs", r.fin(id))
			for range 3 {
				p.Send(t, r.psh(id, make([]byte, size)))
			}
			p.ExpectNothing(t, "data of a closed stream gets no answer", time.Second)
		}
		wantAlive(t, r, s, p, r.theirs(100))
	}, "sim")
}

// Late frames of a stream that both sides have closed are dropped.
func TestLateFramesOfAClosedStreamAreDropped(t *testing.T) {
	for _, c := range []struct {
		name  string
		only  wire.Version
		frame func(r role, id uint32) testutil.Frame
	}{
		{"PSH", 0, func(r role, id uint32) testutil.Frame { return r.psh(id, []byte("late")) }},
		{"a large PSH", 0, func(r role, id uint32) testutil.Frame { return r.psh(id, make([]byte, 65535)) }},
		{"FIN", 0, func(r role, id uint32) testutil.Frame { return r.fin(id) }},
		{"UPD", 2, func(r role, id uint32) testutil.Frame { return testutil.UPD(2, id, 0, 262144) }},
		{"UPD that makes no sense", 2, func(r role, id uint32) testutil.Frame { return testutil.UPD(2, id, 99, 262144) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if c.only != 0 && c.only != r.version {
					return
				}
				s, p := r.start(t, session.Config{})
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("data")), r.fin(id))
				st := accept(t, s)
				if got, err := io.ReadAll(st); string(got) != "data" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				_ = st.Close()
				p.ExpectFrame(t, "Close answers FIN with one FIN", r.fin(id))
				// wantAlive uses another stream, so that this one is not the last of which a frame came.
				for n := range 2 {
					p.Send(t, c.frame(r, id), c.frame(r, id))
					p.ExpectNothing(t, "a late frame gets no answer", time.Second)
					wantAlive(t, r, s, p, r.theirs(1+n))
				}
			})
		})
	}
}

// A stream id that the peer uses again is a new stream, not confused with the old one, or a violation. No known
// peer does this.
func TestStreamIDUsedAgainIsANewStreamOrAViolation(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		for range 3 {
			p.Send(t, r.syn(id), r.psh(id, []byte("data")), r.fin(id))
			st, err := s.AcceptStream(t.Context())
			if err != nil {
				testutil.WantErr(t, "Accept", err, session.ErrStreamInUse)
				return
			}
			var got []byte
			res := testutil.Background(func() ([]byte, error) { return io.ReadAll(st) })
			select {
			case r := <-res:
				got = r.Value
			case <-time.After(time.Second):
			}
			if string(got) != "data" {
				t.Errorf("the new stream read %q", got)
			}
			_ = st.Close()
			p.ExpectFrame(t, "Close answers FIN with one FIN", r.fin(id))
		}
	})
}

// A session that has had many streams holds none after their end.
func TestStreamEndLeavesNothingBehind(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		for n := range 100 {
			id := r.theirs(n)
			p.Send(t, r.syn(id), r.psh(id, []byte("request")))
			st := accept(t, s)
			_, _ = io.ReadFull(st, make([]byte, 7))
			_ = st.Close()
			p.ExpectClosed(t, "Close sends two FINs", r.fin(id))
			p.Send(t, r.fin(id))
		}
		synctest.Wait()
		if n := s.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
	})
}
