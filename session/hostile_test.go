package session_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
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

// violations are the frames that break the protocol, each alone, sent when the peer
// has opened its stream 0 and the session has opened its own.
var violations = []struct {
	name string
	only wire.Version // 0: both
	// frames are sent in one Write; the last one is the violation.
	frames func(r role) []testutil.Frame
	want   error
}{
	{name: "version 0", frames: one(func(r role) testutil.Frame { return raw(0, wire.NOP, 0, 0, 0) }), want: wire.ErrVersion},
	{name: "version 3", frames: one(func(r role) testutil.Frame { return raw(3, wire.NOP, 0, 0, 0) }), want: wire.ErrVersion},
	{name: "the other version", frames: one(func(r role) testutil.Frame { return testutil.NOP(3 - r.version) }), want: wire.ErrVersionMismatch},
	{name: "the other version on a stream", frames: one(func(r role) testutil.Frame {
		return testutil.PSH(3-r.version, r.theirs(0), []byte("data"))
	}), want: wire.ErrVersionMismatch},
	{name: "an unknown command", frames: one(func(r role) testutil.Frame { return raw(r.version, 5, 0, r.theirs(0), 0) }), want: wire.ErrCommand},
	{name: "command 255", frames: one(func(r role) testutil.Frame { return raw(r.version, 255, 0, r.theirs(0), 0) }), want: wire.ErrCommand},
	{name: "SYN with data", frames: one(func(r role) testutil.Frame { return raw(r.version, wire.SYN, 1, r.theirs(9), 1) }), want: wire.ErrControlData},
	{name: "FIN with data", frames: one(func(r role) testutil.Frame { return raw(r.version, wire.FIN, 9, r.theirs(0), 9) }), want: wire.ErrControlData},
	{name: "NOP with data", frames: one(func(r role) testutil.Frame { return raw(r.version, wire.NOP, 65535, 0, 0) }), want: wire.ErrControlData},
	{name: "NOP with a stream id", frames: one(func(r role) testutil.Frame { return raw(r.version, wire.NOP, 0, r.theirs(0), 0) }), want: wire.ErrNOPStreamID},
	{name: "SYN with id 0", frames: one(func(r role) testutil.Frame { return r.syn(0) }), want: wire.ErrZeroStreamID},
	{name: "PSH with id 0", frames: one(func(r role) testutil.Frame { return r.psh(0, []byte("x")) }), want: wire.ErrZeroStreamID},
	{name: "FIN with id 0", frames: one(func(r role) testutil.Frame { return r.fin(0) }), want: wire.ErrZeroStreamID},
	{name: "UPD with id 0", only: 2, frames: one(func(r role) testutil.Frame { return testutil.UPD(2, 0, 0, 1) }), want: wire.ErrZeroStreamID},
	{name: "UPD in version 1", only: 1, frames: one(func(r role) testutil.Frame { return testutil.UPD(1, r.theirs(0), 0, 1) }), want: wire.ErrUpdateVersion},
	{name: "UPD of 7 bytes", only: 2, frames: one(func(r role) testutil.Frame { return raw(2, wire.UPD, 7, r.theirs(0), 7) }), want: wire.ErrUpdateLength},
	{name: "UPD of 9 bytes", only: 2, frames: one(func(r role) testutil.Frame { return raw(2, wire.UPD, 9, r.theirs(0), 9) }), want: wire.ErrUpdateLength},
	{name: "UPD of no bytes", only: 2, frames: one(func(r role) testutil.Frame { return raw(2, wire.UPD, 0, r.theirs(0), 0) }), want: wire.ErrUpdateLength},
	{name: "SYN with an id of the receiver's", frames: one(func(r role) testutil.Frame { return r.syn(r.ours(5)) }), want: session.ErrStreamParity},
	{name: "SYN with the id of a stream of the receiver's", frames: one(func(r role) testutil.Frame { return r.syn(r.ours(0)) }), want: session.ErrStreamParity},
	{name: "SYN with an id in use", frames: one(func(r role) testutil.Frame { return r.syn(r.theirs(0)) }), want: session.ErrStreamInUse},
	{name: "SYN twice in a row", frames: func(r role) []testutil.Frame {
		return []testutil.Frame{r.syn(r.theirs(3)), r.syn(r.theirs(3))}
	}, want: session.ErrStreamInUse},
	{name: "SYN with an id in use, half closed", frames: func(r role) []testutil.Frame {
		return []testutil.Frame{r.fin(r.theirs(0)), r.syn(r.theirs(0))}
	}, want: session.ErrStreamInUse},
	{name: "CONSUMED greater than what was sent", only: 2, frames: one(func(r role) testutil.Frame {
		return testutil.UPD(2, r.ours(0), 1, 262144)
	}), want: flow.ErrConsumed},
	{name: "CONSUMED of a stream of the peer's that nothing was sent on", only: 2, frames: one(func(r role) testutil.Frame {
		return testutil.UPD(2, r.theirs(0), 1000, 262144)
	}), want: flow.ErrConsumed},
}

