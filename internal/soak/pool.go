package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// A pool round runs a session.Dialer against servers over a session.Listener, and disturbs the servers. It checks:
//
//   - restarts: a server begins, and the one before it is shut down. Every request gets its answer, whole, and as many
//     streams are accepted as were opened;
//   - kills: all transports of the server are reset, and another server begins after a pause. Requests on them fail with
//     an error of a known kind;
//   - stalls: all transports of the server pass nothing any more, and another server begins. Requests on them
//     fail within the time-out of the keep-alive.
//
// In each, requests succeed again at the end, everything ends when it is shut down, and no call waits for ever.
type poolRound struct {
	p      *plan
	d      draw
	dialer *session.Dialer
	dir    string // for Unix sockets

	mu      sync.Mutex
	current *poolServer // what the Dialer dials; nil: nobody listens
	servers []*poolServer
	wrong   error // the first failure

	opened   atomic.Int64 // streams of requests
	accepted atomic.Int64
	number   int // of servers so far
}

var poolKinds = []string{"restarts", "kills", "stalls"}

// poolShare is the part of the rounds that are pool rounds.
const poolShare = 0.05

// runPool runs a pool round.
func runPool(p *plan) error {
	r := &poolRound{p: p, d: draw{randFrom(p.Seed, p.Round)}}
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r.dir = dir
	config := &session.Config{Version: p.Version}
	if p.Pool == "stalls" {
		config.KeepAlive = keepalive.Periodic{Interval: 100 * time.Millisecond, Timeout: time.Second, Strict: true}
	}
	r.dialer = &session.Dialer{
		Dial:              r.dial,
		Config:            config,
		MaxSessions:       2 + r.d.IntN(8),
		StreamsPerSession: 1 + int(r.d.upTo(20)),
		MinBackoff:        time.Millisecond,
		MaxBackoff:        100 * time.Millisecond,
		OnSession: func(ctx context.Context, s *session.Session) error {
			_, err := s.Ping(ctx)
			return err
		},
	}
	if r.d.chance(0.5) {
		r.dialer.MaxAge = time.Duration(1+r.d.upTo(500)) * time.Millisecond
	}
	events, workers := 1+int(r.d.upTo(30)), 1+r.d.IntN(16)
	if p.Pool == "stalls" || p.Small {
		events = 1 + events/10
	}
	if err := r.begin(); err != nil {
		return err
	}
	r.play(events, workers)
	return r.finish()
}

// play has workers make requests until all events have happened, and some more.
func (r *poolRound) play(events, workers int) {
	stop := make(chan struct{})
	answered := make(chan struct{})
	var load sync.WaitGroup
	for i := range workers {
		d := draw{randFrom(r.p.Seed+uint64(i), r.p.Round)}
		load.Go(func() {
			for last := false; !last; {
				select {
				case <-stop:
					last = true // everything is calm again: this one must succeed
				default:
				}
				size := d.upTo(100_000)
				err := r.request(testutil.Pattern(d.Uint64()), size)
				for failed := 0; last && err != nil && r.mayFailLast(err, failed); failed++ {
					err = r.request(testutil.Pattern(d.Uint64()), size)
				}
				if err != nil && (last || !r.mayFail(err)) {
					r.fail(fmt.Errorf("a request of %d bytes: %w", size, err))
				}
				select {
				case answered <- struct{}{}:
				default: // nobody waits for it
				}
			}
		})
	}
	for range events {
		for range 1 + r.d.upTo(50) {
			<-answered
		}
		if err := r.disturb(); err != nil {
			r.fail(err)
		}
	}
	<-answered
	if r.p.Pool == "stalls" {
		time.Sleep(2 * time.Second) // until the sessions that are stalled have ended
	}
	close(stop)
	load.Wait()
}

// mayFailLast reports whether a request that began after the last event may have failed with err. After a kill, sessions may
// not have noticed yet that their transports were reset. A request that fails shows that its session has, and no other
// begins on it: so each worker can meet a session that was killed once.
func (r *poolRound) mayFailLast(err error, failed int) bool {
	return r.p.Pool == "kills" && r.mayFail(err) && failed < 2*r.dialer.MaxSessions
}

// mayFail reports whether the round's events may have made a request fail with err.
func (r *poolRound) mayFail(err error) bool {
	if r.p.Pool == "restarts" || errors.Is(err, session.ErrNoSession) {
		return false
	}
	return smuxError(err) || errors.Is(err, io.ErrUnexpectedEOF)
}

// request sends size bytes to the server, which sends them back.
func (r *poolRound) request(pattern testutil.Pattern, size int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := r.dialer.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	r.opened.Add(1)
	sent := make(chan error, 1)
	go func() {
		_, err := st.Write(pattern.Bytes(int(size)))
		sent <- errors.Join(err, st.CloseWrite())
	}()
	got, err := io.ReadAll(st)
	_ = st.CloseRead()
	if err != nil {
		_ = st.Close() // which ends Write
	}
	if serr := <-sent; err == nil {
		err = serr
	}
	totals.streams.Add(1)
	totals.bytes.Add(int64(len(got)))
	if err == nil && !bytes.Equal(got, pattern.Bytes(int(size))) {
		r.fail(fmt.Errorf("the answer to %d bytes has %d other ones", size, len(got)))
	}
	return err
}

