package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// On js/wasm, the runtime has a goroutine of its own for events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// A kind is a kind of conn to join. pair returns the end for Join and the end that the test uses.
type kind struct {
	name      string
	bubble    bool // works in a bubble
	halfClose bool // both ends have half-close
	pair      func(t testing.TB) (inner, outer net.Conn)
}

var kinds = []kind{
	{"tcp", false, true, testutil.TCPPair},
	{"unix", false, true, testutil.UnixPair},
	{"pipe", true, false, testutil.PipePair},
	{"sim", true, true, func(t testing.TB) (inner, outer net.Conn) { return testutil.SimPair(t, simnet.Link{}) }},
	{"accepted stream", true, true, func(t testing.TB) (inner, outer net.Conn) {
		opened, accepted := streams(t, &session.Config{Version: 1})
		return accepted, opened
	}},
	{"opened stream", true, true, func(t testing.TB) (inner, outer net.Conn) { return streams(t, nil) }},
}

// streams returns the two ends of a stream.
func streams(t testing.TB, cfg *session.Config) (opened, accepted *stream.Stream) {
	t.Helper()
	ca, cb := testutil.SimPair(t, simnet.Link{})
	c, err := session.Client(ca, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := session.Server(cb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if opened, err = c.OpenStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = s.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// eachPair runs test for each pair of kinds, in a bubble where both work in one.
func eachPair(t *testing.T, test func(t *testing.T, x, y kind)) {
	for _, x := range kinds {
		for _, y := range kinds {
			t.Run(x.name+" and "+y.name, func(t *testing.T) {
				if x.bubble && y.bubble {
					bubble(t, func(t *testing.T) { test(t, x, y) })
					return
				}
				testutil.LeakCheck(t)
				test(t, x, y)
			})
		}
	}
}

func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		test(t)
	})
}

// simPair returns a conn for Join and its other end.
func simPair(t testing.TB) (inner, outer *simnet.Conn) { return testutil.SimPair(t, simnet.Link{}) }

// join calls Join in the background.
func join(ctx context.Context, a, b net.Conn, o *relay.Options) <-chan testutil.Result[relay.Result] {
	return testutil.Background(func() (relay.Result, error) { return relay.Join(ctx, a, b, o) })
}

// wantClosed checks that Join has closed both conns: their calls return net.ErrClosed, or io.ErrClosedPipe for a pipe.
func wantClosed(t testing.TB, conns ...net.Conn) {
	t.Helper()
	for _, c := range conns {
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after Join on a %T: %v, want that it is closed", c, err)
		}
	}
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if _, err := io.ReadFull(c, p); err != nil || string(p) != want {
		t.Fatalf("read %q, %v, want %q", p, err, want)
	}
}

func readFull(t testing.TB, c net.Conn, p []byte) {
	t.Helper()
	if _, err := io.ReadFull(c, p); err != nil {
		t.Fatal(err)
	}
}

