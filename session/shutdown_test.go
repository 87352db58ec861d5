package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// shutdown calls Shutdown in the background.
func shutdown(s *session.Session, ctx context.Context) <-chan testutil.Result[struct{}] {
	return testutil.BackgroundErr(func() error { return s.Shutdown(ctx) })
}

// Shutdown waits until all open streams have ended, and they go on meanwhile.
func TestShutdownWaitsForTheOpenStreams(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		a1, b1 := openPair(t, c, s)
		b2, a2 := openPair(t, s, c) // opened by the other side
		elapsed := testutil.Clock()
		down := shutdown(c, context.Background())
		time.Sleep(time.Hour)
		wantPending(t, "Shutdown", down)

		// The streams go on.
		for _, pair := range [][2]io.ReadWriteCloser{{a1, b1}, {b1, a1}, {a2, b2}, {b2, a2}} {
			go pair[0].Write([]byte("still here"))
			buf := make([]byte, 10)
			if _, err := io.ReadFull(pair[1], buf); err != nil || string(buf) != "still here" {
				t.Fatalf("read %q, %v", buf, err)
			}
		}
		testutil.WantErr(t, "Close", a1.Close(), nil)
		b1.Close()
		time.Sleep(time.Hour)
		wantPending(t, "Shutdown", down)

		// Each side closes its direction of the last stream.
		a2.CloseWrite()
		time.Sleep(time.Second) // the FIN may wait a little; its answer does not
		b2.Close()
		if _, err := io.Copy(io.Discard, a2); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
		testutil.WantTime(t, "Shutdown returned", elapsed(), 2*time.Hour+time.Second)
		testutil.WantErr(t, "Err", c.Err(), net.ErrClosed)
		<-s.Done()
		testutil.WantErr(t, "the peer's Err", s.Err(), io.EOF)
	})
}

// Shutdown of a session without streams closes it after a round trip.
func TestShutdownWithoutStreamsClosesAtOnce(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		a.Close()
		b.Close()
		testutil.WantErr(t, "Shutdown", c.Shutdown(context.Background()), nil)
		<-s.Done()
		testutil.WantErr(t, "Shutdown of a session that has ended", s.Shutdown(context.Background()), nil)
	})
}

// After Shutdown this side can open no stream, and the peer none after its echo. Streams that wait can be
// accepted.
func TestShutdownLetsNeitherSideOpenStreams(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ca, cb := testutil.SimPair(t, simnet.Link{})
		v := wire.Version(version)
		c := client(t, ca, &session.Config{Version: version, KeepAlive: off})
		peer := testutil.NewPeer(t, cb)
		peer.Ignore(wire.NOP)
		st := open(t, c)
		peer.ExpectFrame(t, "the first stream is opened", testutil.SYN(v, st.ID()))
		peer.Send(t, testutil.SYN(v, 2))
		synctest.Wait()
		opening := testutil.Background(func() (net.Conn, error) { return c.Open() })
		if r := <-opening; r.Err != nil {
			t.Fatal(r.Err)
		}
		peer.ExpectFrame(t, "the second stream is opened", testutil.SYN(v, st.ID()+2))
		down := shutdown(c, context.Background())
		synctest.Wait()

		_, err := c.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrShutdown)
		_, err = c.Open()
		testutil.WantErr(t, "Open", err, session.ErrShutdown)
		peer.ExpectFrame(t, "the peer is told", testutil.FIN(v, 0xffffffff))
		peer.Send(t, testutil.SYN(v, 4), testutil.FIN(v, 0xffffffff), testutil.SYN(v, 6), testutil.PSH(v, 6, []byte("hello")))
		peer.ExpectRefused(t, "a stream that the peer opens after its echo is refused", testutil.FIN(v, 6))
		if n := c.Stats().StreamsRefused; n != 1 {
			t.Errorf("%d streams were refused, want 1", n)
		}

		// Streams that arrived before can still be accepted.
		for _, id := range []uint32{2, 4} {
			early, err := c.AcceptStream(context.Background())
			if err != nil || early.ID() != id {
				t.Fatalf("AcceptStream = %v, %v, want stream %d", early, err, id)
			}
		}
		wantPending(t, "Shutdown", down)
		c.Close()
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
	})
}

// Shutdown ends with its context. The session then goes on, and neither side opens streams.
func TestShutdownEndsWithItsContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, transport("sim"), session.Config{Version: version, KeepAlive: off})
		a, b := openPair(t, c, s)
		for _, timeout := range []time.Duration{0, time.Minute} {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			elapsed := testutil.Clock()
			err := c.Shutdown(ctx)
			cancel()
			testutil.WantErr(t, "Shutdown", err, context.DeadlineExceeded)
			if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%v is no time-out", err)
			}
			testutil.WantTime(t, "Shutdown returned", elapsed(), timeout)
		}
		ctx, cancel := context.WithCancel(context.Background())
		down := shutdown(c, ctx)
		time.AfterFunc(time.Second, cancel)
		testutil.WantErr(t, "Shutdown", (<-down).Err, context.Canceled)

		testutil.WantErr(t, "Err", c.Err(), nil)
		_, err := c.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrShutdown)
		_, err = s.OpenStream(context.Background())
		testutil.WantErr(t, "the peer's OpenStream", err, session.ErrPeerShutdown)
		go a.Write([]byte("still here"))
		if _, err := io.ReadFull(b, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		testutil.WantErr(t, "Shutdown", c.Shutdown(context.Background()), nil)
		_, err = s.Accept()
		testutil.WantErr(t, "the peer's Accept", err, io.EOF)
	})
}

// Shutdown returns when the session ends.
func TestShutdownEndsWithTheSession(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		end  func(c *session.Session, peer *simnet.Conn)
		err  error
	}{
		{"Close", func(c *session.Session, peer *simnet.Conn) {
			go func() {
				_, _ = io.Copy(io.Discard, peer)
				peer.Close()
			}()
			c.Close()
		}, net.ErrClosed},
		{"the transport breaks", func(c *session.Session, peer *simnet.Conn) { peer.Break(broken) }, broken},
		{"the peer closes it", func(c *session.Session, peer *simnet.Conn) { peer.Close() }, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				ca, cb := testutil.SimPair(t, simnet.Link{})
				s := client(t, ca, &session.Config{Version: version, KeepAlive: off})
				open(t, s)
				var all []<-chan testutil.Result[struct{}]
				for range 3 {
					all = append(all, shutdown(s, context.Background()))
				}
				time.Sleep(time.Second)
				c.end(s, cb)
				for _, down := range all {
					testutil.WantTime(t, "Shutdown returned", (<-down).After, time.Second)
				}
				testutil.WantErr(t, "Err", s.Err(), c.err)
			})
		})
	}
}

// Shutdown sends everything that the streams have written.
func TestShutdownFlushesWhatWasWritten(t *testing.T) {
	const size = 1 << 20
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		down := shutdown(c, context.Background())
		go func() {
			if _, err := testutil.Pattern(1).Send(a, size, 3000); err != nil {
				t.Error(err)
			}
			a.Close()
		}()
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
	})
}