func one(f func(r role) testutil.Frame) func(r role) []testutil.Frame {
	return func(r role) []testutil.Frame { return []testutil.Frame{f(r)} }
}

// raw is a frame with any header, and n bytes behind it.
func raw(v wire.Version, c wire.Command, length uint16, id uint32, n int) testutil.Frame {
	return testutil.Frame{Header: wire.Header{Version: v, Command: c, Length: length, StreamID: id}, Data: make([]byte, n)}
}

func TestAPeerThatBreaksTheProtocolGetsItsSessionAndTransportClosedWithAnErrorThatSaysWhatItSent(t *testing.T) {
	for _, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if v.only != 0 && v.only != r.version {
					return
				}
				s, p := r.start(t, session.Config{})
				mine := open(t, s)
				p.Send(t, r.syn(r.theirs(0)))
				theirs := accept(t, s)
				read := background(func() (int, error) { return mine.Read(make([]byte, 10)) })
				accepted := background(s.Accept)
				frames := v.frames(r)
				p.Send(t, frames...)

				var protocol *session.ProtocolError
				<-s.Done()
				err := s.Err()
				if !errors.As(err, &protocol) || !errors.Is(err, v.want) {
					t.Fatalf("Err = %v, want a ProtocolError that is %v", err, v.want)
				}
				want := frames[len(frames)-1].Header
				if protocol.Header != want {
					t.Errorf("the error is about %v, want %v", protocol.Header, want)
				}
				if !strings.Contains(err.Error(), want.String()) {
					t.Errorf("%q does not say what was sent: %v", err, want)
				}
				for what, err := range map[string]error{
					"Err": err, "the blocked Read": (<-read).err,
					"Write of nothing": second(theirs.Write(nil)), "Write": second(mine.Write([]byte("x"))), "Open": second(s.Open()),
				} {
					wantErr(t, what, err, v.want)
					for _, clean := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
						if errors.Is(err, clean) {
							t.Errorf("%s: %v looks like a clean end", what, err)
						}
					}
				}
				if res := <-accepted; res.err == nil { // the violation may follow a good SYN
					wantErr(t, "Accept", second(s.Accept()), v.want)
				} else {
					wantErr(t, "Accept", res.err, v.want)
				}
				p.ExpectEnd(t)
			}, "sim", "tcp")
		})
	}
}

func TestAVersionThatIsNotTheSessionsIsNotCalledUnknown(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, testutil.NOP(3-r.version))
		<-s.Done()
		if text := s.Err().Error(); strings.Contains(text, "neither 1 nor 2") {
			t.Errorf("the error says what is not so: %s", text)
		}
	})
}

func TestGarbageEndsTheSessionWithAProtocolErrorOrAtTheLatestWithTheTransport(t *testing.T) {
	for seed := range uint64(60) {
		roleOf(seed, func(r role) {
			t.Run(fmt.Sprintf("%d/%v", seed, r), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, p := r.start(t, session.Config{})
					rng := rand.New(rand.NewPCG(seed, 0))
					garbage := make([]byte, 1+rng.IntN(100_000))
					for i := range garbage {
						garbage[i] = byte(rng.Uint32())
						if seed%3 == 0 { // mostly small figures, so that many frames are right
							garbage[i] = byte(rng.ExpFloat64())
						}
					}
					if seed%2 == 0 {
						garbage[0] = byte(r.version)
					}
					drained := background(func() (int, error) { return readSession(s), nil })
					written := background(func() (int, error) { return p.Conn.Write(garbage) })
					select {
					case <-s.Done():
					case <-time.After(time.Second):
					}
					p.Close()
					<-s.Done()
					var protocol *session.ProtocolError
					if err := s.Err(); !errors.As(err, &protocol) && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
						t.Errorf("Err = %v", err)
					}
					<-drained
					<-written
				})
			})
		})
	}
}

