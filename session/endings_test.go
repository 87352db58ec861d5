package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Cells of docs/endings.md that no other test shows: what arrives, what each call returns, and when.

// wantSoon checks in a bubble that something came at that time, or up to a tick later.
func wantSoon(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+tick {
		t.Errorf("%s after %v, want %v, and at most %v more", what, got, want, tick)
	}
}

// untilItFails calls again and again, after a tick each, until the call fails.
func untilItFails(call func() error) error {
	for {
		time.Sleep(tick)
		if err := call(); err != nil {
			return err
		}
	}
}

// A stream that has failed because its peer overran the window ends for that peer as by Close, half a round trip later.
func TestOverrunEndsThePeersStreamAsCloseDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{Delay: oneWay})
		c := client(t, ca, &session.Config{Version: 2, KeepAlive: off})
		s := server(t, cb, &session.Config{Version: 2, KeepAlive: off, MaxReceiveBuffer: overrunBudget})
		out, in := openPair(t, c, s)
		if _, err := in.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		elapsed := testutil.Clock()
		timed := func(call func() error) <-chan testutil.Result[time.Duration] {
			return testutil.Background(func() (time.Duration, error) { err := call(); return elapsed(), err })
		}
		failed := timed(func() error { <-in.Done(); return nil })
		read := timed(func() error {
			data, err := io.ReadAll(struct{ io.Reader }{out})
			if string(data) != "before" {
				t.Errorf("the peer read %q", data)
			}
			return err
		})
		write := timed(func() error { return second(out.Write(make([]byte, testutil.MiB))) })
		done := timed(func() error { <-out.Done(); return nil })
		time.Sleep(time.Second)
		// The client keeps to the window: these frames pass it by.
		frames := role{version: wire.V2}.pshs(out.ID(), make([]byte, flow.InitialWindow+overrunBound+1))
		if _, err := ca.Write(appendAll(frames)); err != nil {
			t.Fatal(err)
		}
		at := (<-failed).Value
		testutil.WantErr(t, "Read", second(in.Read(make([]byte, 1))), flow.ErrWindow)
		for what, c := range map[string]struct {
			call <-chan testutil.Result[time.Duration]
			want error
		}{"the peer's Read": {read, nil}, "the peer's Write": {write, stream.ErrPeerClosed}, "the peer's Done": {done, nil}} {
			r := <-c.call
			testutil.WantErr(t, what, r.Err, c.want)
			wantSoon(t, what, r.Value-at, oneWay)
		}
	})
}

// A peer that sends one FIN for CloseWrite, and one for Close, as xtaci/smux does, ends the calls of this side so: Read
// returns the data and io.EOF. Write fails at the second FIN, and with NoHalfClose at the first. Otherwise it goes on in
// version 1. In version 2 it fails when the window has been used up for LingerTimeout.
func TestFINsOfOthersEndReadAndWrite(t *testing.T) {
	const linger = 10 * time.Second
	for _, c := range []struct {
		name        string
		fins        int
		noHalfClose bool
	}{{"CloseWrite or Close", 1, false}, {"CloseWrite and Close", 2, false}, {"NoHalfClose", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.startLink(t, simnet.Link{Delay: oneWay}, session.Config{LingerTimeout: linger, NoHalfClose: c.noHalfClose})
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("data")))
				st := accept(t, s)
				go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
				time.Sleep(time.Second)
				read := testutil.Background(func() ([]byte, error) { return io.ReadAll(struct{ io.Reader }{st}) })
				elapsed := testutil.Clock()
				for range c.fins {
					p.Send(t, r.fin(id))
				}
				write := func() error { return second(st.Write([]byte("x"))) }
				switch {
				case c.fins == 2 || c.noHalfClose:
					testutil.WantErr(t, "Write", untilItFails(write), stream.ErrPeerClosed)
					wantSoon(t, "Write failed", elapsed(), oneWay)
				case r.version == wire.V1:
					time.Sleep(time.Hour)
					testutil.WantErr(t, "Writes", second(writeN(st, testutil.MiB, 1000)), nil)
					time.Sleep(time.Hour)
					testutil.WantErr(t, "Write", write(), nil)
				default:
					time.Sleep(time.Hour)
					elapsed = testutil.Clock()
					testutil.WantErr(t, "Writes", second(writeN(st, testutil.MiB, 1000)), stream.ErrPeerClosed)
					testutil.WantTime(t, "Writes failed", elapsed(), linger)
				}
				got := <-read
				if string(got.Value) != "data" || got.Err != nil {
					t.Errorf("read %q, %v", got.Value, got.Err)
				}
				testutil.WantTime(t, "Read returned io.EOF", got.After, oneWay)
			})
		})
	}
}

