package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// The code of docs/kcp.md.

// tuneKCP sets what both ends of a KCP connection need.
func tuneKCP(conn *kcp.UDPSession) {
	conn.SetNoDelay(1, 10, 2, 1)  // what was lost is sent again soon
	conn.SetWindowSize(128, 1024) // in packets: sent at most, and received at most
	conn.SetACKNoDelay(true)
}

// kcpListener tunes each connection that it accepts.
type kcpListener struct{ *kcp.Listener }

func (l kcpListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	tuneKCP(conn)
	return conn, nil
}

// serveKCP serves the streams of all clients until ctx ends. Then it lets the open streams end.
func serveKCP(ctx context.Context, socket net.PacketConn, handle func(net.Conn)) error {
	defer socket.Close() // after all sessions have ended
	transports, err := kcp.ServeConn(nil, 0, 0, socket)
	if err != nil {
		return err
	}
	_ = transports.SetReadBuffer(4 << 20) // packets that find no room there are lost
	l := &session.Listener{Listener: kcpListener{transports}, MaxSessions: 1000}
	defer l.CloseNow()
	go func() {
		for {
			st, err := l.Accept()
			if err != nil {
				return
			}
			go handle(st)
		}
	}()
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return l.Shutdown(drain)
}

// dialKCP returns a Dialer of the server.
func dialKCP(address string) *session.Dialer {
	return &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			conn, err := kcp.DialWithOptions(address, nil, 0, 0)
			if err != nil {
				return nil, err
			}
			_ = conn.SetReadBuffer(4 << 20)
			tuneKCP(conn)
			return conn, nil
		},
		OnSession: func(ctx context.Context, s *session.Session) error { // not toward xtaci/smux, which does not answer
			_, err := s.Ping(ctx) // DialWithOptions succeeds although nobody is there
			return err
		},
	}
}

// checkKCPGoroutines is checkGoroutines, but for those that KCP has for the whole program.
func checkKCPGoroutines(t *testing.T) {
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, current, goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.postProcessWorker"))
	})
}

// The client and the server of docs/kcp.md: a stream that is open when the server stops gets its answer.
func TestGuideKCP(t *testing.T) {
	checkKCPGoroutines(t)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := socket.LocalAddr().String()
	ctx, stop := context.WithCancel(t.Context())
	p := payload{seed: 1, size: 200_000}
	asked, answer := make(chan struct{}), make(chan struct{})
	stopped := testutil.BackgroundErr(func() error {
		return serveKCP(ctx, socket, func(conn net.Conn) {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			close(asked)
			<-answer
			mustWrite(t, "the server", conn.(muxStream), p.bytes())
			mustClose(t, "the server", conn.(muxStream))
		})
	})
	d := dialKCP(address)
	defer d.Close()
	st, err := d.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "the client", st, []byte{1})
	<-asked
	stop()
	for s := range d.Sessions() {
		<-s.Draining()
	}
	close(answer)
	readAll(t, "the client", st, p.bytes())
	mustClose(t, "the client", st)
	if err := (<-stopped).Err; err != nil {
		t.Errorf("serveKCP: %v", err)
	}
}

// A listener of kcp.Listen closes its socket, and with it all sessions: no stream survives the Shutdown of the
// session.Listener.
func TestKCPListenerWithItsOwnSocketEndsTheSessions(t *testing.T) {
	checkKCPGoroutines(t)
	transports, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &session.Listener{Listener: kcpListener{transports}}
	defer l.CloseNow()
	accepting := testutil.Background(l.Accept)
	d := dialKCP(transports.Addr().String())
	st, err := d.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "the client", st, []byte{1})
	accepted := <-accepting
	if accepted.Err != nil {
		t.Fatal(accepted.Err)
	}
	if err := l.Shutdown(t.Context()); err != nil && !errors.Is(err, session.ErrNotFlushed) {
		t.Logf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(accepted.Value); err == nil {
		t.Error("the stream goes on")
	}
	for s := range d.Sessions() {
		_ = s.CloseNow()
	}
	_ = d.Close()
}