// disturb ends the current server in the way of the round, and begins another.
func (r *poolRound) disturb() error {
	r.mu.Lock()
	old := r.current
	if r.p.Pool == "kills" {
		r.current = nil
	}
	r.mu.Unlock()
	switch r.p.Pool {
	case "kills":
		old.kill()
		time.Sleep(time.Duration(r.d.upTo(50)) * time.Millisecond)
		return r.begin()
	case "stalls":
		old.gate.shut()
		return r.begin()
	}
	if err := r.begin(); err != nil {
		return err
	}
	old.ending.Go(func() { old.shutdown(r) })
	return nil
}

// finish ends everything, and returns what is wrong.
func (r *poolRound) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.dialer.Shutdown(ctx); err != nil && !errors.Is(err, session.ErrNotFlushed) {
		r.fail(fmt.Errorf("the Dialer's Shutdown: %w", err))
	}
	x := r.dialer.Stats()
	if x.Waiting != 0 || x.Total.StreamsOpened != uint64(r.opened.Load()) {
		r.fail(fmt.Errorf("%d streams were opened, Stats of the Dialer: %+v", r.opened.Load(), x))
	}
	if err := r.dialer.Close(); err != nil {
		r.fail(fmt.Errorf("the Dialer's Close: %w", err))
	}
	for _, s := range r.servers {
		s.ending.Wait()
		if r.p.Pool != "restarts" || s == r.current {
			s.gate.open()
			_ = s.listener.CloseNow()
		}
		s.serving.Wait()
	}
	if n := r.accepted.Load(); r.p.Pool == "restarts" && n != r.opened.Load() {
		r.fail(fmt.Errorf("%d streams were opened and %d accepted", r.opened.Load(), n))
	}
	return r.wrong
}

// fail records the first failure.
func (r *poolRound) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == nil {
		r.wrong = fmt.Errorf("pool, %s: %w", r.p.Pool, err)
	}
}

// dial dials the current server.
func (r *poolRound) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	r.mu.Lock()
	s := r.current
	r.mu.Unlock()
	if s == nil {
		return nil, errors.New("nobody listens")
	}
	conn, err := new(net.Dialer).DialContext(ctx, s.Addr().Network(), s.Addr().String())
	if err != nil {
		return nil, err
	}
	if r.p.Transport == "tls" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return conn, nil
}

// A poolServer is one server of a pool round. It is the net.Listener of its session.Listener.
type poolServer struct {
	net.Listener
	listener *session.Listener
	gate     gate // shut: its transports pass nothing
	gated    bool
	serving  sync.WaitGroup // Accept, and the streams
	ending   sync.WaitGroup // its Shutdown

	mu    sync.Mutex
	conns []net.Conn
}

// begin starts a server, which is the current one from now on.
func (r *poolRound) begin() error {
	network, address := "tcp", "127.0.0.1:0"
	if r.p.Transport == "unix" {
		network, address = "unix", filepath.Join(r.dir, fmt.Sprint(r.number))
	}
	r.number++
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	s := &poolServer{Listener: l, gated: r.p.Pool == "stalls"}
	s.listener = &session.Listener{Listener: s, Config: &session.Config{Portable: r.p.Transport == "portable"}}
	if r.p.Transport == "tls" {
		cert, err := certificate()
		if err != nil {
			return err
		}
		s.listener.Listener = tls.NewListener(s, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	s.serving.Go(func() { s.serve(r) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = s
	r.servers = append(r.servers, s)
	return nil
}

// serve sends back what each stream brings.
func (s *poolServer) serve(r *poolRound) {
	for {
		st, err := s.listener.AcceptStream(context.Background())
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.fail(fmt.Errorf("Accept: %w", err))
			}
			return
		}
		r.accepted.Add(1)
		s.serving.Go(func() {
			_, _ = io.Copy(st, st)
			_ = st.Close()
		})
	}
}

// shutdown shuts the server down.
func (s *poolServer) shutdown(r *poolRound) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// The Dialer may shut its sessions down at the same time. The slower side may not learn that its last bytes have
	// arrived.
	if err := s.listener.Shutdown(ctx); err != nil && !errors.Is(err, session.ErrNotFlushed) {
		r.fail(fmt.Errorf("the Listener's Shutdown: %w", err))
	}
}

// Accept accepts a transport.
func (s *poolServer) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	if s.gated {
		return gatedConn{c, &s.gate}, nil
	}
	return c, nil
}

// kill resets all transports.
func (s *poolServer) kill() {
	_ = s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// A gatedConn passes nothing while its gate is shut. It ends with its peer all the same.
type gatedConn struct {
	net.Conn
	gate *gate
}

func (c gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.wait()
	return n, err
}

func (c gatedConn) Write(p []byte) (int, error) {
	c.gate.wait()
	return c.Conn.Write(p)
}
