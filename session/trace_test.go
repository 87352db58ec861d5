package session_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Config.Trace.

// A recorder records the events of a session, one line each.
type recorder struct {
	mu     sync.Mutex
	lines  []string
	inside bool // a function is running
	ended  bool
}

// note records an event. It fails if two functions run at the same time.
func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	line := fmt.Sprintf(format, args...)
	if r.inside {
		line += " WHILE ANOTHER FUNCTION RUNS"
	}
	if r.ended {
		line += " AFTER THE END"
	}
	r.inside = true
	r.lines = append(r.lines, line)
	r.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside = false
}

// list returns the lines so far.
func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// trace returns a Trace that records everything but frames.
func (r *recorder) trace() *session.Trace {
	return &session.Trace{
		SessionBegin: func(s *session.Session) { r.note("begin") },
		SessionEnd: func(s *session.Session, reason error) {
			r.note("end: %v", reason)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = true
		},
		StreamOpened:   func(s *session.Session, st *stream.Stream) { r.note("opened %d", st.ID()) },
		StreamAccepted: func(s *session.Session, st *stream.Stream) { r.note("accepted %d", st.ID()) },
		StreamRefused:  func(s *session.Session, x session.Refusal) { r.note("refused %d: %v", x.StreamID, x.Cause) },
		StreamClosed: func(s *session.Session, c session.StreamEnd) {
			line := fmt.Sprintf("closed %d after %v: %v", c.Stream.ID(), c.Duration.Round(10*time.Millisecond), c.Reason)
			if c.Refused {
				line += ", refused"
			}
			r.note("%s", line)
		},
		StreamStalled: func(s *session.Session, st *stream.Stream, unread int) { r.note("stalled %d", st.ID()) },
		DataDropped:   func(s *session.Session, streams int) { r.note("dropped %d", streams) },
		ReadPaused:    func(s *session.Session, why session.Pause) { r.note("paused: %v", why) },
		ReadResumed: func(s *session.Session, why session.Pause, after time.Duration) {
			r.note("resumed: %v, after %v", why, after)
		},
		KeepAliveProbe:  func(s *session.Session, silent time.Duration) { r.note("probe after %v", silent) },
		KeepAliveGiveUp: func(s *session.Session, silent time.Duration) { r.note("give up after %v", silent) },
		DrainBegin:      func(s *session.Session) { r.note("drain") },
		PeerDraining:    func(s *session.Session) { r.note("peer drains") },
	}
}

// wantEvents waits until every goroutine waits, and checks the events so far.
func wantEvents(t *testing.T, what string, r *recorder, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, r.list()); diff != "" {
		t.Errorf("events of %s (-want +got):\n%s", what, diff)
	}
}

// traced starts two sessions and records the events of both.
func traced(t *testing.T, cc, sc session.Config) (c, s *session.Session, rc, rs *recorder) {
	t.Helper()
	rc, rs = new(recorder), new(recorder)
	cc.Trace, sc.Trace = rc.trace(), rs.trace()
	c, s = sessionsOver(t, simnet.Link{}, &cc, &sc)
	return c, s, rc, rs
}

// A stream that is opened, used and closed on both sides is reported at both ends, in order, with how long it was open.
func TestTraceTellsTheLifeOfAStream(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off}
		c, s, rc, rs := traced(t, cfg, cfg)
		out, in := openPair(t, c, s)
		ping(t, out, in)
		time.Sleep(time.Second)
		_ = out.Close()
		wantEOF(t, in)
		_ = in.Close()
		time.Sleep(time.Second) // its FIN is not urgent
		_ = c.Close()
		wantEvents(t, "the client", rc, "begin", "opened 1", "closed 1 after 1s: <nil>", "end: use of closed network connection")
		wantEvents(t, "the server", rs, "begin", "accepted 1", "closed 1 after 1s: <nil>", "end: EOF")
	})
}