// A refusal reaches every call of an opener of this package half a round trip after the stream was refused, which is a
// round trip after it was opened. Until then, Write and ReadFrom succeed.
func TestRefusalReachesEveryCall(t *testing.T) {
	calls := map[string]func(st *stream.Stream) error{
		"Read":    func(st *stream.Stream) error { return second(st.Read(make([]byte, 1))) },
		"WriteTo": func(st *stream.Stream) error { return second(st.WriteTo(io.Discard)) },
		"Read after CloseWrite": func(st *stream.Stream) error {
			_ = st.CloseWrite()
			return second(st.Read(make([]byte, 1)))
		},
		"Write": func(st *stream.Stream) error {
			return untilItFails(func() error { return second(st.Write([]byte("x"))) })
		},
		"ReadFrom": func(st *stream.Stream) error {
			return untilItFails(func() error { return second(st.ReadFrom(strings.NewReader("x"))) })
		},
	}
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessionsOver(t, simnet.Link{Delay: oneWay}, &session.Config{Version: version}, &session.Config{Version: version, AcceptBacklog: 1})
		if _, err := open(t, c).Write([]byte("it waits")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		results := map[string]<-chan testutil.Result[struct{}]{}
		for name, call := range calls {
			st := open(t, c)
			if _, err := st.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			results[name] = testutil.BackgroundErr(func() error { return call(st) })
		}
		closed := open(t, c)
		if _, err := closed.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = closed.Close()
		time.Sleep(2*oneWay - tick)
		synctest.Wait()
		wantRefusals(t, c, 0)
		if n := s.Stats().StreamsRefused; n != uint64(len(calls)+1) {
			t.Errorf("%d streams were refused", n)
		}
		time.Sleep(2 * tick)
		synctest.Wait()
		wantRefusals(t, c, len(calls)+1)
		for name, call := range results {
			r := <-call
			testutil.WantErr(t, name, r.Err, stream.ErrRefused)
			wantSoon(t, name+" returned", r.After, 2*oneWay)
		}
	})
}

// CloseNow while Close or Shutdown is under way ends the open streams of this side at once. The peer reads what the
// transport had taken, and then io.ErrUnexpectedEOF. Its Accept returns io.EOF.
func TestCloseNowDuringAnotherEndReachesBothSides(t *testing.T) {
	for name, c := range map[string]struct {
		call  func(s *session.Session) error
		ended time.Duration // this side's Read, after the call
	}{
		"Close":    {(*session.Session).Close, 0},
		"Shutdown": {func(s *session.Session) error { return s.Shutdown(context.Background()) }, oneWay / 2},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				cfg := &session.Config{Version: version}
				mine, peer := sessionsOver(t, simnet.Link{Delay: oneWay}, cfg, cfg)
				a, b := openPair(t, mine, peer)
				if _, err := a.Write([]byte("before")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				read := testutil.BackgroundErr(func() error { return second(a.Read(make([]byte, 1))) })
				ending := testutil.BackgroundErr(func() error { return c.call(mine) })
				time.Sleep(oneWay / 2)
				wantPending(t, name, ending)
				elapsed := testutil.Clock()
				closeNow(t, mine)
				testutil.WantErr(t, name, wait(t, name, ending, oneWay/2), session.ErrNotFlushed)
				testutil.WantErr(t, "Read", wait(t, "Read", read, c.ended), net.ErrClosed)
				testutil.WantErr(t, "Write", second(a.Write([]byte("x"))), net.ErrClosed)
				got, err := io.ReadAll(b)
				if string(got) != "before" {
					t.Errorf("the peer read %q", got)
				}
				testutil.WantErr(t, "the peer's Read", err, io.ErrUnexpectedEOF)
				if d := elapsed(); d > oneWay {
					t.Errorf("the peer's Read returned after %v", d)
				}
				if _, err := peer.Accept(); err != io.EOF {
					t.Errorf("the peer's Accept: %v, want a bare io.EOF", err)
				}
			})
		})
	}
}

