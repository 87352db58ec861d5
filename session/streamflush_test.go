package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// flush calls Flush in the background.
func flush(st *stream.Stream) <-chan testutil.Result[struct{}] {
	return testutil.BackgroundErr(func() error { return st.Flush(context.Background()) })
}

// kernelKnows reports whether the kernel tells what has reached the peer's host.
func kernelKnows(tr testutil.Transport) bool { return !portable && sockets(tr) }

// After Close of a stream and Flush, the peer reads everything to io.EOF although the session is cut off at once, over
// every transport.
func TestFlushAfterCloseLosesNothing(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for i, size := range []int{1, 1000, 300_000} {
			c, s := sessions(t, tr, session.Config{Version: version})
			if i%2 == 1 {
				c, s = s, c
				testutil.WantErr(t, "Ping", second(s.Ping(context.Background())), nil) // the server learns the version
			}
			a, b := openPair(t, c, s)
			received := testutil.BackgroundErr(func() error { return testutil.Pattern(1).Receive(b, int64(size)) })
			if _, err := testutil.Pattern(1).Send(a, int64(size), 100_000); err != nil {
				t.Fatal(err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			testutil.WantErr(t, "Flush", a.Flush(context.Background()), nil)
			_ = c.CloseNow()
			testutil.WantErr(t, "the peer reads everything", (<-received).Err, nil)
			wantEOF(t, b)
		}
	})
}

// Flush waits for the answer of the peer's session: one round trip after the data was sent.
func TestFlushTakesOneRoundTrip(t *testing.T) {
	for _, slow := range []bool{false, true} {
		eachVersion(t, func(t *testing.T, version int) {
			cfg := &session.Config{Version: version, KeepAlive: off}
			c, s := sessionsOver(t, simnet.Link{Delay: 30 * time.Millisecond}, cfg, cfg)
			for _, st := range []*stream.Stream{open(t, c), open(t, s)} {
				synctest.Wait()
				if _, err := st.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if slow {
					time.Sleep(time.Hour)
				}
				r := <-flush(st)
				testutil.WantErr(t, "Flush", r.Err, nil)
				testutil.WantTime(t, "Flush returned", r.After, 60*time.Millisecond)
			}
		})
	}
}

// Flush waits while the peer's session reads nothing, because its application does not. The peer's session has then read
// everything.
func TestFlushWaitsForThePeersSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := &session.Config{Version: 1, KeepAlive: off, CloseTimeout: time.Second}
		c, s := sessionsOver(t, simnet.Link{}, cfg, &session.Config{Version: 1, KeepAlive: off, MaxReceiveBuffer: 65_536})
		testutil.WantErr(t, "Ping", second(c.Ping(context.Background())), nil)
		a, b := openPair(t, c, s)
		for range 10 {
			if _, err := a.Write(make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
		}
		call := flush(a)
		time.Sleep(time.Hour)
		wantPending(t, "Flush", call)
		readN(t, b, 100_000, nil)
		testutil.WantErr(t, "Flush", (<-call).Err, nil)
	})
}

// Toward a peer that does not answer, over a transport that knows nothing of its other end, Flush waits for an answer for
// CloseTimeout, once. An answer that comes later still counts.
func TestFlushTowardAPeerThatDoesNotAnswer(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{CloseTimeout: 3 * time.Second})
		p.Send(t, r.nop())
		synctest.Wait()
		st := open(t, s)
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		call := flush(st)
		p.ExpectFrame(t, "OpenStream sends SYN", r.syn(st.ID()))
		p.ExpectData(t, "Flush sends what was written", st.ID(), []byte("hello"))
		p.ExpectFrame(t, "Flush asks the peer", r.myPing())
		got := <-call
		testutil.WantErr(t, "the first Flush", got.Err, nil)
		testutil.WantTime(t, "the first Flush returned", got.After, 3*time.Second)
		for range 3 {
			got = <-flush(st)
			testutil.WantErr(t, "a later Flush", got.Err, nil)
			testutil.WantTime(t, "a later Flush returned", got.After, 0)
		}
		p.ExpectNothing(t, "one question is on its way", time.Hour)

		p.Send(t, r.pingEcho())
		p.ExpectFrame(t, "the next question", r.myPing())
		p.Send(t, r.pingEcho())
		synctest.Wait()
		call = flush(st)
		p.ExpectFrame(t, "Flush asks the peer", r.myPing())
		time.Sleep(time.Hour)
		wantPending(t, "Flush toward a peer that has answered before", call)
		p.Send(t, r.pingEcho())
		testutil.WantErr(t, "Flush", (<-call).Err, nil)
	})
}