// At the end of a session, each stream that is open is closed, for the reason that its calls report.
func TestTraceTellsTheStreamsOpenAtTheEnd(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				var rec recorder
				cfg := e.cfg
				cfg.Trace = rec.trace()
				s, p := r.start(t, cfg)
				p.Send(t, r.syn(r.theirs(0)))
				st := accept(t, s)
				e.end(t, r, s, p)
				<-s.Done()
				_, err := st.Read(make([]byte, 1))
				synctest.Wait()
				got := rec.list()
				if len(got) < 4 {
					t.Fatalf("events: %q", got)
				}
				if e.cfg.KeepAlive == nil {
					_ = s.Close()
				}
				id := r.theirs(0)
				closed, end := got[len(got)-2], got[len(got)-1]
				if got[0] != "begin" || got[1] != fmt.Sprintf("accepted %d", id) ||
					!strings.HasPrefix(closed, fmt.Sprintf("closed %d after ", id)) {
					t.Errorf("events: %q", got)
				}
				if want := err.(*net.OpError).Err.Error(); !strings.HasSuffix(closed, want) {
					t.Errorf("%q, and Read says %q", closed, want)
				}
				if end != fmt.Sprintf("end: %v", s.Err()) {
					t.Errorf("%q, and Err is %v", end, s.Err())
				}
			})
		})
	}
}

// Each refusal is reported at both ends, with its cause.
func TestTraceTellsEachRefusal(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, KeepAlive: off}
		sc := cfg
		sc.AcceptBacklog = 1
		c, s, rc, rs := traced(t, cfg, sc)
		one := open(t, c)
		two := open(t, c) // beyond the limit
		time.Sleep(time.Second)
		_ = two.Close()
		time.Sleep(time.Second)
		_ = s.Listener().Close()
		time.Sleep(time.Minute) // nobody accepts
		_, err := one.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, stream.ErrRefused)
		_ = one.Close()
		time.Sleep(time.Second)
		wantEvents(t, "the client", rc, "begin", "opened 1", "opened 3", "refused 3: refused by the peer",
			"closed 3 after 1s: stream: refused by peer", "peer drains", "refused 1: refused by the peer",
			"closed 1 after 1m2s: stream: refused by peer")
		wantEvents(t, "the server", rs, "begin", "refused 3: too many streams", "drain", "refused 1: not accepted",
			"closed 1 after 7s: <nil>, refused")
	})
}

// A stream that comes after a drain is reported as refused.
func TestTraceTellsARefusalAfterADrain(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var rec recorder
		s, p := r.start(t, session.Config{Trace: rec.trace()})
		p.Send(t, r.nop())
		synctest.Wait()
		_ = s.Listener().Close()
		time.Sleep(session.DefaultCloseTimeout + time.Second) // the peer sends no echo
		p.Send(t, r.syn(r.theirs(0)))
		wantEvents(t, "the session", &rec, "begin", "drain", fmt.Sprintf("refused %d: draining", r.theirs(0)))
	})
}

// A refusal of a stream that this side has closed already is reported.
func TestTraceTellsARefusalOfAClosedStream(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var rec recorder
		s, p := r.start(t, session.Config{Trace: rec.trace()})
		p.Send(t, r.nop())
		synctest.Wait()
		_ = open(t, s).Close()
		time.Sleep(time.Second)
		id := r.ours(0)
		p.Send(t, r.psh(id, nil), r.psh(id, nil), r.fin(id), r.fin(id))
		wantEvents(t, "the session", &rec, "begin", fmt.Sprintf("opened %d", id),
			fmt.Sprintf("closed %d after 0s: <nil>", id), fmt.Sprintf("refused %d: refused by the peer", id))
	})
}

// A stream whose data was thrown away because the peer has closed it is closed with ErrPeerClosed.
func TestTraceTellsThatDataWasDropped(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == wire.V1 {
			t.Skip("there is no window to wait for")
		}
		var rec recorder
		s, p := r.start(t, session.Config{Trace: rec.trace()})
		p.Send(t, r.nop())
		synctest.Wait()
		st := open(t, s)
		id := st.ID()
		p.Send(t, testutil.UPD(r.version, id, 0, 0))
		synctest.Wait()
		if _, err := st.Write([]byte("for nobody")); err != nil {
			t.Fatal(err)
		}
		p.Send(t, r.fin(id), r.fin(id))
		synctest.Wait()
		testutil.WantErr(t, "Close", st.Close(), stream.ErrPeerClosed)
		wantEvents(t, "the session", &rec, "begin", fmt.Sprintf("opened %d", id),
			fmt.Sprintf("closed %d after 0s: stream: closed by peer", id))
	})
}

