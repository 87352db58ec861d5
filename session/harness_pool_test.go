package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Helpers of the tests of Dialer and Listener.

// A simListener is a net.Listener of simulated connections. dial connects to it, or is refused after Close. up opens it
// again.
type simListener struct {
	link simnet.Link

	mu       sync.Mutex
	closed   chan struct{} // closed by Close; nil: nobody listens yet
	conns    chan net.Conn
	dialed   []*simnet.Conn // the ends of those that have dialed
	dials    int
	dialing  int // dials under way
	most     int // of them at the same time
	dialTime time.Duration
	times    []time.Time // of the dials
}

func newSimListener(link simnet.Link) *simListener {
	l := &simListener{link: link}
	l.up()
	return l
}

// up begins to listen.
func (l *simListener) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.conns = make(chan struct{}), make(chan net.Conn, 1000)
}

func (l *simListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	closed, conns := l.closed, l.conns
	l.mu.Unlock()
	select {
	case c := <-conns:
		return c, nil
	case <-closed:
		return nil, net.ErrClosed
	}
}

func (l *simListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
		close(l.closed)
		return nil
	}
}

func (l *simListener) Addr() net.Addr { return tcpAddr("10.0.0.7") }

// dial connects. It takes dialTime.
func (l *simListener) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	l.mu.Lock()
	l.dials++
	l.times = append(l.times, time.Now())
	l.dialing++
	l.most = max(l.most, l.dialing)
	wait := l.dialTime
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dialing--
	}()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	default:
	}
	a, b := simnet.Pair(l.link)
	l.dialed = append(l.dialed, a)
	l.conns <- b
	return a, nil
}

// conn returns the transport number n.
func (l *simListener) conn(n int) *simnet.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dialed[n]
}

// setDialTime sets how long a dial takes.
func (l *simListener) setDialTime(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialTime = d
}

// count returns how many dials there were, and how many at the same time at most.
func (l *simListener) count() (dials, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials, l.most
}

// A site is what a Dialer dials: a server over a session.Listener, which echoes.
type site struct {
	*simListener
	config   session.Config
	listener *session.Listener
	serving  sync.WaitGroup
}

// newSite starts a site. It is closed when the test ends.
func newSite(t testing.TB, link simnet.Link, cfg session.Config) *site {
	t.Helper()
	p := &site{simListener: newSimListener(link), config: cfg}
	p.listen()
	t.Cleanup(p.kill)
	return p
}

// listen starts the server.
func (p *site) listen() {
	p.listener = &session.Listener{Listener: p.simListener, Config: &p.config}
	l := p.listener
	p.serving.Go(func() { echoAll(l) })
}

// kill ends everything at once, as the end of a process does.
func (p *site) kill() {
	_ = p.listener.CloseNow()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.dialed {
		c.Break(nil)
	}
}

// echoAll echoes the streams of a listener until it is closed.
func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// dialer returns a Dialer that dials the place. It is closed when the test ends.
func (p *site) dialer(t testing.TB, d *session.Dialer) *session.Dialer {
	t.Helper()
	d.Dial = p.dial
	return closing(t, d)
}

// closing closes the Dialer when the test ends.
func closing(t testing.TB, d *session.Dialer) *session.Dialer {
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// openOn opens a stream with the Dialer.
func openOn(t testing.TB, d *session.Dialer) *stream.Stream {
	t.Helper()
	st, err := d.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// echoes sends a message over a stream and wants it back.
func echoes(t testing.TB, st net.Conn) {
	t.Helper()
	const message = "are you there?"
	if _, err := io.WriteString(st, message); err != nil {
		t.Error(err)
		return
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(st, got); err != nil || string(got) != message {
		t.Errorf("read %q, %v", got, err)
	}
}

// streamLoads returns the numbers of open streams of the Dialer's sessions, sorted.
func streamLoads(d *session.Dialer) (n []int) {
	for s := range d.Sessions() {
		n = append(n, s.NumStreams())
	}
	slices.Sort(n)
	return n
}

// wantLoads checks the numbers of open streams of the Dialer's sessions.
func wantLoads(t testing.TB, d *session.Dialer, want ...int) {
	t.Helper()
	synctest.Wait()
	if got := streamLoads(d); !slices.Equal(got, want) {
		t.Errorf("the sessions have %v streams, want %v", got, want)
	}
}

// wantDials checks how often the place was dialed.
func wantDials(t testing.TB, l *simListener, want int) {
	t.Helper()
	if got, most := l.count(); got != want || most > 1 {
		t.Errorf("%d dials, %d at the same time, want %d, one at a time", got, most, want)
	}
}

// opening opens a stream in the background.
func opening(d *session.Dialer, ctx context.Context) <-chan testutil.Result[*stream.Stream] {
	return testutil.Background(func() (*stream.Stream, error) { return d.OpenStream(ctx) })
}

// sessionOf returns the session of a stream.
func sessionOf(t testing.TB, c net.Conn) *session.Session {
	t.Helper()
	s, ok := session.From(c)
	if !ok {
		t.Fatal("From finds no session")
	}
	return s
}

// errBroken is an error of a test's callback.
var errBroken = errors.New("broken")
