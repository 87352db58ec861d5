package session_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Flow control of version 2, with the session under test as the sender.

// sending is a Write of muchData bytes to a scripted peer.
type sending struct {
	id    uint32
	total int // bytes that came so far
	wrote <-chan testutil.Result[int]
}

const muchData = 1 << 20

func startSending(t *testing.T, s *session.Session, p *testutil.Peer) *sending {
	t.Helper()
	st := open(t, s)
	p.Ignore(wire.NOP, wire.SYN)
	return &sending{st.ID(), 0, testutil.Background(func() (int, error) {
		n, err := st.Write(testutil.Pattern(1).Bytes(muchData))
		_ = st.Close()
		return n, err
	})}
}

// read reads the frames that come and checks that they bring the stream to total bytes.
func (w *sending) read(t *testing.T, p *testutil.Peer, total int) {
	t.Helper()
	for {
		f, err := p.TryNext(time.Second)
		if err != nil {
			break
		}
		if f.Command == wire.FIN {
			p.ExpectFrame(t, "Close sends FIN twice", f)
			break
		}
		if err := testutil.Pattern(1).Check(f.Data, int64(w.total)); err != nil {
			t.Fatal(err)
		}
		w.total += len(f.Data)
	}
	if w.total != total {
		t.Fatalf("%d bytes were sent, want %d", w.total, total)
	}
}

// A sender of version 2 sends no more than the peer's window allows.
func TestSenderKeepsToTheWindow(t *testing.T) {
	type update struct{ consumed, window, total uint32 }
	for _, c := range []struct {
		name    string
		updates []update
	}{
		{"it assumes 262,144 bytes at first", nil},
		{"an update that says what is assumed anyway", []update{{0, 262144, 262144}}},
		{"a larger window", []update{{0, 300_000, 300_000}}},
		{"data that was consumed", []update{{100_000, 262144, 362_144}}},
		{"a smaller window", []update{{0, 10, 262144}, {100_000, 1000, 262144}, {262_000, 1000, 263_000}, {263_000, 1000, 264_000}}},
		{"no window, and then one again", []update{{262144, 0, 262144}, {262144, 1, 262145}, {262145, 99, 262244}}},
		{"an update that is older than the last", []update{{100_000, 262144, 362_144}, {50_000, 1 << 20, 362_144}, {100_000, 262_145, 362_145}}},
		{"a window of 2^31 is negative", []update{{0, 1 << 31, 262144}, {262144, 1 << 31, 262144}, {262144, 1 << 20, muchData}}},
		{"the largest window", []update{{0, 1<<31 - 1, muchData}}},
		{"an update for each byte", []update{{1, 262144, 262145}, {2, 262144, 262146}, {3, 262144, 262147}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if r.version == 1 {
					return
				}
				s, p := r.start(t, session.Config{})
				w := startSending(t, s, p)
				w.read(t, p, flow.InitialWindow)
				for _, u := range c.updates {
					p.Send(t, testutil.UPD(2, w.id, u.consumed, u.window))
					w.read(t, p, int(u.total))
				}
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
				if w.total < muchData {
					p.Send(t, testutil.UPD(2, w.id, uint32(w.total), muchData))
					w.read(t, p, muchData)
				}
				if res := <-w.wrote; res.Err != nil || res.Value != muchData {
					t.Errorf("Write = %d, %v", res.Value, res.Err)
				}
			})
		})
	}
}

// Version 1 has no window: data is sent without updates, and none are sent for received data.
func TestVersion1HasNoWindow(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 2 {
			return
		}
		s, p := r.start(t, session.Config{})
		w := startSending(t, s, p)
		w.read(t, p, muchData)
		<-w.wrote
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		p.Send(t, r.pshs(id, testutil.Pattern(1).Bytes(muchData))...)
		p.Send(t, r.fin(id))
		if err := testutil.Pattern(1).Receive(st, muchData); err != nil {
			t.Error(err)
		}
		p.ExpectNothing(t, "version 1 sends no update", time.Second)
	})
}

// A stream that its window stops does not stop others.
func TestSenderStoppedByItsWindowStopsNoOther(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 1 {
			return
		}
		s, p := r.start(t, session.Config{})
		var stopped []*sending
		for range 5 {
			w := startSending(t, s, p)
			w.read(t, p, flow.InitialWindow)
			stopped = append(stopped, w)
		}
		w := startSending(t, s, p)
		w.read(t, p, flow.InitialWindow)
		p.Send(t, testutil.UPD(2, w.id, 0, 1<<30))
		w.read(t, p, muchData)
		wantAlive(t, r, s, p, r.theirs(0))
		_ = s.Close()
		for _, w := range stopped {
			if res := <-w.wrote; res.Value != flow.InitialWindow || res.Err == nil {
				t.Errorf("a stopped Write = %d, %v", res.Value, res.Err)
			}
		}
	})
}