// An overrun of the window is the reason for which its stream was closed.
func TestTraceTellsAnOverrun(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		if r.version == wire.V1 {
			t.Skip("there is no window to overrun")
		}
		var rec recorder
		s, p := r.start(t, session.Config{Trace: rec.trace(), MaxReceiveBuffer: testutil.MiB})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		for range 20 {
			p.Send(t, r.psh(id, make([]byte, 32000)))
		}
		synctest.Wait()
		_, err := st.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, flow.ErrWindow)
		want := fmt.Sprintf("closed %d after 0s: %v", id, flow.ErrWindow)
		if got := rec.list(); !slices.Contains(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

// A pause in reading is reported with its cause and its length, and each stream that StallTimeout aborts.
func TestTraceTellsPausesAndStalls(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var rec recorder
		c, s := sessionsOver(t, stallPath, &session.Config{Version: version, KeepAlive: off}, &session.Config{
			Version: version, MaxReceiveBuffer: 64 * testutil.KiB, StallTimeout: time.Second, KeepAlive: off, Trace: rec.trace(),
		})
		out, in := openPair(t, c, s)
		go writeUntilEnd(out, 64*testutil.KiB)
		time.Sleep(10 * time.Second)
		_, err := in.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, stream.ErrStalled)
		synctest.Wait()
		got := rec.list()
		for _, want := range []string{"paused: the receive buffer is full", "stalled 1", "resumed: the receive buffer is full, after 1s"} {
			if !slices.Contains(got, want) {
				t.Errorf("no event %q in %q", want, got)
			}
		}
		if last := got[len(got)-1]; !strings.HasPrefix(last, "closed 1 after 1") || !strings.HasSuffix(last, stream.ErrStalled.Error()) {
			t.Errorf("the last event is %q", last)
		}
	})
}

// Probes and the giving up of the keep-alive are reported with the time of silence.
func TestTraceTellsTheKeepAlive(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var rec recorder
		s, p := r.start(t, session.Config{Trace: rec.trace(), KeepAlive: keepalive.Periodic{}})
		r.hear(t, p)
		p.Send(t, r.nop())
		<-s.Done()
		wantEvents(t, "the session", &rec, "begin", "probe after 10s", "probe after 20s", "give up after 30s",
			fmt.Sprintf("end: %v", session.ErrKeepAlive))
	})
}

// Data of closed streams that is thrown away after LingerTimeout is reported.
func TestTraceTellsWhatLingerTimeoutDrops(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var rec recorder
		a, b := testutil.SimPair(t, simnet.Link{Buffer: 1000, ReadBuffer: 1000})
		c := client(t, a, &session.Config{Version: version, KeepAlive: off, LingerTimeout: time.Second, Trace: rec.trace()})
		defer b.Close()
		filling := open(t, c)
		go writeUntilEnd(filling, 1000)
		synctest.Wait()
		st := open(t, c)
		if _, err := st.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		_ = st.Close()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := rec.list(); !slices.Contains(got, "dropped 1") {
			t.Errorf("events: %q", got)
		}
	})
}

// Trace.Frame gets the header of each frame, in order, in both directions, and of both kinds of batches.
func TestTraceFrameGetsEachHeader(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		var mu sync.Mutex
		seen := map[bool][2][]wire.Header{}
		trace := func(isClient bool) *session.Trace {
			return &session.Trace{Frame: func(s *session.Session, d session.Direction, h wire.Header) {
				mu.Lock()
				defer mu.Unlock()
				both := seen[isClient]
				both[d-session.Sent] = append(both[d-session.Sent], h)
				seen[isClient] = both
			}}
		}
		ca, cb := tr.Pair(t)
		c := client(t, ca, &session.Config{Version: version, Trace: trace(true)})
		s := server(t, cb, &session.Config{Trace: trace(false)})
		out, in := openPair(t, c, s)
		for _, size := range []int{1, 100, 2000, 50_000, 300_000} {
			got := testutil.Background(func() (int, error) { return io.ReadFull(in, make([]byte, size)) })
			if _, err := out.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if r := <-got; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		_ = out.Close()
		wantEOF(t, in)
		_ = in.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-s.Done()
		session.AwaitTrace(c)
		session.AwaitTrace(s)
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(seen[true][0], seen[false][1]); diff != "" {
			t.Errorf("frames from client to server (-sent +received):\n%s", diff)
		}
		total := 0
		for _, h := range seen[true][0] {
			if h.Command == wire.PSH {
				total += int(h.Length)
			}
		}
		if want := 1 + 100 + 2000 + 50_000 + 300_000; total != want {
			t.Errorf("the headers announce %d bytes of data, want %d", total, want)
		}
	})
}