// roleOf calls f with one of the four roles, in turns.
func roleOf(seed uint64, f func(r role)) {
	r := role{client: seed&1 != 0, version: wire.Version(1 + seed>>1&1), transport: transport("sim")}
	f(r)
}

// readSession accepts and reads everything until the session ends, and returns how many bytes came.
func readSession(s *session.Session) int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for {
		st, err := s.Accept()
		if err != nil {
			break
		}
		wg.Go(func() {
			n, _ := io.Copy(io.Discard, st)
			st.Close()
			mu.Lock()
			total += int(n)
			mu.Unlock()
		})
	}
	wg.Wait()
	return total
}

// floods are frames that a peer may send without end and that mean nothing, or nothing good.
var floods = []struct {
	name string
	only wire.Version
	// frame returns the n-th. The peer has opened stream 0, which is read, and
	// stream 1, which this side has closed.
	frame func(r role, n int) testutil.Frame
	// answers is how many frames each may cost this side.
	answers float64
	// slack is how many more answers there may be however few frames came.
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
	{name: "SYN beyond the backlog", frame: func(r role, n int) testutil.Frame { return r.syn(r.theirs(10 + n)) }, answers: 2, slack: 2},
	{name: "SYN beyond the backlog, the same again and again", frame: func(r role, n int) testutil.Frame {
		return r.syn(r.theirs(10_000 + n%2))
	}, answers: 2, slack: 2},
	{name: "SYN and PSH in turns", frame: func(r role, n int) testutil.Frame {
		if n%2 == 0 {
			return r.syn(r.theirs(10 + n/2))
		}
		return r.psh(r.theirs(10+n/2), []byte("data"))
	}, answers: 2, slack: 2},
}

// floodTest starts a session with the streams that floods speak of. Its backlog holds 4 streams and
// is full.
func floodTest(t *testing.T, r role, link simnet.Link) (*session.Session, *testutil.Peer) {
	s, p := r.startLink(t, link, session.Config{AcceptBacklog: 4})
	for n := range 2 {
		p.Send(t, r.syn(r.theirs(n)))
	}
	go io.Copy(io.Discard, accept(t, s))
	_ = accept(t, s).Close()
	p.ExpectClosed(t, r.fin(r.theirs(1)))
	for n := range 4 {
		p.Send(t, r.syn(r.theirs(2+n)))
	}
	synctest.Wait()
	return s, p
}

func TestAFloodCostsBoundedMemoryAndAnswers(t *testing.T) {
	const frames = 5_000
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if flood.only != 0 && flood.only != r.version {
					return
				}
				s, p := floodTest(t, r, simnet.Link{})
				before := s.NumStreams()
				answers := background(func() (int, error) {
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
				got := (<-answers).value
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

func TestAPeerThatNeverReadsOurAnswersCostsBoundedMemoryAndGoroutines(t *testing.T) {
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
				if refused := int(s.Stats().StreamsRefused); answers != 2*refused {
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

// Two FINs have said that nobody reads.
func TestDataForAClosedStreamGetsNoAnswer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		for n, size := range []int{1, 8000, 8192, 60_000} {
			id := r.theirs(n)
			p.Send(t, r.syn(id))
			_ = accept(t, s).Close()
			p.ExpectClosed(t, r.fin(id))
			for range 3 {
				p.Send(t, r.psh(id, make([]byte, size)))
			}
			p.ExpectNothing(t, time.Second)
		}
		wantAlive(t, r, s, p, r.theirs(100))
	}, "sim")
}

func TestLateFramesOfAStreamThatBothSidesHaveClosedAreDropped(t *testing.T) {
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
				p.ExpectFrame(t, r.fin(id))
				// Another stream in between, so that this one is not the last that was heard of.
				for n := range 2 {
					p.Send(t, c.frame(r, id), c.frame(r, id))
					p.ExpectNothing(t, time.Second)
					wantAlive(t, r, s, p, r.theirs(1+n))
				}
			})
		})
	}
}