// The path of the measurement: a bottleneck with a queue that drops what is too much, a delay, and loss.
type path struct {
	rate  float64       // bytes a second
	queue time.Duration // how much may wait
	delay time.Duration // one way
	loss  float64
}

// A pathConn is a UDP socket at one end of a path. What is sent to the other end takes the path.
type pathConn struct {
	net.PacketConn
	path
	packets chan packet

	mu   sync.Mutex
	free time.Time // when the bottleneck has sent what waits
}

type packet struct {
	due  time.Time
	data []byte
	to   net.Addr
}

func newPathConn(b *testing.B, p path) *pathConn {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := &pathConn{PacketConn: socket, path: p, packets: make(chan packet, 1<<16)}
	b.Cleanup(func() {
		socket.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.packets)
		c.packets = nil
	})
	packets := c.packets
	go func() {
		for p := range packets {
			time.Sleep(time.Until(p.due))
			_, _ = socket.WriteTo(p.data, p.to) // fails once the test has ended
		}
	}()
	return c
}

func (c *pathConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.free.Before(now) {
		c.free = now
	}
	if c.free.Sub(now) > c.queue || rand.Float64() < c.loss {
		return len(b), nil
	}
	c.free = c.free.Add(time.Duration(float64(len(b)+28) / c.rate * 1e9))
	select {
	case c.packets <- packet{c.free.Add(c.delay), bytes.Clone(b), to}:
	default:
	}
	return len(b), nil
}

// The figures of docs/kcp.md: bulk data and pings over KCP, with different settings.
func BenchmarkKCPSettings(b *testing.B) {
	fast := func(c *kcp.UDPSession) { c.SetNoDelay(1, 10, 2, 1); c.SetACKNoDelay(true) }
	large := func(c *kcp.UDPSession) { tuneKCP(c); c.SetWindowSize(1024, 1024) }
	settings := []struct {
		name string
		tune func(*kcp.UDPSession)
		cfg  session.Config
	}{
		{name: "as it is", tune: func(*kcp.UDPSession) {}},
		{name: "NoDelay", tune: fast},
		{name: "NoDelay,window=128", tune: tuneKCP},
		{name: "NoDelay,window=1024", tune: large},
		{name: "NoDelay,window=1024,SendRate", tune: large, cfg: session.Config{SendRate: flow.Rate{BytesPerSecond: 1_700_000}}},
	}
	for _, loss := range []float64{0, 0.03} {
		for _, s := range settings {
			b.Run(fmt.Sprintf("loss=%v/%s", loss, s.name), func(b *testing.B) {
				p := path{rate: 2e6, queue: 200 * time.Millisecond, delay: 25 * time.Millisecond, loss: loss}
				measureKCP(b, p, s.tune, s.cfg)
			})
		}
	}
}

func measureKCP(b *testing.B, p path, tune func(*kcp.UDPSession), cfg session.Config) {
	near, far := newPathConn(b, p), newPathConn(b, p)
	l, err := kcp.ServeConn(nil, 0, 0, far)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	conn, err := kcp.NewConn2(far.LocalAddr(), nil, 0, 0, near)
	if err != nil {
		b.Fatal(err)
	}
	tune(conn)
	c, err := session.Client(conn, &cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.CloseNow()
	accepted, err := l.AcceptKCP()
	if err != nil {
		b.Fatal(err)
	}
	tune(accepted)
	s, err := session.Server(accepted, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.CloseNow()
	st, err := c.OpenStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := st.Write(make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	in, err := s.AcceptStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			if _, err := st.Write(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	warm := time.Now()
	for time.Since(warm) < 2*time.Second {
		if _, err := in.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	var pings []time.Duration
	stop := make(chan struct{})
	var pinging sync.WaitGroup
	pinging.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if rtt, err := c.Ping(b.Context()); err == nil {
				pings = append(pings, rtt)
			}
		}
	})
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := io.ReadFull(in, buf); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	pinging.Wait()
	slices.Sort(pings)
	if len(pings) > 0 {
		b.ReportMetric(float64(pings[len(pings)/2].Milliseconds()), "ping-ms")
	}
}