// traceCalls are the functions of a Trace that a test calls a hook in. Each function sets one and makes it be called.
var traceCalls = map[string]func(tr *session.Trace, h *hook){
	"StreamOpened": func(tr *session.Trace, h *hook) {
		tr.StreamOpened = func(*session.Session, *stream.Stream) { h.call() }
	},
	"StreamAccepted": func(tr *session.Trace, h *hook) {
		tr.StreamAccepted = func(*session.Session, *stream.Stream) { h.call() }
	},
	"StreamRefused": func(tr *session.Trace, h *hook) {
		tr.StreamRefused = func(*session.Session, session.Refusal) { h.call() }
	},
	"StreamClosed": func(tr *session.Trace, h *hook) {
		tr.StreamClosed = func(*session.Session, session.StreamEnd) { h.call() }
	},
	"StreamStalled": func(tr *session.Trace, h *hook) {
		tr.StreamStalled = func(*session.Session, *stream.Stream, int) { h.call() }
	},
	"ReadPaused": func(tr *session.Trace, h *hook) { tr.ReadPaused = func(*session.Session, session.Pause) { h.call() } },
	"KeepAliveProbe": func(tr *session.Trace, h *hook) {
		tr.KeepAliveProbe = func(*session.Session, time.Duration) { h.call() }
	},
	"PeerDraining": func(tr *session.Trace, h *hook) { tr.PeerDraining = func(*session.Session) { h.call() } },
	"DrainBegin":   func(tr *session.Trace, h *hook) { tr.DrainBegin = func(*session.Session) { h.call() } },
	"Frame": func(tr *session.Trace, h *hook) {
		tr.Frame = func(*session.Session, session.Direction, wire.Header) { h.call() }
	},
}

// A function of a Trace may call anything on the session and its streams, Close included.
func TestTraceMayCallAnything(t *testing.T) {
	for event, set := range traceCalls {
		for name, call := range calls {
			if event == "PeerDraining" && name == "OpenStream" {
				continue // it fails
			}
			t.Run(event+"/"+name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					var h hook
					cfg := session.Config{Version: version, MaxReceiveBuffer: 64 * testutil.KiB, StallTimeout: time.Second, Trace: new(session.Trace)}
					set(cfg.Trace, &h)
					s, peer := sessionsOver(t, stallPath, &cfg, &session.Config{Version: version, AcceptBacklog: 8})
					st := open(t, s)
					synctest.Wait()
					done := make(chan struct{})
					h.set(func() {
						defer close(done)
						call(t, s, st)
					})
					causeEvents(t, s, peer)
					select {
					case <-done:
					default:
						t.Error("the call has not returned")
					}
					if name == "Close" || name == "CloseNow" {
						wantEnded(t, s, net.ErrClosed)
					}
				})
			})
		}
	}
}

// causeEvents makes everything happen that a Trace reports, except for the end.
func causeEvents(t *testing.T, s, peer *session.Session) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the call may have ended anything
	defer cancel()
	closed := func(st *stream.Stream, err error) {
		if err == nil {
			_ = st.Close()
		}
	}
	closed(s.OpenStream(ctx))
	if st, err := peer.OpenStream(ctx); err == nil {
		_, _ = st.Write([]byte("x"))
	}
	closed(s.AcceptStream(ctx))
	for range 20 {
		closed(s.OpenStream(ctx)) // more than the peer's backlog holds
	}
	if st, err := peer.OpenStream(ctx); err == nil {
		go writeUntilEnd(st, 64*testutil.KiB) // until the buffer is full
	}
	time.Sleep(15 * time.Second) // until StallTimeout, and a probe
	_ = s.Listener().Close()
	time.Sleep(time.Second)
	_ = peer.Listener().Close()
	time.Sleep(15 * time.Second)
}

// SessionBegin and SessionEnd may call anything.
func TestTraceOfBeginAndEndMayCallAnything(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ends := 0
		var st *stream.Stream
		trace := &session.Trace{
			SessionBegin: func(s *session.Session) {
				st = open(t, s)
				_, _ = s.Stats(), s.NumStreams()
			},
			SessionEnd: func(s *session.Session, reason error) {
				ends++
				callEnded(t, s, st)
			},
		}
		a, b := testutil.SimPair(t, simnet.Link{})
		c := client(t, a, &session.Config{Version: version, Trace: trace})
		s := server(t, b, nil)
		ping(t, st, accept(t, s))
		testutil.WantErr(t, "Close", c.Close(), nil)
		synctest.Wait()
		if ends != 1 {
			t.Errorf("%d calls of SessionEnd", ends)
		}
	})
}

