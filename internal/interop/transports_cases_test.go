package interop

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What sessions do over every transport of transports_test.go.

// Every byte arrives both ways at once, and a half-close lets the answer arrive.
func TestTransfersOverEachTransportAreWhole(t *testing.T) {
	const streams, size = 4, 150_000
	eachTransport(t, peerings, func(t *testing.T, connect func(options) *connection) {
		c := connect(options{})
		var opened, accepted [streams]muxStream
		for i := range streams {
			opener, acceptor := c.ours, c.theirs
			if i%2 == 1 {
				opener, acceptor = c.theirs, c.ours
			}
			var err error
			if opened[i], err = opener.Open(); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "the opener", opened[i], []byte{byte(i)})
			if accepted[i], err = acceptor.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		defer all.Wait()
		for i := range streams {
			opened, accepted := opened[i], accepted[i]
			up, down := payload{seed: uint64(i), up: true, size: size}, payload{seed: uint64(i), size: size}
			all.Go(func() {
				mustWrite(t, "the opener", opened, up.bytes())
				mustCloseWrite(t, "the opener", opened)
			})
			all.Go(func() {
				readAll(t, "the acceptor", accepted, append([]byte{byte(i)}, up.bytes()...))
				mustWrite(t, "the acceptor", accepted, down.bytes()) // the answer
				mustClose(t, "the acceptor", accepted)
			})
			all.Go(func() {
				readAll(t, "the opener", opened, down.bytes())
				mustClose(t, "the opener", opened)
			})
		}
	})
}

// Write, Stream.Close and Session.Close at once lose nothing over any transport. If Close cannot know, it says so.
func TestCloseOverEachTransportDelivers(t *testing.T) {
	skipStandIn(t, "loses what its transport has not sent")
	eachTransport(t, peerings, func(t *testing.T, connect func(options) *connection) {
		for _, size := range []int{100, 600_000} {
			c := connect(options{})
			c.closeWith(t, payload{seed: 1, size: size}, func(accepted muxStream, _ <-chan struct{}) muxStream { return accepted })
		}
	})
}

// The same holds if the reader begins only when Session.Close is under way, and reads slowly.
func TestCloseOverEachTransportWaitsForASlowReader(t *testing.T) {
	skipStandIn(t, "loses what its transport has not sent")
	eachTransport(t, peerings, func(t *testing.T, connect func(options) *connection) {
		c := connect(options{}) // version 2 sends that much before the reader has begun
		c.closeWith(t, payload{seed: 1, size: 200_000}, func(accepted muxStream, closing <-chan struct{}) muxStream {
			<-closing
			return slowly{accepted}
		})
	})
}

// slowly reads slowly.
type slowly struct{ muxStream }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.muxStream.Read(p[:min(len(p), 8<<10)])
}

// closeWith sends p on a stream from our side, and closes the stream and the session at once. The other side reads what
// reader returns. closing is closed when Close is about to be called.
func (c *connection) closeWith(t *testing.T, p payload, reader func(accepted muxStream, closing <-chan struct{}) muxStream) {
	t.Helper()
	opened, err := c.ours.Open()
	if err != nil {
		t.Fatal(err)
	}
	closing, waiting := make(chan struct{}), make(chan struct{})
	arrived := make(chan error, 1)
	go func() {
		accepted, err := c.theirs.Accept()
		close(waiting)
		if err != nil {
			arrived <- fmt.Errorf("accept: %w", err)
			return
		}
		arrived <- p.readAll(reader(accepted, closing))
		_ = accepted.Close()
		if c.halfCloses {
			_ = c.theirs.Close() // our Close waits for it
		}
	}()
	mustWrite(t, "ours", opened, p.bytes())
	mustClose(t, "ours", opened)
	if c.peering.theirs {
		<-waiting // its Accept fails at the session's end, although a stream waits
	}
	close(closing)
	begin := time.Now()
	err = c.ours.Close()
	d := time.Since(begin)
	t.Logf("%d bytes: Close returned %v after %v", p.size, err, d)
	if err != nil && !(c.peering.theirs && errors.Is(err, errNotFlushed)) {
		t.Errorf("Close: %v", err)
	}
	if d > hung/2 {
		t.Errorf("Close took %v", d)
	}
	mayFail := c.peering.theirs && (err != nil || c.version == 2 && c.closesEarly)
	if err := <-arrived; errors.Is(err, errWrongData) || err != nil && !mayFail {
		t.Errorf("theirs: %v", err)
	}
}

// errWrongData says that a stream had other data than was written, or io.EOF came too soon.
var errWrongData = errors.New("wrong data")