// Close of a Listener returns at once. Accept returns the streams that wait, and those that come within a round trip,
// and then net.ErrClosed.
func TestListenerCloseEndsAcceptAfterARoundTrip(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := &session.Config{Version: version}
		c, s := sessionsOver(t, simnet.Link{Delay: oneWay}, cfg, cfg)
		write := func() {
			if _, err := open(t, c).Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		write()
		time.Sleep(time.Second)
		l := s.Listener()
		elapsed := testutil.Clock()
		testutil.WantErr(t, "Close", l.Close(), nil)
		testutil.WantTime(t, "Close returned", elapsed(), 0)
		write()
		for range 2 {
			testutil.WantErr(t, "Accept", second(l.Accept()), nil)
		}
		testutil.WantErr(t, "Accept", second(l.Accept()), net.ErrClosed)
		wantSoon(t, "Accept failed", elapsed(), 2*oneWay)
	})
}

// Each end of the transport is known when it arrives: Read returns what came before, and fails.
func TestTransportEndIsKnownWhenItArrives(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.startLink(t, simnet.Link{Delay: oneWay}, e.cfg)
				p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("data")))
				st := accept(t, s)
				time.Sleep(time.Second)
				read := testutil.Background(func() ([]byte, error) { return io.ReadAll(struct{ io.Reader }{st}) })
				synctest.Wait()
				e.end(t, r, s, p)
				got := <-read
				testutil.WantErr(t, "Read", got.Err, e.want)
				if string(got.Value) != "data" {
					t.Errorf("read %q", got.Value)
				}
				want := oneWay
				switch e.want {
				case session.ErrKeepAlive:
					want = 29 * time.Second // the data came a second before
				default:
					if strings.Contains(e.name, "reset") {
						want = 0 // it takes no time on a simulated link
					}
				}
				testutil.WantTime(t, "Read failed", got.After, want)
				testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), e.want)
				err := e.want
				if e.accept != nil {
					err = e.accept
				}
				wantEnded(t, s, err)
			})
		})
	}
}

// When a write of the transport has failed, Writes fail at once. Reads go on until nothing was received for a second, and
// then the session ends, both with the transport's error.
func TestFailedWriteEndsTheSessionAfterASecond(t *testing.T) {
	for _, more := range []bool{false, true} {
		eachRole(t, func(t *testing.T, r role) {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			f := newFaulty(ours)
			s, p := r.startOn(t, f, theirs, session.Config{})
			id := r.theirs(0)
			p.Send(t, r.syn(id))
			st := accept(t, s)
			synctest.Wait()
			boom := errors.New("boom")
			f.fail(func(f *faulty) { f.writeErr = boom })
			elapsed := testutil.Clock()
			_, _ = st.Write([]byte("x"))
			synctest.Wait()
			testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), boom)
			least, most, want := time.Second, time.Second, ""
			if more {
				time.Sleep(500 * time.Millisecond)
				p.Send(t, r.psh(id, []byte("more")))
				least, most, want = 1500*time.Millisecond, 2*time.Second, "more"
			}
			got, err := io.ReadAll(struct{ io.Reader }{st})
			testutil.WantErr(t, "Read", err, boom)
			if d := elapsed(); string(got) != want || d < least || d > most {
				t.Errorf("read %q after %v, want %q after %v to %v", got, d, want, least, most)
			}
			wantEnded(t, s, boom)
		})
	}
}

// roundTrips is a transport that measures this round-trip time, in milliseconds.
type roundTrips struct {
	io.ReadWriteCloser
	rtt uint32
}

func (r roundTrips) GetSRTT() int32 { return int32(r.rtt) }
func (r roundTrips) GetRTO() uint32 { return r.rtt }