// If the transport may throw data away when it is closed, each Flush toward a peer that does not answer gives the data the
// time to arrive: a second, while the round-trip time is unknown.
func TestFlushGivesDataTheTimeToArrive(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		ours, theirs := testutil.BarePair(t)
		s, p := r.startOn(t, ours, theirs, session.Config{CloseTimeout: 3 * time.Second})
		p.Send(t, r.nop())
		synctest.Wait() // the session has asked
		st := open(t, s)
		for _, want := range []time.Duration{3 * time.Second, time.Second, time.Second} {
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			got := <-flush(st)
			testutil.WantErr(t, "Flush", got.Err, nil)
			testutil.WantTime(t, "Flush returned", got.After, want)
		}
		go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
	})
}

// A Flush of nothing sends nothing, and Flush does not ask while a stall holds the data up.
func TestFlushWaitsForTheTransport(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Second})
		st := openWide(t, s, peer, version)
		testutil.WantErr(t, "Flush of nothing", (<-flush(st)).Err, nil)
		newSource(1, 1000).fill(t, st)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		r := <-testutil.BackgroundErr(func() error { return st.Flush(ctx) })
		testutil.WantErr(t, "Flush", r.Err, context.DeadlineExceeded)
		testutil.WantTime(t, "Flush returned", r.After, time.Hour)
		// Other streams wait no less: the transport takes what it takes in order.
		call := flush(st)
		synctest.Wait()
		wantPending(t, "Flush", call)
		go func() {
			for err := error(nil); err == nil; { // the peer also answers signals
				_, err = peer.TryNext(time.Hour)
			}
		}()
		testutil.WantErr(t, "Flush", (<-call).Err, nil)
	})
}

// Flush fails with the reason for the end of the session if that comes first.
func TestFlushEndsWithTheSession(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		end  func(s *session.Session, peer *simnet.Conn)
		want error
	}{
		{"the peer closes the transport", func(_ *session.Session, peer *simnet.Conn) { _ = peer.Close() }, nil},
		{"the transport breaks", func(_ *session.Session, peer *simnet.Conn) { peer.Break(broken) }, broken},
		{"CloseNow", func(s *session.Session, _ *simnet.Conn) { _ = s.CloseNow() }, net.ErrClosed},
	} {
		for _, size := range []int{1000, 100_000} { // more than the transport takes
			t.Run(c.name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					a, b := testutil.SimPair(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize})
					s := client(t, a, &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Hour})
					st := open(t, s)
					if err := second(s.Ping(endedAfter(time.Second))); !errors.Is(err, session.ErrPingUnanswered) {
						t.Fatal(err)
					}
					go func() { _, _ = writeN(st, int64(size), 1000) }()
					synctest.Wait()
					calls := []<-chan testutil.Result[struct{}]{flush(st), flush(st)}
					synctest.Wait()
					wantPending(t, "Flush", calls[0])
					elapsed := testutil.Clock()
					c.end(s, b)
					check := func(err error) {
						if c.want != nil {
							testutil.WantErr(t, "Flush", err, c.want)
						} else if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EPIPE) { // what a write says
							t.Errorf("Flush: %v", err)
						}
						if op := new(net.OpError); !errors.As(err, &op) || op.Op != "flush" {
							t.Errorf("%#v is no *net.OpError of flush", err)
						}
					}
					for _, call := range calls {
						check((<-call).Err)
					}
					testutil.WantTime(t, "Flush returned", elapsed(), 0)
					<-s.Done()
					check(st.Flush(context.Background()))
				})
			})
		}
	}
}

// endedAfter returns a context that ends after d. It belongs in a bubble.
func endedAfter(d time.Duration) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(d, cancel)
	return ctx
}