func closeWrite(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// Join passes every byte on in both directions at the same time, counts them, and closes both conns.
func TestJoinPassesEveryByteBothWays(t *testing.T) {
	eachPair(t, func(t *testing.T, x, y kind) {
		a, outerA := x.pair(t)
		b, outerB := y.pair(t)
		joined := join(t.Context(), a, b, nil)
		const n = 300_000
		sent := make(chan error, 2)
		send := func(p testutil.Pattern, c net.Conn) {
			_, err := p.Send(c, n, 10_000)
			sent <- err
		}
		go send(1, outerA)
		go send(2, outerB)
		received := make(chan error, 2)
		receive := func(p testutil.Pattern, c net.Conn) { received <- p.Receive(io.LimitReader(c, n), n) }
		go receive(2, outerA)
		go receive(1, outerB)
		for range 2 {
			testutil.WantErr(t, "send", <-sent, nil)
			testutil.WantErr(t, "receive", <-received, nil)
		}
		outerA.Close()
		outerB.Close()
		r := <-joined
		if want := (relay.Result{AToB: n, BToA: n}); r.Value != want || r.Err != nil {
			t.Errorf("Join returned %+v, %v, want %+v", r.Value, r.Err, want)
		}
		wantClosed(t, a, b)
	})
}

// The end of one direction is passed on, and the other direction goes on: a server that reads the whole request can
// still answer.
func TestJoinPassesHalfCloseOn(t *testing.T) {
	eachPair(t, func(t *testing.T, x, y kind) {
		if !x.halfClose || !y.halfClose {
			return
		}
		a, outerA := x.pair(t)
		b, outerB := y.pair(t)
		joined := join(t.Context(), a, b, nil)
		request, answer := testutil.Pattern(1).Bytes(100_000), testutil.Pattern(2).Bytes(200_000)
		go func() {
			got, err := io.ReadAll(outerB)
			if !bytes.Equal(got, request) || err != nil {
				t.Errorf("the server read %d bytes, %v", len(got), err)
			}
			if _, err := outerB.Write(answer); err != nil {
				t.Error(err)
			}
			outerB.Close()
		}()
		write(t, outerA, string(request))
		closeWrite(t, outerA)
		if got, err := io.ReadAll(outerA); !bytes.Equal(got, answer) || err != nil {
			t.Errorf("the client read %d bytes, %v", len(got), err)
		}
		r := <-joined
		if want := (relay.Result{AToB: 100_000, BToA: 200_000}); r.Value != want || r.Err != nil {
			t.Errorf("Join returned %+v, %v, want %+v", r.Value, r.Err, want)
		}
	})
}

// A conn whose CloseWrite fails with errors.ErrUnsupported is not told of the end. Its answer still arrives, as long as
// no pause in it is longer than 30 s.
func TestJoinWithoutHalfCloseLetsTheAnswerArrive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, a := simPair(t)
		b, server := streams(t, &session.Config{NoHalfClose: true})
		joined := join(t.Context(), a, b, nil)
		write(t, client, "request")
		closeWrite(t, client)
		wantRead(t, server, "request")
		for range 3 {
			time.Sleep(29 * time.Second)
			write(t, server, "answer")
			wantRead(t, client, "answer")
		}
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, relay.ErrIdle)
		testutil.WantTime(t, "Join returned", r.After, 3*29*time.Second+30*time.Second)
		wantClosed(t, a, b)
	})
}

// A conn that has no CloseWrite is treated in the same way. IdleTimeout applies if it is shorter than 30 s, and
// HalfClosedIdleTimeout takes the place of both.
func TestJoinWithoutCloseWriteEndsAtTheIdleLimit(t *testing.T) {
	for _, c := range []struct {
		o    relay.Options
		want time.Duration
	}{
		{relay.Options{}, 30 * time.Second},
		{relay.Options{IdleTimeout: time.Minute}, 30 * time.Second},
		{relay.Options{IdleTimeout: 5 * time.Second}, 5 * time.Second},
		{relay.Options{HalfClosedIdleTimeout: 2 * time.Minute}, 2 * time.Minute},
		{relay.Options{IdleTimeout: 5 * time.Second, HalfClosedIdleTimeout: 2 * time.Minute}, 2 * time.Minute},
	} {
		bubble(t, func(t *testing.T) {
			a, client := simPair(t)
			b, _ := testutil.PipePair(t)
			closeWrite(t, client)
			r := <-join(t.Context(), a, b, &c.o)
			testutil.WantErr(t, "Join", r.Err, relay.ErrIdle)
			testutil.WantTime(t, "Join returned", r.After, c.want)
			var timeout net.Error
			if !errors.As(r.Err, &timeout) || !timeout.Timeout() || errors.Is(r.Err, os.ErrDeadlineExceeded) {
				t.Errorf("%v is no time-out of its own", r.Err)
			}
		})
	}
}

// Without limits, a half-closed conn that was told of the end may be quiet for as long as it likes.
func TestJoinWaitsForAHalfClosedConn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := simPair(t)
		joined := join(t.Context(), a, b, nil)
		closeWrite(t, client)
		time.Sleep(24 * time.Hour)
		write(t, server, "answer")
		wantRead(t, client, "answer")
		server.Close()
		testutil.WantErr(t, "Join", (<-joined).Err, nil)
	})
}

