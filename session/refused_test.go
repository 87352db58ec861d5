package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Refusals as the opener sees them.

// refusal returns the frames of a refusal of stream id.
func (r role) refusal(id uint32) []testutil.Frame {
	return []testutil.Frame{r.psh(id, nil), r.psh(id, nil), r.fin(id), r.fin(id)}
}

// wantRefusals checks how many streams the session's Stats say the peer has refused.
func wantRefusals(t testing.TB, s *session.Session, want int) {
	t.Helper()
	if got := s.Stats().StreamsRefusedByPeer; got != uint64(want) {
		t.Errorf("Stats has %d streams that the peer refused, want %d", got, want)
	}
}

// Whatever the opener has done before its refusal arrives, its calls say that it was refused, and Stats counts it. An
// opener that has closed its stream learns of it by Stats.
func TestOpenerLearnsOfARefusalAfterAnyCall(t *testing.T) {
	read := func(st *stream.Stream) error { return second(st.Read(make([]byte, 1))) }
	for _, c := range []struct {
		name   string
		before func(st *stream.Stream)
		want   error // of Read
	}{
		{"nothing", func(*stream.Stream) {}, stream.ErrRefused},
		{"Write", func(st *stream.Stream) { _, _ = st.Write(make([]byte, 1000)) }, stream.ErrRefused},
		{"CloseWrite", func(st *stream.Stream) { _ = st.CloseWrite() }, stream.ErrRefused},
		{"Write and CloseWrite", func(st *stream.Stream) { _, _ = st.Write(make([]byte, 1000)); _ = st.CloseWrite() }, stream.ErrRefused},
		{"CloseRead", func(st *stream.Stream) { _ = st.CloseRead() }, net.ErrClosed},
		{"Close", func(st *stream.Stream) { _ = st.Close() }, net.ErrClosed},
		{"Write and Close", func(st *stream.Stream) { _, _ = st.Write(make([]byte, 1000)); _ = st.Close() }, net.ErrClosed},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/late %v", c.name, late), func(t *testing.T) {
				eachRole(t, func(t *testing.T, r role) {
					s, p := r.start(t, session.Config{})
					go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
					p.Send(t, r.nop())
					synctest.Wait()
					st := open(t, s)
					var reading <-chan testutil.Result[struct{}]
					c.before(st)
					if !late {
						reading = testutil.BackgroundErr(func() error { return read(st) })
					}
					time.Sleep(time.Second)
					for i, f := range r.refusal(st.ID()) {
						if r.version == wire.V2 && i == 0 {
							p.Send(t, testutil.UPD(r.version, st.ID(), 0, 1<<20))
						}
						p.Send(t, f)
						time.Sleep(time.Second)
					}
					if late {
						reading = testutil.BackgroundErr(func() error { return read(st) })
					}
					testutil.WantErr(t, "Read", (<-reading).Err, c.want)
					want := stream.ErrRefused
					if _, err := st.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
						testutil.WantErr(t, "Write", err, want)
					}
					wantRefusals(t, s, 1)
					_ = st.Close()
					time.Sleep(time.Second)
					if n := s.NumStreams(); n != 0 {
						t.Errorf("%d streams are open", n)
					}
					wantRefusals(t, s, 1)
				})
			})
		}
	}
}