// A stream that was opened again with an id that was used before must not be confused with the one
// before. Nothing deployed does this: it may also be a violation.
func TestAnIDThatIsUsedAgainIsANewStreamOrAViolation(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		for range 3 {
			p.Send(t, r.syn(id), r.psh(id, []byte("data")), r.fin(id))
			st, err := s.AcceptStream(t.Context())
			if err != nil {
				wantErr(t, "Accept", err, session.ErrStreamInUse)
				return
			}
			var got []byte
			res := background(func() ([]byte, error) { return io.ReadAll(st) })
			select {
			case r := <-res:
				got = r.value
			case <-time.After(time.Second):
			}
			if string(got) != "data" {
				t.Errorf("the new stream read %q", got)
			}
			_ = st.Close()
			p.ExpectFrame(t, r.fin(id))
		}
	})
}

func TestTheEndOfAStreamLeavesNothingBehind(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		for n := range 100 {
			id := r.theirs(n)
			p.Send(t, r.syn(id), r.psh(id, []byte("request")))
			st := accept(t, s)
			_, _ = io.ReadFull(st, make([]byte, 7))
			_ = st.Close()
			p.ExpectClosed(t, r.fin(id))
			p.Send(t, r.fin(id))
		}
		synctest.Wait()
		if n := s.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
	})
}

// faulty is a transport that does as its peer does until it is told to fail.
type faulty struct {
	*simnet.Conn
	mu                sync.Mutex
	readErr, writeErr error
	// read and write, if set, take the place of Read and Write.
	read, write func(p []byte) (int, error)
}

func newFaulty(c *simnet.Conn) *faulty { return &faulty{Conn: c} }

// fail changes how it fails, for calls that are blocked too.
func (f *faulty) fail(change func(*faulty)) {
	f.mu.Lock()
	change(f)
	readErr := f.readErr
	f.mu.Unlock()
	if readErr != nil {
		_ = f.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (f *faulty) Read(p []byte) (int, error) {
	f.mu.Lock()
	read := f.read
	f.mu.Unlock()
	if read == nil {
		read = f.Conn.Read
	}
	n, err := read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readErr != nil {
		return 0, f.readErr
	}
	return n, err
}

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	write, err := f.write, f.writeErr
	f.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case write != nil:
		return write(p)
	}
	return f.Conn.Write(p)
}

func TestATransportThatReturnsNonsenseEndsTheSessionWithAnError(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		fault func(f *faulty)
		want  error // nil: any but io.EOF
	}{
		{"Read returns -1", func(f *faulty) { f.read = func([]byte) (int, error) { return -1, nil } }, nil},
		{"Read returns -1 and an error", func(f *faulty) { f.read = func([]byte) (int, error) { return -1, boom } }, nil},
		{"Read returns more than there is room for", func(f *faulty) { f.read = func(p []byte) (int, error) { return len(p) + 1, nil } }, nil},
		{"Read returns too much and io.EOF", func(f *faulty) { f.read = func(p []byte) (int, error) { return 1 << 30, io.EOF } }, nil},
		{"Read returns nothing and no error, for ever", func(f *faulty) { f.read = forEver(f) }, io.ErrNoProgress},
		{"Read returns an error", func(f *faulty) { f.read = func([]byte) (int, error) { return 0, boom } }, boom},
		{"Write returns -1", func(f *faulty) { f.write = func([]byte) (int, error) { return -1, nil } }, nil},
		{"Write returns more than it was given", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p) + 1, nil } }, nil},
		{"Write returns less than it was given", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p) - 1, nil } }, io.ErrShortWrite},
		{"Write returns nothing and no error, for ever", func(f *faulty) { f.write = forEver(f) }, io.ErrShortWrite},
		{"Write returns less and an error", func(f *faulty) { f.write = func(p []byte) (int, error) { return 1, boom } }, boom},
		{"Write returns all and an error", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p), boom } }, boom},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				f := newFaulty(ours)
				s, p := r.startOn(t, f, theirs, session.Config{})
				p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("data")))
				st := accept(t, s)
				synctest.Wait()
				f.fail(c.fault)
				p.Send(t, r.nop()) // so that the blocked Read returns and the next one fails
				_, _ = st.Write([]byte("x"))
				elapsed := clock()
				<-s.Done()
				if d := elapsed(); d > time.Second {
					t.Errorf("it took %v", d)
				}
				err := s.Err()
				if err == io.EOF || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("Err = %v, want %v", err, c.want)
				}
				got, err := io.ReadAll(st)
				if string(got) != "data" || err == nil {
					t.Errorf("read %q, %v", got, err)
				}
			})
		})
	}
}

