package session_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Peers that send beyond a stream's window, in version 2.

const (
	overrunBudget = 1 * testutil.MiB
	overrunBound  = overrunBudget / 8
)

// overrunConfigs returns Configs with a budget of that size: one of the session's own, and one that it shares.
func overrunConfigs() map[string]session.Config {
	shared := flow.NewBudget(overrunBudget)
	shared.NewAccount()
	return map[string]session.Config{
		"own budget":    {MaxReceiveBuffer: overrunBudget},
		"shared budget": {Budget: shared},
	}
}

// startOverrun starts a session of version 2 with a stream of the peer. settled returns when the session has
// handled everything that the peer has sent.
func startOverrun(t *testing.T, r role, cfg session.Config) (s *session.Session, p *testutil.Peer, settled func()) {
	s, p = r.start(t, cfg)
	p.Ignore(wire.NOP, wire.UPD)
	p.Send(t, r.syn(r.theirs(0)))
	n := 0
	return s, p, func() {
		n++
		p.Send(t, r.syn(r.theirs(n)))
		_ = accept(t, s).Close()
		p.ExpectClosed(t, "Close sends two FINs", r.fin(r.theirs(n)))
		p.Send(t, r.fin(r.theirs(n)))
	}
}

func eachRoleOfVersion2(t *testing.T, test func(t *testing.T, r role), transports ...string) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == 2 {
			test(t, r)
		}
	}, transports...)
}

// Data beyond a stream's window is taken up to an eighth of the budget. It is held and charged as all other data,
// and the stream goes on.
func TestOverrunOfAnEighthOfTheBudgetIsTaken(t *testing.T) {
	for name, cfg := range overrunConfigs() {
		t.Run(name, func(t *testing.T) {
			eachRoleOfVersion2(t, func(t *testing.T, r role) {
				s, p, settled := startOverrun(t, r, cfg)
				st, id, pattern := accept(t, s), r.theirs(0), testutil.Pattern(7)
				const more = 10_000 // no window is smaller
				data := pattern.Bytes(flow.InitialWindow + overrunBound + more)
				first := data[:len(data)-more]
				p.Send(t, r.pshs(id, first)...)
				settled()
				if got := s.Stats().Unread; got != len(first) {
					t.Errorf("%d bytes are unread, want %d", got, len(first))
				}
				v := pattern.Verifier()
				if _, err := io.CopyN(v, st, int64(len(first))); err != nil {
					t.Fatal(err)
				}
				settled()
				p.Send(t, append(r.pshs(id, data[len(first):]), r.fin(id))...)
				if n, err := io.Copy(v, st); n != more || err != nil {
					t.Errorf("then %d bytes came, %v", n, err)
				}
				if err := s.Err(); err != nil {
					t.Errorf("the session has ended: %v", err)
				}
			}, "sim", "tcp", "bare")
		})
	}
}

// A stream whose peer sends more than that fails: its data is discarded and given back to the budget, and the peer
// sees it closed. Ten times as much that still comes for it is dropped. The session and its other streams go on.
func TestOverrunBeyondItsBoundFailsTheStreamAlone(t *testing.T) {
	for name, cfg := range overrunConfigs() {
		for what, beyond := range map[string]int{"one byte": 1, "a large frame": wire.MaxPayload} {
			t.Run(name+"/"+what, func(t *testing.T) {
				eachRoleOfVersion2(t, func(t *testing.T, r role) {
					s, p, settled := startOverrun(t, r, cfg)
					st, id := accept(t, s), r.theirs(0)
					p.Send(t, r.pshs(id, make([]byte, flow.InitialWindow+overrunBound))...)
					settled()
					p.Send(t, r.psh(id, make([]byte, beyond)))
					p.ExpectClosed(t, "an overrun closes the stream", r.fin(id))
					if got := s.Stats().Unread; got != 0 {
						t.Errorf("%d bytes are unread", got)
					}
					testutil.WantErr(t, "Read", second(st.Read(make([]byte, 10))), flow.ErrWindow)
					testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), flow.ErrWindow)
					testutil.WantErr(t, "WriteTo", second(st.WriteTo(io.Discard)), flow.ErrWindow)
					testutil.WantErr(t, "Close", st.Close(), nil)

					p.Send(t, r.pshs(id, make([]byte, 10*overrunBound))...)
					p.Send(t, r.fin(id), r.syn(r.theirs(9)), r.psh(r.theirs(9), []byte("ping")))
					other := accept(t, s)
					if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
						t.Error(err)
					}
					if got := s.Stats().Unread; got != 0 {
						t.Errorf("%d bytes are unread", got)
					}
					if got := s.NumStreams(); got != 1 {
						t.Errorf("%d streams are open", got)
					}
					if err := s.Err(); err != nil {
						t.Errorf("the session has ended: %v", err)
					}
				}, "sim", "tcp", "bare")
			})
		}
	}
}

// An overrun ends a Write that waits for the peer's window.
func TestOverrunEndsAWriteThatWaits(t *testing.T) {
	eachRoleOfVersion2(t, func(t *testing.T, r role) {
		s, p, _ := startOverrun(t, r, session.Config{MaxReceiveBuffer: overrunBudget})
		st, id := accept(t, s), r.theirs(0)
		written := testutil.Background(func() (int, error) { return st.Write(make([]byte, 4*testutil.MiB)) })
		synctest.Wait()
		p.Send(t, r.pshs(id, make([]byte, flow.InitialWindow+overrunBound+1))...)
		synctest.Wait()
		select {
		case got := <-written:
			testutil.WantErr(t, "Write", got.Err, flow.ErrWindow)
		default:
			t.Error("Write still waits")
		}
		if err := s.Err(); err != nil {
			t.Errorf("the session has ended: %v", err)
		}
	})
}

// However many streams are overrun, the session holds no more than its budget and a frame. Ten times as much waits
// in the transport, and arrives when there is room.
func TestOverrunsOfManyStreamsStayWithinTheBudget(t *testing.T) {
	eachRoleOfVersion2(t, func(t *testing.T, r role) {
		const each = flow.InitialWindow + overrunBound
		const streams = 10*overrunBudget/each + 1
		s, p := r.startLink(t, simnet.Link{Buffer: narrowSize}, session.Config{MaxReceiveBuffer: overrunBudget})
		var running sync.WaitGroup
		defer running.Wait()
		defer p.Close()
		running.Go(func() { _, _ = io.Copy(io.Discard, p.Conn) })
		var frames []testutil.Frame
		for n := range streams {
			frames = append(frames, r.syn(r.theirs(n)))
		}
		for n := range streams {
			frames = append(frames, r.pshs(r.theirs(n), testutil.Pattern(n).Bytes(each))...)
		}
		running.Go(func() { _, _ = p.Conn.Write(appendAll(frames)) })
		bounded := func() {
			if got := s.Stats().Unread; got > overrunBudget+wire.MaxPayload {
				t.Fatalf("%d bytes are unread", got)
			}
		}
		time.Sleep(time.Second)
		if got := s.Stats().Unread; got < overrunBudget {
			t.Errorf("only %d bytes are unread", got)
		}
		bounded()
		for n := range streams {
			st := accept(t, s)
			v := testutil.Pattern(n).Verifier()
			readN(t, io.TeeReader(st, v), each, func(int64) { bounded() })
			if v.Offset() != each {
				t.Errorf("stream %d: %d bytes of %d", n, v.Offset(), each)
			}
		}
		if err := s.Err(); err != nil {
			t.Errorf("the session has ended: %v", err)
		}
	})
}
