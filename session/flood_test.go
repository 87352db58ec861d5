package session_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Floods of frames that mean nothing.

// floods are frames that a peer may send without end and that mean nothing.
var floods = []struct {
	name string
	only wire.Version
	// frame returns frame number n. The peer has opened stream 0, which is read, and stream 1, which this side has
	// closed.
	frame func(r role, n int) testutil.Frame
	// answers is the number of answers that each frame may cause.
	answers float64
	// slack is the number of answers allowed in addition, however few frames came.
	slack int
}{
	{name: "NOP", frame: func(r role, n int) testutil.Frame { return r.nop() }},
	{name: "FIN of unknown streams", frame: func(r role, n int) testutil.Frame { return r.fin(r.theirs(10 + n)) }},
	{name: "FIN of unknown streams of this side", frame: func(r role, n int) testutil.Frame { return r.fin(r.ours(10 + n)) }},
	{name: "FIN of one unknown stream", frame: func(r role, n int) testutil.Frame { return r.fin(r.theirs(10)) }},
	{name: "FIN of one open stream", frame: func(r role, n int) testutil.Frame { return r.fin(r.theirs(0)) }, slack: 1},
	{name: "FIN of one closed stream", frame: func(r role, n int) testutil.Frame { return r.fin(r.theirs(1)) }, slack: 1},
	{name: "PSH of unknown streams", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(10+n), []byte("data")) }},
	{name: "PSH of unknown streams of this side", frame: func(r role, n int) testutil.Frame { return r.psh(r.ours(10+n), []byte("data")) }},
	{name: "PSH of one unknown stream", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(10), make([]byte, 100)) }},
	{name: "PSH of one closed stream", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(1), make([]byte, 100)) }},
	{name: "empty PSH of unknown streams", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(10+n), nil) }},
	{name: "empty PSH of one open stream", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(0), nil) }},
	{name: "empty PSH of one closed stream", frame: func(r role, n int) testutil.Frame { return r.psh(r.theirs(1), nil) }},
	{name: "UPD of unknown streams", only: 2, frame: func(r role, n int) testutil.Frame { return testutil.UPD(2, r.theirs(10+n), 1, 2) }},
	{name: "UPD of one unknown stream", only: 2, frame: func(r role, n int) testutil.Frame { return testutil.UPD(2, r.ours(10), uint32(n), 2) }},
	{name: "UPD of one open stream", only: 2, frame: func(r role, n int) testutil.Frame { return testutil.UPD(2, r.theirs(0), 0, uint32(n)) }},
	{name: "UPD of one closed stream", only: 2, frame: func(r role, n int) testutil.Frame { return testutil.UPD(2, r.theirs(1), 0, uint32(n)) }},
	{name: "SYN beyond the backlog", frame: func(r role, n int) testutil.Frame { return r.syn(r.theirs(10 + n)) }, answers: 4, slack: 4},
	{name: "SYN beyond the backlog, the same again and again", frame: func(r role, n int) testutil.Frame {
		return r.syn(r.theirs(10_000 + n%2))
	}, answers: 4, slack: 4},
	{name: "SYN and PSH in turns", frame: func(r role, n int) testutil.Frame {
		if n%2 == 0 {
			return r.syn(r.theirs(10 + n/2))
		}
		return r.psh(r.theirs(10+n/2), []byte("data"))
	}, answers: 4, slack: 4},
}

// floodTest starts a session with the streams that floods use. Its backlog holds 4 streams and is full.
func floodTest(t *testing.T, r role, link simnet.Link) (*session.Session, *testutil.Peer) {
	s, p := r.startLink(t, link, session.Config{AcceptBacklog: 4})
	for n := range 2 {
		p.Send(t, r.syn(r.theirs(n)))
	}
	go io.Copy(io.Discard, accept(t, s))
	_ = accept(t, s).Close()
	p.ExpectClosed(t, "Close sends two FINs", r.fin(r.theirs(1)))
	for n := range 4 {
		p.Send(t, r.syn(r.theirs(2+n)))
	}
	synctest.Wait()
	return s, p
}

// A flood of frames that mean nothing costs bounded memory and a bounded number of answers.
func TestFloodCostsBoundedMemoryAndAnswers(t *testing.T) {
	const frames = 5_000
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if flood.only != 0 && flood.only != r.version {
					return
				}
				s, p := floodTest(t, r, simnet.Link{})
				before := s.NumStreams()
				answers := testutil.Background(func() (int, error) {
					for n := 0; ; n++ {
						if _, err := p.TryNext(time.Minute); err != nil {
							return n, err
						}
					}
				})
				sendFlood(t, r, p, flood.frame, frames)
				synctest.Wait()
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
				got := (<-answers).Value
				if most := int(flood.answers*frames) + flood.slack; got > most {
					t.Errorf("%d frames got %d answers, want at most %d", frames, got, most)
				}
				if n := s.NumStreams(); n > before {
					t.Errorf("%d streams are open, were %d", n, before)
				}
				if n := s.Stats().Unread; n != 0 {
					t.Errorf("%d bytes are kept", n)
				}
			})
		})
	}
}

// A flood whose answers the peer does not read costs bounded memory and at most one goroutine.
func TestFloodOfUnreadAnswersCostsBoundedMemory(t *testing.T) {
	const frames = 20_000
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if flood.only != 0 && flood.only != r.version || flood.answers == 0 {
					return
				}
				s, p := floodTest(t, r, simnet.Link{})
				p.Conn.(*simnet.Conn).In().Stall()
				routines := goroutines("smuxkit/session.")
				heap := heapInUse()
				go func() {
					var b []byte
					for n := range frames {
						b = flood.frame(r, n).Append(b)
					}
					p.Conn.Write(b)
				}()
				synctest.Wait()
				if n := goroutines("smuxkit/session.") - routines; n > 1 {
					t.Errorf("%d goroutines more", n)
				}
				if n := heapInUse() - heap; n > 8<<20 {
					t.Errorf("%d bytes of memory more", n)
				}
				if err := s.Err(); err != nil {
					t.Fatal(err)
				}
				p.Conn.(*simnet.Conn).In().Unstall()
				answers := 0
				for {
					if _, err := p.TryNext(time.Minute); err != nil {
						break
					}
					answers++
				}
				if refused := int(s.Stats().StreamsRefused); answers != 4*refused {
					t.Errorf("%d answers for %d streams that were refused", answers, refused)
				}
			})
		})
	}
}

// sendFlood sends frames, many in one Write.
func sendFlood(t *testing.T, r role, p *testutil.Peer, frame func(r role, n int) testutil.Frame, frames int) {
	t.Helper()
	var b []byte
	for n := range frames {
		b = frame(r, n).Append(b)
		if len(b) > 50_000 || n == frames-1 {
			p.SendBytes(t, b)
			b = b[:0]
		}
	}
}