// Session.Close and Shutdown deliver what Flush waits for. Flush then returns nil, also afterwards.
func TestFlushSucceedsIfTheSessionsCloseDoes(t *testing.T) {
	for name, end := range map[string]func(*session.Session) error{
		"Close":    (*session.Session).Close,
		"Shutdown": func(s *session.Session) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, c, s)
				read := testutil.Background(func() ([]byte, error) { defer b.Close(); return io.ReadAll(b) })
				if _, err := a.Write(make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
				call := flush(a)
				elapsed := testutil.Clock()
				testutil.WantErr(t, name, end(c), nil)
				took, flushed := elapsed(), <-call
				testutil.WantErr(t, "Flush meanwhile", flushed.Err, nil)
				if tr.Bubble && flushed.After > took {
					t.Errorf("Flush returned after %v, %s after %v", flushed.After, name, took)
				}
				testutil.WantErr(t, "Flush afterwards", a.Flush(context.Background()), nil)
				if r := <-read; r.Err != nil || len(r.Value) != 100_000 {
					t.Errorf("the peer has read %d bytes, %v", len(r.Value), r.Err)
				}
			})
		})
	}
}

// Over a socket, other traffic neither delays Flush for ever nor ends it too early: the bytes of the stream must have
// been acknowledged.
func TestFlushBesideOtherTraffic(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		bulk, drain := openPair(t, c, s)
		var all sync.WaitGroup
		defer all.Wait()
		defer c.CloseNow()
		all.Go(func() { writeUntilEnd(bulk, 100_000) })
		all.Go(func() { _, _ = io.Copy(io.Discard, drain) })
		flushAndCutOff(t, c, s)
	})
}

// flushAndCutOff flushes streams one after the other. What Flush has promised arrives, also if c is cut off after the last
// one.
func flushAndCutOff(t *testing.T, c, s *session.Session) {
	t.Helper()
	for i := range 6 {
		a, b := openPair(t, c, s)
		if _, err := a.Write(make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		testutil.WantErr(t, "Flush", a.Flush(context.Background()), nil)
		if i == 5 {
			_ = c.CloseNow()
		}
		if n, err := io.Copy(io.Discard, b); n != 3000 || err != nil {
			t.Errorf("Flush number %d has succeeded, and the peer has read %d of 3000 bytes, %v", i, n, err)
		}
		_ = b.Close()
	}
}

// The same holds below TLS: a Flush beside bulk data returns, and what it has promised arrives although the session is cut
// off; one whose peer does not read waits, where the kernel knows what has arrived.
func TestFlushBelowTLS(t *testing.T) {
	testutil.LeakCheck(t)
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	for version := 1; version <= 2; version++ {
		ca, cb := testutil.TCPPair(t)
		ours := tls.Client(ca, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		theirs := tls.Server(cb, &tls.Config{Certificates: certified.TLS.Certificates})
		cfg := &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Second}
		c, s := client(t, ours, cfg), server(t, theirs, cfg)
		bulk, drain := openPair(t, c, s)
		var all sync.WaitGroup
		all.Go(func() { writeUntilEnd(bulk, 100_000) })
		all.Go(func() { _, _ = io.Copy(io.Discard, drain) })
		flushAndCutOff(t, c, s)
		_ = s.Close()
		all.Wait()

		ca, cb = testutil.TCPPair(t)
		ours = tls.Client(ca, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		theirs = tls.Server(cb, &tls.Config{Certificates: certified.TLS.Certificates})
		handshake := testutil.BackgroundErr(theirs.Handshake)
		c, peer := scriptedOver(t, ours, theirs, cfg)
		testutil.WantErr(t, "Handshake", (<-handshake).Err, nil)
		st := openWide(t, c, peer, version)
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Flush", st.Flush(context.Background()), nil)
		newSource(1, 1<<20).fill(t, st)
		if !portable { // elsewhere the transport may have taken it all, and no more is known
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			testutil.WantErr(t, "Flush toward a peer that does not read", st.Flush(ctx), context.DeadlineExceeded)
			cancel()
		}
		call := flush(st)
		all.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
		testutil.WantErr(t, "Flush", (<-call).Err, nil)
		_ = c.CloseNow()
		all.Wait()
	}
}

// Over a socket whose peer does not read, Flush waits until the peer's host has what was written. The peer's session need
// not answer.
func TestFlushWaitsForThePeersHost(t *testing.T) {
	eachTransport(t, func(tr testutil.Transport) bool { return tr.Name == "tcp" && kernelKnows(tr) }, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, s, peer, version)
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Flush", (<-flush(st)).Err, nil)
		newSource(1, 1<<20).fill(t, st)
		if _, err := st.Write([]byte("the end")); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		testutil.WantErr(t, "Flush", st.Flush(ctx), context.DeadlineExceeded)
		calls := []<-chan testutil.Result[struct{}]{flush(st), flush(st), flush(st)}
		_ = st.CloseWrite()
		go s.Shutdown(context.Background())
		got := testutil.BackgroundErr(func() error {
			for {
				f, err := peer.TryNext(peer.Timeout)
				if err != nil || f.Command == wire.FIN && f.StreamID == st.ID() {
					return err
				}
			}
		})
		for _, call := range calls {
			testutil.WantErr(t, "Flush", (<-call).Err, nil)
		}
		testutil.WantErr(t, "the peer reads to FIN", (<-got).Err, nil)
	})
}