// readAll reads p and io.EOF. Data and io.EOF must be right also if it fails.
func (p payload) readAll(st muxStream) error {
	got, err := io.ReadAll(st)
	want := p.bytes()
	if len(got) > len(want) || mismatch(got, want[:min(len(got), len(want))]) >= 0 || err == nil && len(got) < len(want) {
		return fmt.Errorf("%w: %d bytes, then %v", errWrongData, len(got), err)
	}
	if err != nil {
		return fmt.Errorf("read %d of %d bytes: %w", len(got), len(want), err)
	}
	return nil
}

const (
	alive = 1500 * time.Millisecond      // the keep-alive's time-out
	past  = alive + 300*time.Millisecond // how long a session is idle
	late  = 5 * time.Second              // far more than a busy machine needs to notice that the time-out has passed
)

// A session that is idle for longer than the keep-alive's time-out stays, over any transport. If its peer vanishes then, all
// calls end with the time-out.
func TestKeepAliveOverEachTransport(t *testing.T) {
	skipStandIn(t, "does not tell who waits in Accept")
	eachTransport(t, fewPeerings, func(t *testing.T, connect func(options) *connection) {
		var f *freezer
		c := connect(options{alive: alive, wrap: func(peer io.ReadWriteCloser) io.ReadWriteCloser {
			f = newFreezer(peer)
			return f
		}})
		opened, err := c.ours.Open()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "ours", opened, []byte("x"))
		accepted, err := c.theirs.Accept()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(past)
		mustWrite(t, "ours", opened, []byte("y"))
		if got := make([]byte, 2); second(io.ReadFull(accepted, got)) != nil || string(got) != "xy" {
			t.Fatalf("theirs read %q", got)
		}

		f.freeze()
		begin := time.Now()
		_, err = opened.Read(make([]byte, 1))
		if d := time.Since(begin); !errors.Is(err, errKeepAlive) || d < alive/2 || d > alive+late {
			t.Errorf("Read: %v, %v after the peer vanished", err, d)
		}
		_, err = c.ours.Accept()
		if !errors.Is(err, errKeepAlive) {
			t.Errorf("Accept: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A freezer is the end of a peer that vanishes: after freeze it takes no data, says nothing, and does not close.
type freezer struct {
	io.ReadWriteCloser
	frozen atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func newFreezer(conn io.ReadWriteCloser) *freezer {
	return &freezer{ReadWriteCloser: conn, closed: make(chan struct{})}
}

func (f *freezer) freeze() { f.frozen.Store(true) }

func (f *freezer) Read(p []byte) (int, error) {
	n, err := f.ReadWriteCloser.Read(p)
	if f.frozen.Load() {
		<-f.closed
		return 0, io.ErrClosedPipe
	}
	return n, err
}

func (f *freezer) Write(p []byte) (int, error) {
	if f.frozen.Load() {
		<-f.closed
		return 0, io.ErrClosedPipe
	}
	return f.ReadWriteCloser.Write(p)
}

func (f *freezer) Close() error {
	f.once.Do(func() { close(f.closed) })
	if f.frozen.Load() {
		return nil // nobody hears of it
	}
	return f.ReadWriteCloser.Close()
}

// A message that is longer than the transport allows ends the session. So MaxWriteSize must be set.
func TestTooLongMessageEndsTheSession(t *testing.T) {
	skipStandIn(t, "reports the end of its session to some calls alone")
	for _, tr := range transports {
		if tr.ours.MaxWriteSize == 0 {
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			tr.ours.MaxWriteSize = 0
			c := connectOver(t, tr, peerings[0], options{})
			opened, err := c.ours.Open()
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = opened.Write(make([]byte, 100_000))
			}
			_, err = c.ours.Accept()
			t.Logf("Accept: %v", err)
			if err == nil {
				t.Error("Accept: no error")
			}
		})
	}
}

// Streams have deadlines and addresses over every transport, also over one that has none.
func TestStreamsOverEachTransportHaveDeadlines(t *testing.T) {
	skipStandIn(t, "has no addresses over some of them")
	eachTransport(t, peerings, func(t *testing.T, connect func(options) *connection) {
		c := connect(options{})
		opened, err := c.ours.Open()
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []interface{ Network() string }{opened.LocalAddr(), opened.RemoteAddr()} {
			want := c.network[0]
			if !c.ourClient {
				want = c.network[1]
			}
			if got := addr.Network(); got != want {
				t.Errorf("the network of an address is %q, want %q", got, want)
			}
		}
		if err := opened.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := opened.Read(make([]byte, 1)); !timedOut(err) {
			t.Errorf("Read: %v", err)
		}
		mustWrite(t, "ours", opened, []byte("after a deadline"))
		accepted, err := c.theirs.Accept()
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, "ours", opened)
		readAll(t, "theirs", accepted, []byte("after a deadline"))
	})
}