// IdleTimeout passes when no byte moves in either direction; a byte in one of them restarts it.
func TestJoinIdleTimeoutCountsBothDirections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := streams(t, nil)
		joined := join(t.Context(), a, b, &relay.Options{IdleTimeout: 10 * time.Second})
		for i := range 10 {
			time.Sleep(9 * time.Second)
			from, to := net.Conn(client), net.Conn(server)
			if i%2 == 0 {
				from, to = to, from
			}
			write(t, from, "x")
			wantRead(t, to, "x")
		}
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, relay.ErrIdle)
		testutil.WantTime(t, "Join returned", r.After, 100*time.Second)
		wantClosed(t, a, b)
	})
}

// A destination that takes data slowly is not idle.
func TestJoinIdleTimeoutSparesSlowReaders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := testutil.SimPair(t, simnet.Link{Rate: 10_000})
		// What the link's buffers hold has moved already for Join.
		joined := join(t.Context(), a, b, &relay.Options{IdleTimeout: time.Minute})
		go testutil.Pattern(1).Send(client, 1_000_000, 100_000)
		if err := testutil.Pattern(1).Receive(io.LimitReader(server, 1_000_000), 1_000_000); err != nil {
			t.Fatal(err)
		}
		client.Close()
		server.Close()
		testutil.WantErr(t, "Join", (<-joined).Err, nil)
	})
}

// HalfClosedTimeout limits the second direction, however much it moves.
func TestJoinHalfClosedTimeoutLimitsTheSecondDirection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := simPair(t)
		joined := join(t.Context(), a, b, &relay.Options{IdleTimeout: time.Hour, HalfClosedTimeout: time.Minute})
		time.Sleep(30 * time.Minute)
		closeWrite(t, client)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for second(server.Write([]byte("x"))) == nil {
				time.Sleep(time.Second)
			}
		})
		wg.Go(func() { io.Copy(io.Discard, client) })
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, relay.ErrHalfClosed)
		testutil.WantTime(t, "Join returned", r.After, 31*time.Minute)
		wantClosed(t, a, b)
	})
}

func second[T any](_ T, err error) error { return err }

// Between sockets, a limit that begins with the end of the first direction interrupts nothing but the splice: no byte is
// lost.
func TestJoinLimitAfterSpliceLosesNothing(t *testing.T) {
	testutil.LeakCheck(t)
	for _, x := range []kind{kinds[0], kinds[1]} {
		a, client := kinds[0].pair(t)
		b, server := x.pair(t)
		joined := join(t.Context(), a, b, &relay.Options{HalfClosedIdleTimeout: time.Hour})
		write(t, server, "before")
		wantRead(t, client, "before")
		closeWrite(t, client)
		if got, err := io.ReadAll(server); len(got) > 0 || err != nil {
			t.Errorf("the server read %q, %v", got, err)
		}
		go func() {
			testutil.Pattern(1).Send(server, 1_000_000, 10_000)
			server.Close()
		}()
		if err := testutil.Pattern(1).Receive(client, 1_000_000); err != nil {
			t.Error(err)
		}
		r := <-joined
		if want := (relay.Result{BToA: 1_000_006}); r.Value != want || r.Err != nil {
			t.Errorf("Join returned %+v, %v, want %+v", r.Value, r.Err, want)
		}
	}
}

// If Read of one conn fails, Join closes both at once and returns the error.
func TestJoinEndsBothWhenReadFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := simPair(t)
		joined := join(t.Context(), a, b, nil)
		time.Sleep(time.Second)
		client.Break(syscall.ECONNRESET)
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, syscall.ECONNRESET)
		testutil.WantTime(t, "Join returned", r.After, time.Second)
		wantClosed(t, b)
		if _, err := io.ReadAll(server); err != nil {
			t.Errorf("the server got %v, want io.EOF", err)
		}
	})
}

// A socket that is reset ends a splice on both sides.
func TestJoinEndsBothWhenASocketIsReset(t *testing.T) {
	testutil.LeakCheck(t)
	a, client := testutil.TCPPair(t)
	b, server := testutil.TCPPair(t)
	joined := join(t.Context(), a, b, nil)
	write(t, client, "x")
	wantRead(t, server, "x")
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
	if _, err := io.ReadAll(server); err != nil {
		t.Errorf("the server got %v, want io.EOF", err)
	}
	if r := <-joined; r.Err == nil {
		t.Error("Join returned nil")
	}
	wantClosed(t, a, b)
}