// A function that panics in a call of the application leaves no lock held, and further events are reported. The stream that
// the call would have returned is closed.
func TestTracePanicLeavesNoLockHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var rec recorder
		trace := rec.trace()
		var h hook
		opened := trace.StreamOpened
		trace.StreamOpened = func(s *session.Session, st *stream.Stream) {
			h.call()
			opened(s, st)
		}
		a, _ := testutil.SimPair(t, simnet.Link{})
		c := client(t, a, &session.Config{Trace: trace, KeepAlive: off})
		h.set(func() { panic("boom") })
		if v := panics(func() { open(t, c) }); v != "boom" {
			t.Errorf("OpenStream panics with %v, want boom", v)
		}
		time.Sleep(time.Second) // its FIN is sent
		_ = open(t, c).Close()
		time.Sleep(time.Second)
		_ = c.CloseNow()
		wantEvents(t, "the session", &rec, "begin", "closed 1 after 0s: <nil>", "opened 3", "closed 3 after 0s: <nil>",
			"end: use of closed network connection")
	})
}

// While a function blocks, events wait. At 1,024 of them the session pauses, so that a peer cannot fill the memory, and
// goes on when the function returns. Close ends the pause.
func TestTraceThatBlocksPausesTheSession(t *testing.T) {
	for _, ending := range []string{"return", "Close", "CloseNow"} {
		t.Run(ending, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				release := make(chan struct{})
				blocks := sync.OnceFunc(func() { <-release })
				frames := 0
				s, p := r.start(t, session.Config{Trace: &session.Trace{
					Frame: func(*session.Session, session.Direction, wire.Header) {
						blocks()
						frames++
					},
				}})
				const sent = 20_000
				go func() {
					for range sent {
						if _, err := p.Conn.Write(r.nop().Append(nil)); err != nil {
							return
						}
					}
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if n := s.Stats().FramesReceived; n < 1000 || n > 1100 {
					t.Errorf("%d frames were handled while the function blocks", n)
				}
				switch ending {
				case "Close":
					_ = testutil.Background(func() (any, error) { return nil, s.Close() })
				case "CloseNow":
					_ = s.CloseNow()
				}
				if ending != "return" {
					time.Sleep(session.DefaultCloseTimeout + time.Second)
					wantEnded(t, s, net.ErrClosed)
					close(release)
					return
				}
				close(release)
				time.Sleep(time.Second)
				synctest.Wait()
				if n := s.Stats().FramesReceived; n != sent || frames < sent {
					t.Errorf("%d frames of %d were handled, and %d reported", n, sent, frames)
				}
			}, "sim")
		})
	}
}

// Writing pauses, too, while a function blocks, and nothing is lost.
func TestTraceThatBlocksPausesWriting(t *testing.T) {
	eachTransport(t, func(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "sim" },
		func(t *testing.T, tr testutil.Transport, version int) {
			release := make(chan struct{})
			blocks := sync.OnceFunc(func() { <-release })
			ca, cb := tr.Pair(t)
			c := client(t, ca, &session.Config{Version: version, Trace: &session.Trace{
				Frame: func(s *session.Session, d session.Direction, h wire.Header) { blocks() },
			}, KeepAlive: off, MaxFrameSize: 100})
			s := server(t, cb, &session.Config{KeepAlive: off})
			const each, count = 100, 5000
			out := open(t, c)
			go func() {
				for range count {
					if _, err := out.Write(make([]byte, each)); err != nil {
						t.Error(err)
						return
					}
					session.Flush(c)
				}
				_ = out.CloseWrite()
			}()
			read := testutil.Background(func() (int, error) {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					return 0, err
				}
				p, err := io.ReadAll(st)
				return len(p), err
			})
			settle(tr)
			if tr.Bubble {
				wantPending(t, "ReadAll", read)
			}
			close(release)
			if r := <-read; r.Err != nil || r.Value != each*count {
				t.Errorf("ReadAll = %d bytes, %v, want %d", r.Value, r.Err, each*count)
			}
		})
}