// One goroutine asks the kernel for all calls of Flush, and ends with the last one.
func TestFlushPollsInOneGoroutine(t *testing.T) {
	eachTransport(t, func(tr testutil.Transport) bool { return tr.Name == "tcp" && kernelKnows(tr) }, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, s, peer, version)
		newSource(1, 1<<20).fill(t, st)
		ctx, cancel := context.WithCancel(context.Background())
		var calls []<-chan testutil.Result[struct{}]
		for range 100 {
			calls = append(calls, testutil.BackgroundErr(func() error { return st.Flush(ctx) }))
		}
		if n := goroutines("flushes).poll"); n > 1 {
			t.Errorf("%d goroutines ask", n)
		}
		cancel()
		for _, call := range calls {
			testutil.WantErr(t, "Flush", (<-call).Err, context.Canceled)
		}
	})
}

// Flush may be called from many goroutines, over every transport, while others write.
func TestFlushOfManyStreams(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		opened, accepted := openPairs(t, c, s, 4)
		var all sync.WaitGroup
		for i, a := range opened {
			all.Go(func() { _, _ = io.Copy(io.Discard, accepted[i]) })
			var writers sync.WaitGroup
			for range 3 {
				writers.Go(func() {
					for range 10 {
						if _, err := a.Write(make([]byte, 5000)); err != nil {
							t.Error(err)
						}
						testutil.WantErr(t, "Flush", a.Flush(context.Background()), nil)
					}
				})
			}
			all.Go(func() {
				writers.Wait()
				_ = a.Close()
				testutil.WantErr(t, "Flush", a.Flush(context.Background()), nil)
			})
		}
		all.Wait()
	})
}

// Wherever the connection is cut: if Flush has returned nil, the peer reads everything that was written, and io.EOF.
func TestFlushTellsTheTruthWhereverTheCut(t *testing.T) {
	for after := int64(0); after < 700; after += 7 {
		someVersions(t, int(after), func(t *testing.T, version int) {
			a, b := testutil.SimPair(t, simnet.Link{Delay: time.Millisecond, Rate: 100_000})
			cfg := &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Second}
			c, s := client(t, a, cfg), server(t, b, cfg)
			cut := a.Out()
			if after%2 == 1 {
				cut = b.Out()
			}
			cut.Cut(simnet.Cut{After: after / 2})
			st, err := c.OpenStream(context.Background())
			if err != nil {
				return // the connection is cut already
			}
			read := testutil.Background(func() (int, error) {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					return 0, err
				}
				p, err := io.ReadAll(st)
				return len(p), err
			})
			_, werr := st.Write(make([]byte, 200))
			cerr := st.Close()
			err = st.Flush(context.Background())
			if err == nil && (werr != nil || cerr != nil) {
				t.Errorf("Write: %v, Close: %v, Flush: nil", werr, cerr)
			}
			_ = c.CloseNow()
			_ = b.Close()
			if r := <-read; err == nil && (r.Err != nil || r.Value != 200) {
				t.Errorf("Flush has succeeded, and the peer has read %d bytes, %v", r.Value, r.Err)
			}
		})
	}
}