// forEver returns a Read or Write that does nothing, until the transport is closed, or it has been called so
// often that its caller must be taken for a hopeless case.
func forEver(f *faulty) func([]byte) (int, error) {
	n := 0
	return func([]byte) (int, error) {
		if n++; n > 100_000 {
			_ = f.Conn.Close()
			return 0, errors.New("it called 100,000 times, for nothing")
		}
		return 0, nil
	}
}

func TestAReadThatReturnsNothingNowAndThenIsNoEnd(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		ours, theirs := testutil.SimPair(t, simnet.Link{MaxRead: 3})
		f := newFaulty(ours)
		n := 0
		f.read = func(p []byte) (int, error) {
			if n++; n%50 != 0 {
				return 0, nil
			}
			return ours.Read(p)
		}
		s, p := r.startOn(t, f, theirs, session.Config{})
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

func TestBytesThatComeWithAnErrorOfReadCount(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("boom")} {
		t.Run(end.Error(), func(t *testing.T) {
			for _, size := range []int{1, 4000, 20_000} {
				t.Run(fmt.Sprint(size), func(t *testing.T) {
					eachRole(t, func(t *testing.T, r role) {
						ours, theirs := testutil.SimPair(t, simnet.Link{})
						f := newFaulty(ours)
						data := testutil.Pattern(1).Bytes(size)
						id := r.theirs(0)
						var all []byte
						for _, fr := range []testutil.Frame{r.syn(id), r.psh(id, data), r.fin(id)} {
							all = fr.Append(all)
						}
						f.read = func(p []byte) (int, error) {
							n := copy(p, all)
							if all = all[n:]; len(all) == 0 {
								return n, end
							}
							return n, nil
						}
						s, _ := r.startOn(t, f, theirs, session.Config{})
						st := accept(t, s)
						if got, err := io.ReadAll(st); len(got) != size || err != nil {
							t.Errorf("read %d bytes, %v", len(got), err)
						}
						wantEnded(t, s, end)
					})
				})
			}
		})
	}
}

func TestHalfAFrameAndThenSilenceEndsWithTheKeepAliveAlone(t *testing.T) {
	for _, c := range []struct {
		name  string
		only  wire.Version
		bytes func(r role) []byte
	}{
		{"a byte", 0, func(r role) []byte { return r.nop().Append(nil)[:1] }},
		{"half a header", 0, func(r role) []byte { return r.psh(r.theirs(0), []byte("x")).Append(nil)[:4] }},
		{"a header without its data", 0, func(r role) []byte { return r.psh(r.theirs(0), make([]byte, 65535)).Append(nil)[:8] }},
		{"half of its data", 0, func(r role) []byte { return r.psh(r.theirs(0), make([]byte, 65535)).Append(nil)[:30_000] }},
		{"half of data for no stream", 0, func(r role) []byte { return r.psh(r.theirs(9), make([]byte, 65535)).Append(nil)[:30_000] }},
		{"half a window update", 2, func(r role) []byte { return testutil.UPD(2, r.theirs(0), 0, 262144).Append(nil)[:12] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if c.only != 0 && c.only != r.version {
					return
				}
				s, p := r.start(t, session.Config{KeepAlive: keepAlive})
				p.Send(t, r.syn(r.theirs(0)))
				st := accept(t, s)
				time.Sleep(3 * time.Second)
				elapsed := clock()
				p.SendBytes(t, c.bytes(r))
				got, err := io.ReadAll(st)
				wantErr(t, "reading", err, session.ErrKeepAlive)
				wantTime(t, "the session ended", elapsed(), keepAlive.Timeout)
				if want := max(0, len(c.bytes(r))-8); c.name == "half of its data" && len(got) != want {
					t.Errorf("read %d bytes, want %d", len(got), want)
				}
				wantEnded(t, s, session.ErrKeepAlive)
			})
		})
	}
}
