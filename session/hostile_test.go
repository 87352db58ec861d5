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
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// violations are frames that break the protocol. Each is sent after the peer has opened its stream 0 and the
// session its own.
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

// raw returns a frame with any header, and n bytes behind it.
func raw(v wire.Version, c wire.Command, length uint16, id uint32, n int) testutil.Frame {
	return testutil.Frame{Header: wire.Header{Version: v, Command: c, Length: length, StreamID: id}, Data: make([]byte, n)}
}

// A frame that breaks the protocol ends the session and closes the transport. All calls return a ProtocolError
// with the frame's header.
func TestProtocolViolationEndsTheSession(t *testing.T) {
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
				read := testutil.Background(func() (int, error) { return mine.Read(make([]byte, 10)) })
				accepted := testutil.Background(s.Accept)
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
					"Err": err, "the blocked Read": (<-read).Err,
					"Write of nothing": second(theirs.Write(nil)), "Write": second(mine.Write([]byte("x"))), "Open": second(s.Open()),
				} {
					testutil.WantErr(t, what, err, v.want)
					for _, clean := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
						if errors.Is(err, clean) {
							t.Errorf("%s: %v looks like a clean end", what, err)
						}
					}
				}
				if res := <-accepted; res.Err == nil { // the violation may follow a good SYN
					testutil.WantErr(t, "Accept", second(s.Accept()), v.want)
				} else {
					testutil.WantErr(t, "Accept", res.Err, v.want)
				}
				p.ExpectEnd(t, "a violation ends the transport")
			}, "sim", "tcp")
		})
	}
}

// The error for a frame of the other version does not call that version unknown.
func TestOtherVersionIsNotCalledUnknown(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, testutil.NOP(3-r.version))
		<-s.Done()
		if text := s.Err().Error(); strings.Contains(text, "neither 1 nor 2") {
			t.Errorf("the error says what is not so: %s", text)
		}
	})
}

// Garbage ends the session with a ProtocolError, or the end of the transport ends it.
func TestGarbageEndsTheSession(t *testing.T) {
	for seed := range uint64(60) {
		roleOf(seed, func(r role) {
			t.Run(fmt.Sprintf("%d/%v", seed, r), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, p := r.start(t, session.Config{})
					rng := rand.New(rand.NewPCG(seed, 0))
					garbage := make([]byte, 1+rng.IntN(100_000))
					for i := range garbage {
						garbage[i] = byte(rng.Uint32())
						if seed%3 == 0 { // mostly small numbers, so that many frames are valid
							garbage[i] = byte(rng.ExpFloat64())
						}
					}
					if seed%2 == 0 {
						garbage[0] = byte(r.version)
					}
					drained := testutil.Background(func() (int, error) { return readSession(s), nil })
					written := testutil.Background(func() (int, error) { return p.Conn.Write(garbage) })
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

// roleOf calls f with one of the four roles, by the seed.
func roleOf(seed uint64, f func(r role)) {
	r := role{client: seed&1 != 0, version: wire.Version(1 + seed>>1&1), transport: transport("sim")}
	f(r)
}

// readSession accepts all streams and reads them until the session ends. It returns the number of bytes.
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

// A peer that sends half a frame and then nothing is given up by keep-alive, and by nothing else.
func TestHalfAFrameAndSilenceEndWithKeepAlive(t *testing.T) {
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
				elapsed := testutil.Clock()
				p.SendBytes(t, c.bytes(r))
				got, err := io.ReadAll(st)
				testutil.WantErr(t, "reading", err, session.ErrKeepAlive)
				testutil.WantTime(t, "the session ended", elapsed(), keepAlive.Timeout)
				if want := max(0, len(c.bytes(r))-8); c.name == "half of its data" && len(got) != want {
					t.Errorf("read %d bytes, want %d", len(got), want)
				}
				wantEnded(t, s, session.ErrKeepAlive)
			})
		})
	}
}
