package testutil

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/wire"
)

// Two Peers talk over every transport.
func TestPeersTalkOverEveryTransport(t *testing.T) {
	for _, tr := range Transports() {
		t.Run(tr.Name, func(t *testing.T) {
			LeakCheck(t)
			client, server := tr.Pair(t)
			a, b := NewPeer(t, client), NewPeer(t, server)
			sent := make(chan struct{})
			go func() { // a Write to a net.Pipe waits for its reader
				defer close(sent)
				var buf []byte
				for _, f := range []Frame{SYN(2, 1), PSH(2, 1, []byte("hello")), UPD(2, 1, 1, 2), FIN(2, 1)} {
					buf = f.Append(buf)
				}
				if _, err := a.Conn.Write(buf); err != nil {
					t.Error(err)
				}
			}()
			b.ExpectFrame(t, "claim", SYN(2, 1))
			b.ExpectFrame(t, "claim", PSH(2, 1, []byte("hello")))
			if got := b.Next(t, "claim").Update(); got != (wire.WindowUpdate{Consumed: 1, Window: 2}) {
				t.Errorf("Update = %+v", got)
			}
			b.ExpectFrame(t, "claim", FIN(2, 1))
			<-sent
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			b.ExpectEOF(t, "claim")
		})
	}
}

// scripted runs a test of a Peer in a bubble, with the other end of its connection.
func scripted(t *testing.T, test func(t testing.TB, p *Peer, other *simnet.Conn)) *recorder {
	t.Helper()
	var r *recorder
	synctest.Test(t, func(t *testing.T) {
		r = record(func(t testing.TB) {
			a, b := SimPair(t, simnet.Link{Delay: 10 * time.Millisecond, Buffer: 1000})
			test(t, NewPeer(t, a), b)
		})
	})
	return r
}

func send(other io.Writer, frames ...Frame) {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	_, _ = other.Write(b)
}

// Expectations that hold do not fail the test.
func TestExpectationsThatHoldPass(t *testing.T) {
	r := scripted(t, func(t testing.TB, p *Peer, other *simnet.Conn) {
		send(other, PSH(1, 3, []byte("one")), PSH(1, 3, nil), NOP(1), PSH(1, 3, []byte("two")), FIN(1, 3))
		p.Ignore(wire.NOP, wire.UPD)
		p.ExpectData(t, "claim", 3, []byte("onetwo"))
		p.ExpectFrame(t, "claim", FIN(1, 3))
		p.ExpectNothing(t, "claim", time.Hour)
		send(other, PSH(1, 5, []byte{}))
		p.ExpectFrame(t, "claim", Frame{Header: wire.Header{Version: 1, Command: wire.PSH, StreamID: 5}, Data: []byte{}})
		p.ExpectData(t, "claim", 5, nil)
		other.Close()
		p.ExpectEOF(t, "claim")
	})
	if r.failed {
		t.Error(r.log)
	}
}