// The refusal of a stream that is closed is counted if its frames follow each other, once for each stream that was
// opened at most. No other order of them changes anything.
func TestRefusalsOfClosedStreamsAreCounted(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD, wire.SYN, wire.FIN)
		p.Send(t, r.nop())
		synctest.Wait()
		const streams = 3
		for range streams {
			_ = open(t, s).Close()
		}
		time.Sleep(time.Second)
		empty, fin := r.psh(r.ours(0), nil), r.fin(r.ours(0))
		for _, frames := range [][]testutil.Frame{
			{empty, fin, fin}, {empty, empty, empty, fin, fin}, {fin, fin}, {empty, empty, fin}, {r.nop(), fin},
			{empty, empty, r.nop(), fin, fin}, {empty, empty, fin, r.nop(), fin}, {empty, r.psh(r.ours(1), nil), fin, fin},
			{empty, empty, r.psh(r.ours(0), []byte("x")), fin, fin}, {empty, empty, r.fin(r.ours(1)), fin},
			{r.psh(r.theirs(0), nil), r.psh(r.theirs(0), nil), r.fin(r.theirs(0)), r.fin(r.theirs(0))},
		} {
			p.Send(t, append(frames, r.nop())...)
			time.Sleep(time.Second)
			if wantRefusals(t, s, 0); t.Failed() {
				t.Fatalf("after %v", frames)
			}
		}
		for range 10 {
			for n := range 10 {
				p.Send(t, r.refusal(r.ours(n))...)
			}
		}
		time.Sleep(time.Second)
		wantRefusals(t, s, streams)
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// A peer's marks in any order change nothing but their own stream: not other streams, and not the session.
func TestHostileMarksChangeTheirOwnStreamAlone(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		p.Send(t, r.nop(), r.syn(r.theirs(0)))
		theirs := accept(t, s)
		mine, other := open(t, s), open(t, s)
		for _, st := range []*stream.Stream{mine, other} {
			p.ExpectFrame(t, "a stream is opened", r.syn(st.ID()))
		}
		// In turns, between those of another stream, and for a stream that the peer has opened.
		p.Send(t, r.psh(mine.ID(), nil), r.psh(theirs.ID(), nil), r.psh(r.ours(100), nil), r.psh(mine.ID(), nil), r.psh(theirs.ID(), nil))
		p.Send(t, r.psh(other.ID(), nil), r.psh(other.ID(), []byte("data")), r.psh(other.ID(), nil), r.fin(other.ID()), r.fin(other.ID()))
		p.Send(t, r.fin(theirs.ID()), r.fin(mine.ID()), r.fin(theirs.ID()), r.fin(mine.ID()))
		if got, err := io.ReadAll(other); string(got) != "data" || err != nil {
			t.Errorf("a stream with data: read %q, %v", got, err)
		}
		if got, err := io.ReadAll(theirs); len(got) > 0 || err != nil {
			t.Errorf("the peer's own stream: read %q, %v", got, err)
		}
		testutil.WantErr(t, "the marked stream: Read", second(mine.Read(make([]byte, 1))), stream.ErrRefused)
		wantRefusals(t, s, 1)
		wantAlive(t, r, s, p, r.theirs(1))
	})
}

// An application that closes a stream without a word, whether it has read a request or not, does not refuse it.
func TestCloseWithoutAWordIsNoRefusal(t *testing.T) {
	for _, c := range []struct {
		name  string
		close func(st *stream.Stream)
	}{
		{"Close", func(st *stream.Stream) { _ = st.Close() }},
		{"Close after a Read", func(st *stream.Stream) { _, _ = st.Read(make([]byte, 10)); _ = st.Close() }},
		{"CloseWrite and Close", func(st *stream.Stream) { _ = st.CloseWrite(); _ = st.Close() }},
		{"empty Writes and Close", func(st *stream.Stream) { _, _ = st.Write(nil); _, _ = st.Write(nil); _ = st.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				a, b := sessions(t, tr, session.Config{Version: version})
				out, in := openPair(t, a, b)
				if _, err := out.Write([]byte("request")); err != nil {
					t.Fatal(err)
				}
				c.close(in)
				if got, err := io.ReadAll(out); len(got) > 0 || err != nil {
					t.Errorf("read %q, %v, want io.EOF alone", got, err)
				}
				wantRefusals(t, a, 0)
			})
		})
	}
}