// If Write to a conn fails, what that conn had sent before still arrives, and then Join ends.
func TestJoinPassesOnTheAnswerToARefusedUpload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := simPair(t)
		b, server := simPair(t)
		answer := testutil.Pattern(1).Bytes(50_000)
		if _, err := server.Write(answer); err != nil {
			t.Fatal(err)
		}
		server.Close()
		joined := join(t.Context(), a, b, nil)
		uploaded := testutil.Background(func() (int64, error) { return testutil.Pattern(2).Send(client, 10_000_000, 10_000) })
		got, err := io.ReadAll(client)
		if !bytes.Equal(got, answer) || err != nil {
			t.Errorf("the client read %d bytes, %v, want %d", len(got), err, len(answer))
		}
		if r := <-joined; r.After > 0 {
			t.Errorf("Join returned %v after %v", r.Err, r.After)
		}
		<-uploaded
	})
}

// Join returns the cause of its context at once, and closes both conns.
func TestJoinEndsWithItsContext(t *testing.T) {
	eachPair(t, func(t *testing.T, x, y kind) {
		a, outerA := x.pair(t)
		b, outerB := y.pair(t)
		cause := errors.New("the cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		joined := join(ctx, a, b, nil)
		go outerB.Write(make([]byte, 10_000_000)) // nobody reads it all
		wantRead(t, outerA, string(make([]byte, 1000)))
		cancel(cause)
		testutil.WantErr(t, "Join", (<-joined).Err, cause)
		wantClosed(t, a, b)
		outerB.Close()
	})
}

// Join closes both conns also if its context has ended already or its Options are bad. The error names each bad field.
func TestJoinThatFailsAtOnceClosesBoth(t *testing.T) {
	a, _ := testutil.PipePair(t)
	b, _ := testutil.PipePair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := relay.Join(ctx, a, b, nil)
	testutil.WantErr(t, "Join", err, context.Canceled)
	wantClosed(t, a, b)

	a, _ = testutil.PipePair(t)
	b, _ = testutil.PipePair(t)
	_, err = relay.Join(t.Context(), a, b, &relay.Options{IdleTimeout: -1, HalfClosedIdleTimeout: -2, HalfClosedTimeout: -3})
	for _, want := range []string{"IdleTimeout is -1ns", "HalfClosedIdleTimeout is -2ns", "HalfClosedTimeout is -3ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Join returned %v, want %q in it", err, want)
		}
	}
	wantClosed(t, a, b)
}

// Join of a conn that is nil closes the other one, and says which is nil.
func TestJoinOfNilClosesTheOther(t *testing.T) {
	for _, none := range []net.Conn{nil, (*net.TCPConn)(nil), (*stream.Stream)(nil)} {
		a, _ := testutil.PipePair(t)
		_, err := relay.Join(t.Context(), a, none, nil)
		if err == nil || err.Error() != "relay: b is nil, must be a net.Conn" {
			t.Errorf("Join returned %v", err)
		}
		wantClosed(t, a)
		b, _ := testutil.PipePair(t)
		_, err = relay.Join(t.Context(), none, b, nil)
		if err == nil || err.Error() != "relay: a is nil, must be a net.Conn" {
			t.Errorf("Join returned %v", err)
		}
		wantClosed(t, b)
		if _, err = relay.Join(t.Context(), none, none, nil); err == nil {
			t.Error("Join of nothing returns no error")
		}
	}
}

// A goneConn is a conn whose Read or Write ends its goroutine.
type goneConn struct {
	net.Conn
	method string
}

func (c goneConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.method == "Read" {
		runtime.Goexit()
	}
	return n, err
}

func (c goneConn) Write(p []byte) (int, error) {
	if c.method == "Write" {
		runtime.Goexit()
	}
	return c.Conn.Write(p)
}

// If a conn ends the goroutine of Join that calls it, as FailNow of a test does, Join ends both, and says so.
func TestJoinEndsIfAConnIsGone(t *testing.T) {
	for _, method := range []string{"Read", "Write"} {
		a, theirs := testutil.PipePair(t)
		b, other := testutil.PipePair(t)
		joined := join(t.Context(), goneConn{a, method}, b, nil)
		if method == "Read" {
			write(t, theirs, "x")
		} else {
			write(t, other, "x")
		}
		r := <-joined
		if r.Err == nil || !strings.Contains(r.Err.Error(), "runtime.Goexit") {
			t.Errorf("%s: Join returned %v", method, r.Err)
		}
		wantClosed(t, a, b)
	}
}