// Over a transport that may throw data away, toward a peer that does not answer, Flush and Close give data eight round
// trips to arrive, and at least 0.2 s. The first Flush waits for an answer for CloseTimeout.
func TestDataGetsEightRoundTripsToArrive(t *testing.T) {
	for rtt, want := range map[uint32]time.Duration{10: 200 * time.Millisecond, 50: 400 * time.Millisecond, 300: 2400 * time.Millisecond} {
		eachRole(t, func(t *testing.T, r role) {
			ours, theirs := testutil.BarePair(t)
			s, p := r.startOn(t, roundTrips{ours, rtt}, theirs, session.Config{CloseTimeout: 3 * time.Second})
			p.Send(t, r.nop())
			synctest.Wait() // the session has asked
			go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
			st := open(t, s)
			for _, want := range []time.Duration{3 * time.Second, want, want} {
				if _, err := st.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				testutil.WantErr(t, "Flush", wait(t, "Flush", flush(st), want), nil)
			}
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			testutil.WantErr(t, "Close", wait(t, "Close", testutil.BackgroundErr(s.Close), want), nil)
		})
	}
}

// Over a transport that does not tell its peer of the end, a session ends eight round trips after the peer's Close, but
// after at least 2 s and at most CloseTimeout.
func TestSessionEndsEightRoundTripsAfterPeersClose(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 2 * time.Second,
		400 * time.Millisecond: 3200 * time.Millisecond,
		time.Second:            session.DefaultCloseTimeout,
	} {
		for name, wrap := range forgetful {
			t.Run(rtt.String()+"/"+name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					a, b := testutil.SimPair(t, simnet.Link{Delay: rtt / 2})
					cfg := &session.Config{Version: version}
					c, s := client(t, wrap(a), cfg), server(t, wrap(b), cfg)
					st, _ := openPair(t, c, s)
					if _, err := st.Write([]byte("the end")); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Second)
					elapsed := testutil.Clock()
					testutil.WantErr(t, "Close", c.Close(), nil)
					testutil.WantTime(t, "Close returned", elapsed(), rtt)
					wantEnded(t, s, io.EOF)
					testutil.WantTime(t, "the peer's session ended", elapsed(), rtt/2+want)
				})
			})
		}
	}
}

// Over a Unix socket on Linux, what the kernel has taken has arrived: Flush and Close do not wait for the peer, which reads
// nothing.
func TestUnixSocketNeedsNoAnswer(t *testing.T) {
	unix := func(tr testutil.Transport) bool { return tr.Name == "unix" && kernelKnows(tr) }
	eachTransport(t, unix, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Hour})
		st := openWide(t, s, peer, version)
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Flush", st.Flush(t.Context()), nil)
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Close", s.Close(), nil)
	})
}

// Over a net.Pipe, whose Write returns when the peer has read, Close returns at once, and what was written arrives.
func TestCloseOverAPipeReturnsAtOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, transport("pipe"), session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := a.Write([]byte("the end")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Close", wait(t, "Close", testutil.BackgroundErr(c.Close), 0), nil)
		got, err := io.ReadAll(b)
		testutil.WantErr(t, "the peer's Read", err, io.ErrUnexpectedEOF)
		if string(got) != "the end" {
			t.Errorf("the peer read %q", got)
		}
	})
}

// A transport that takes nothing ends the session WriteTimeout after the Write that waits for it began. Read returns what
// came before, and then ErrWriteTimeout.
func TestWriteTimeoutCountsFromTheWriteThatWaits(t *testing.T) {
	const timeout = 20 * time.Second
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 1000, ReadBuffer: 1000}, session.Config{WriteTimeout: timeout})
		p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("data")))
		st := accept(t, s)
		time.Sleep(time.Hour)
		read := testutil.Background(func() ([]byte, error) { return io.ReadAll(struct{ io.Reader }{st}) })
		written := testutil.BackgroundErr(func() error { return second(writeN(st, testutil.MiB, 1000)) })
		testutil.WantErr(t, "Write", wait(t, "Write", written, timeout), session.ErrWriteTimeout)
		got := <-read
		testutil.WantErr(t, "Read", got.Err, session.ErrWriteTimeout)
		testutil.WantTime(t, "Read returned", got.After, timeout)
		if string(got.Value) != "data" {
			t.Errorf("read %q", got.Value)
		}
		wantEnded(t, s, session.ErrWriteTimeout)
	})
}