// An expectation that does not hold fails the test. Its message says what was expected and what came.
func TestExpectationsThatDoNotHoldFail(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(t testing.TB, p *Peer, other *simnet.Conn)
		want []string
	}{
		{"another frame", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, FIN(1, 5))
			p.ExpectFrame(t, "claim", SYN(1, 3))
		}, []string{"peer: claim: ", "want frame v1 SYN stream=3 length=0, got v1 FIN stream=5 length=0", "StreamID"}},
		{"other data", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, PSH(1, 3, []byte("no")))
			p.ExpectFrame(t, "claim", PSH(1, 3, []byte("ya")))
		}, []string{"peer: claim: ", `got v1 PSH stream=3 length=2 "no"`}},
		{"no frame", func(t testing.TB, p *Peer, other *simnet.Conn) {
			p.ExpectFrame(t, "claim", SYN(1, 3))
		}, []string{"peer: claim: ", "want frame v1 SYN stream=3", "nothing came for 1m0s"}},
		{"no next frame", func(t testing.TB, p *Peer, other *simnet.Conn) {
			p.Timeout = time.Minute
			p.Next(t, "claim")
		}, []string{"peer: claim: ", "no frame: nothing came for 1m0s"}},
		{"only ignored frames", func(t testing.TB, p *Peer, other *simnet.Conn) {
			p.Ignore(wire.NOP)
			for i := range 10 {
				time.AfterFunc(time.Duration(i)*time.Second, func() { send(other, NOP(1)) })
			}
			p.Next(t, "claim")
		}, []string{"peer: claim: ", "nothing came for 1m0s"}},
		{"a frame instead of nothing", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, NOP(1))
			p.ExpectNothing(t, "claim", 10*time.Millisecond+1)
		}, []string{"peer: claim: ", "got v1 NOP"}},
		{"the end instead of nothing", func(t testing.TB, p *Peer, other *simnet.Conn) {
			other.Close()
			p.ExpectNothing(t, "claim", time.Second)
		}, []string{"peer: claim: ", "the connection ended: EOF"}},
		{"a frame instead of the end", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, NOP(1))
			p.ExpectEOF(t, "claim")
		}, []string{"peer: claim: ", "want the end of the connection, got v1 NOP"}},
		{"an unclean end", func(t testing.TB, p *Peer, other *simnet.Conn) {
			_, _ = other.Write([]byte{1, 0, 0})
			other.Close()
			p.ExpectEOF(t, "claim")
		}, []string{"peer: claim: ", "want the end of the connection, got: unexpected EOF"}},
		{"no end", func(t testing.TB, p *Peer, other *simnet.Conn) {
			p.ExpectEnd(t, "claim")
		}, []string{"peer: claim: ", "after 0 frames got: nothing came for 1m0s"}},
		{"garbage instead of the end", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, NOP(1), NOP(7))
			p.ExpectEnd(t, "claim")
		}, []string{"peer: claim: ", "after 1 frames got: "}},
		{"data of another stream", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, PSH(1, 3, []byte("on")), PSH(1, 5, []byte("e")))
			p.ExpectData(t, "claim", 3, []byte("one"))
		}, []string{"peer: claim: ", "want 3 bytes of stream 3, got 2 and then v1 PSH stream=5"}},
		{"too much data", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, PSH(1, 3, []byte("one and more")))
			p.ExpectData(t, "claim", 3, []byte("one"))
		}, []string{"peer: claim: ", "want 3 bytes of stream 3, got 12"}},
		{"wrong data", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, PSH(1, 3, []byte("on")), PSH(1, 3, []byte("o")))
			p.ExpectData(t, "claim", 3, []byte("one"))
		}, []string{"peer: claim: ", "stream 3 from byte 2 on (-want +got)"}},
		{"too little data", func(t testing.TB, p *Peer, other *simnet.Conn) {
			send(other, PSH(1, 3, []byte("on")))
			other.Close()
			p.ExpectData(t, "claim", 3, []byte("one"))
		}, []string{"peer: claim: ", "want 3 bytes of stream 3, got 2: EOF"}},
		{"a Send that nobody takes", func(t testing.TB, p *Peer, other *simnet.Conn) {
			other.In().Stall()
			p.Send(t, PSH(1, 3, make([]byte, 2000)))
		}, []string{"2008 bytes were not taken in 1m0s"}},
		{"a Send on a broken connection", func(t testing.TB, p *Peer, other *simnet.Conn) {
			other.Break(syscall.ECONNRESET)
			p.Send(t, NOP(1))
		}, []string{"sending 8 bytes", "connection reset by peer"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantFailure(t, scripted(t, c.test), c.want...) })
	}
}

// A frame that comes after a time-out is not lost.
func TestPeerDoesNotLoseALateFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := SimPair(t, simnet.Link{Delay: time.Second})
		p, other := NewPeer(t, a), NewPeer(t, b)
		other.Send(t, SYN(1, 3), PSH(1, 3, []byte("late")))
		start := time.Now()
		if _, err := p.TryNext(time.Second - 1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("TryNext: %v", err)
		}
		if got := time.Since(start); got != time.Second-1 {
			t.Errorf("TryNext waited for %v", got)
		}
		p.ExpectFrame(t, "claim", SYN(1, 3))
		p.ExpectFrame(t, "claim", PSH(1, 3, []byte("late")))
	})
}

// A Peer reads only when the test asks it to, and only one frame.
func TestPeerReadsOnlyWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := SimPair(t, simnet.Link{})
		p := NewPeer(t, a)
		send(b, SYN(1, 3), SYN(1, 5))
		synctest.Wait()
		if c := a.In().Counters(); c.Reads != 0 {
			t.Errorf("it has read: %+v", c)
		}
		p.ExpectFrame(t, "claim", SYN(1, 3))
		synctest.Wait()
		if c := a.In().Counters(); c.Read != wire.HeaderSize {
			t.Errorf("it has read more than the frame: %+v", c)
		}
	})
}

// TryNext returns the header of a frame that is not well-formed.
func TestPeerReportsTheHeaderOfAWrongFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := SimPair(t, simnet.Link{})
		p := NewPeer(t, a)
		send(b, Frame{Header: wire.Header{Version: 1, Command: 77, StreamID: 3}})
		f, err := p.TryNext(time.Second)
		if !errors.Is(err, wire.ErrCommand) || f.Command != 77 {
			t.Errorf("TryNext = %v, %v", f, err)
		}
	})
}

// ExpectEnd returns the frames that came before the end.
func TestExpectEndReturnsTheLastFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(other *simnet.Conn)
	}{
		{"closed", func(other *simnet.Conn) { other.Close() }},
		{"reset", func(other *simnet.Conn) { other.Break(syscall.ECONNRESET) }},
		{"in a header", func(other *simnet.Conn) { _, _ = other.Write([]byte{1}); other.Close() }},
		{"in a payload", func(other *simnet.Conn) { _, _ = other.Write(PSH(1, 3, []byte("x")).Append(nil)[:8]); other.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := SimPair(t, simnet.Link{})
				p := NewPeer(t, a)
				send(b, SYN(1, 3), FIN(1, 3))
				c.end(b)
				if diff := cmp.Diff([]Frame{SYN(1, 3), FIN(1, 3)}, p.ExpectEnd(t, "claim")); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}