// When the peer of a stream has closed it, Join ends at once, also if the other conn sends nothing: Done tells it.
func TestJoinEndsWhenAStreamIsDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, a := streams(t, nil)
		b, server := simPair(t)
		joined := join(t.Context(), a, b, nil)
		write(t, client, "request")
		client.Close()
		if got, err := io.ReadAll(server); string(got) != "request" || err != nil {
			t.Errorf("the server read %q, %v", got, err)
		}
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, nil)
		testutil.WantTime(t, "Join returned", r.After, 0)
		wantClosed(t, a, b)
	})
}

// With NoHalfClose, the peer's first FIN ends Join.
func TestJoinEndsWhenAPeerWithoutHalfCloseCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, a := streams(t, &session.Config{NoHalfClose: true})
		b, _ := simPair(t)
		joined := join(t.Context(), a, b, nil)
		client.Close()
		r := <-joined
		testutil.WantErr(t, "Join", r.Err, nil)
		if r.After > time.Millisecond { // the FIN is sent lazily, or together with another frame
			t.Errorf("Join returned after %v", r.After)
		}
	})
}

// A download ends at once, and without an error, when the peer closes its stream in the middle.
func TestJoinEndsAnAbortedDownloadAtOnce(t *testing.T) {
	for _, version := range []int{1, 2} {
		bubble(t, func(t *testing.T) {
			client, a := streams(t, &session.Config{Version: version})
			b, server := testutil.SimPair(t, simnet.Link{Rate: 10_000_000})
			joined := join(t.Context(), a, b, nil)
			downloading := testutil.Background(func() (int64, error) { return testutil.Pattern(1).Send(server, 1<<40, 10_000) })
			wantRead(t, client, string(testutil.Pattern(1).Bytes(100_000)))
			elapsed := testutil.Clock()
			client.Close()
			testutil.WantErr(t, "Join", (<-joined).Err, nil)
			if after := elapsed(); after > 10*time.Millisecond { // a FIN may wait for a millisecond
				t.Errorf("Join returned %v after Close", after)
			}
			testutil.WantErr(t, "the server's Write", (<-downloading).Err, syscall.EPIPE)
		})
	}
}

// What a stream's peer wrote before it closed still arrives, although a Write to the stream fails meanwhile.
func TestJoinDeliversWhatCameBeforeClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, a := streams(t, nil)
		b, server := testutil.SimPair(t, simnet.Link{Rate: 100_000})
		const n = 1_000_000
		joined := join(t.Context(), a, b, nil)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			testutil.Pattern(1).Send(client, n, 10_000)
			client.Close()
		})
		wg.Go(func() {
			for second(server.Write([]byte("x"))) == nil {
				time.Sleep(100 * time.Millisecond)
			}
		})
		if err := testutil.Pattern(1).Receive(server, n); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Join", (<-joined).Err, nil)
		server.Close()
	})
}

// The end of a session ends both directions, after the data that had arrived.
func TestJoinEndsWithTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca, cb := simPair(t)
		c, err := session.Client(ca, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := session.Server(cb, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		client, _ := c.OpenStream(t.Context())
		a, _ := s.AcceptStream(t.Context())
		b, server := simPair(t)
		write(t, client, "request")
		synctest.Wait()
		joined := join(t.Context(), a, b, nil)
		ca.Break(nil)
		if got, err := io.ReadAll(server); string(got) != "request" || err != nil {
			t.Errorf("the server read %q, %v", got, err)
		}
		testutil.WantErr(t, "Join", (<-joined).Err, io.ErrUnexpectedEOF)
	})
}

// Deadlines that were set before do not end Join.
func TestJoinClearsDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, client := streams(t, nil)
		b, server := simPair(t)
		for _, c := range []net.Conn{a, b} {
			if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		joined := join(t.Context(), a, b, nil)
		time.Sleep(time.Minute)
		write(t, client, "x")
		wantRead(t, server, "x")
		client.Close()
		server.Close()
		testutil.WantErr(t, "Join", (<-joined).Err, nil)
	})
}