// Session.Close refuses the streams that wait to be accepted. Accepted ones end with the session.
func TestSessionCloseRefusesTheBacklog(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		const streams = 20
		a, b := sessions(t, tr, session.Config{Version: version})
		accepted, _ := openPair(t, a, b)
		var waiting []*stream.Stream
		for n := range streams {
			st := open(t, a)
			if _, err := st.Write(make([]byte, 100*n)); err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, st)
		}
		for b.NumStreams() < streams+1 {
			time.Sleep(time.Millisecond)
		}
		testutil.WantErr(t, "Close", b.Close(), nil)
		for _, st := range waiting {
			testutil.WantErr(t, "Read of a stream that waited", second(st.Read(make([]byte, 1))), stream.ErrRefused)
		}
		testutil.WantErr(t, "Read of an accepted stream", second(accepted.Read(make([]byte, 1))), io.ErrUnexpectedEOF)
		if n := b.Stats().StreamsRefused; n != streams {
			t.Errorf("%d streams were refused, want %d", n, streams)
		}
		wantRefusals(t, a, streams)
	})
}

// Streams that wait when nobody accepts any more, at the end of a drain, are refused with their data.
func TestDrainRefusesWhatNobodyAccepts(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		a, b := sessions(t, tr, session.Config{Version: version})
		st := open(t, a)
		if _, err := st.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = b.Listener().Close()
		testutil.WantErr(t, "Read", second(st.Read(make([]byte, 1))), stream.ErrRefused)
		testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), stream.ErrRefused)
	})
}

// If the session ends between the two FINs of a refusal, Read says so: whether an application has seen the stream is
// not known. A cut anywhere else in a refusal ends as any other.
func TestCutWithinARefusal(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		whole := appendAll(r.refusal(r.ours(0)))
		for n := range len(whole) + 1 {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			s, p := r.startOn(t, ours, theirs, session.Config{})
			go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
			p.Send(t, r.nop())
			synctest.Wait()
			st := open(t, s)
			time.Sleep(time.Second) // its SYN is sent
			p.SendBytes(t, whole[:n])
			_ = p.Close()
			want := io.ErrUnexpectedEOF
			if n == len(whole) {
				want = stream.ErrRefused
			}
			elapsed := testutil.Clock()
			testutil.WantErr(t, fmt.Sprintf("Read after %d bytes of a refusal", n), second(st.Read(make([]byte, 1))), want)
			testutil.WantTime(t, fmt.Sprintf("Read after %d bytes of a refusal returned", n), elapsed(), 0)
			<-s.Done()
		}
	})
}

// Under load, each stream is accepted or refused, and its opener knows which.
func TestEachStreamIsAnsweredOrRefused(t *testing.T) {
	const openers, streams = 10, 100
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		a := client(t, ca, &session.Config{Version: version})
		b := server(t, cb, &session.Config{Version: version, MaxStreams: 3})
		go func() {
			for {
				st, err := b.Accept()
				if err != nil {
					return
				}
				go echoOnce(st)
			}
		}()
		var mu sync.Mutex
		answered, refused := 0, 0
		var all sync.WaitGroup
		for i := range openers {
			all.Go(func() {
				for n := range streams {
					st, err := a.OpenStream(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					_, err = st.Write([]byte("hello"))
					if (i+n)%2 == 0 {
						_ = st.CloseWrite()
					}
					one := make([]byte, 5)
					if (i+n)%2 == 1 && err == nil {
						_ = st.CloseWrite()
					}
					k, err := io.ReadFull(st, one)
					mu.Lock()
					switch {
					case err == nil && string(one) == "hello":
						answered++
					case errors.Is(err, stream.ErrRefused) && k == 0:
						refused++
					default:
						t.Errorf("read %q, %v", one[:k], err)
					}
					mu.Unlock()
					_ = st.Close()
				}
			})
		}
		all.Wait()
		if answered+refused != openers*streams || b.Stats().StreamsRefused != uint64(refused) {
			t.Errorf("%d answered, %d refused; the peer has refused %d", answered, refused, b.Stats().StreamsRefused)
		}
		wantRefusals(t, a, refused)
	})
}
