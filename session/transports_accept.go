package session

import (
	"context"
	"errors"
	"net"
	"time"
)

// In this file, a Listener accepts transports and makes sessions of them.

// begin starts the Listener, if it has not started.
func (l *Listener) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != listenerNew {
		return nil
	}
	if err := l.Validate(); err != nil {
		return err
	}
	l.init()
	l.phase = listenerOpen
	go l.run()
	return nil
}

// init prepares the fields that have no useful zero value. The caller holds l.mu, and phase is listenerNew.
func (l *Listener) init() {
	l.places = make(map[*place]struct{})
	l.stopping = make(chan struct{})
	l.waiting.L = &l.mu
	l.room.L = &l.mu
}

// run is the goroutine that accepts transports.
func (l *Listener) run() {
	var pause time.Duration
	for l.awaitRoom() {
		conn, err := l.Listener.Accept()
		if err == nil && (conn == nil || isNil(conn)) {
			err = errNoTransport
		}
		if err == nil {
			pause = 0
			if p := l.add(conn); p != nil {
				go p.handshake(conn)
			}
			continue
		}
		if !isTemporary(err) {
			if l.stop(endError{err}) {
				_ = l.Listener.Close()
			}
			return
		}
		l.report(err)
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		sleep(pause, l.stopping)
	}
}

// errNoTransport is why a Listener ends if its net.Listener breaks its contract.
var errNoTransport = errors.New("session: the net.Listener returned neither a connection nor an error")

// isTemporary reports whether Accept may succeed later, for instance because the process has too many open files.
func isTemporary(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// awaitRoom waits until MaxSessions allows one more transport. It returns false once l is closed.
func (l *Listener) awaitRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.phase == listenerOpen && l.MaxSessions > 0 && len(l.places) >= l.MaxSessions {
		l.room.Wait()
	}
	return l.phase == listenerOpen
}

// add returns the place of a new transport. It returns nil, and closes the transport, after CloseNow.
func (l *Listener) add(conn net.Conn) *place {
	l.mu.Lock()
	if l.phase == listenerClosedNow {
		l.mu.Unlock()
		_ = conn.Close()
		return nil
	}
	p := &place{l: l}
	p.ctx, p.cancel = context.WithTimeout(context.Background(), l.handshakeTimeout())
	l.places[p] = struct{}{}
	l.handshakes++
	l.counts.accepted++
	l.mu.Unlock()
	return p
}

func (l *Listener) handshakeTimeout() time.Duration {
	if l.HandshakeTimeout > 0 {
		return l.HandshakeTimeout
	}
	return 10 * time.Second
}

// report calls OnError.
func (l *Listener) report(err error) {
	if l.OnError != nil {
		l.OnError(err)
	}
}

// handshake is the goroutine of a transport. It ends when the session's streams can be accepted.
func (p *place) handshake(conn net.Conn) {
	defer p.cancel()
	l := p.l
	s, err := p.startSession(conn)
	if err != nil {
		if s != nil {
			p.awaitEnd(s)
		}
		p.fail()
		l.report(&net.OpError{Op: "handshake", Net: "smux", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err})
		return
	}
	s.attach(p)
	switch l.currentPhase() {
	case listenerClosed:
		s.stopAccepting()
	case listenerClosedNow: // CloseNow may have been too early to find the session
		_ = s.CloseNow()
	case listenerNew, listenerOpen:
	}
}

// awaitEnd waits for the end of a session that OnSession has rejected: until then it counts against MaxSessions.
// After HandshakeTimeout, and at CloseNow, the session ends at once.
func (p *place) awaitEnd(s *Session) {
	stop := context.AfterFunc(p.ctx, func() { _ = s.CloseNow() })
	defer stop()
	<-s.Done()
}

// startSession does the TLS handshake, starts the session and calls OnSession. If it fails, it closes conn, or begins to
// close the session, which it returns then.
func (p *place) startSession(conn net.Conn) (*Session, error) {
	if err := shakeHands(p.ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	s, err := Server(conn, p.l.Config)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, introduce(p.ctx, s, p.l.OnSession)
}

// shakeHands does the handshake of a transport that has one, as a *tls.Conn does.
func shakeHands(ctx context.Context, conn net.Conn) error {
	c, ok := conn.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // in case that HandshakeContext ignores ctx
	err := c.HandshakeContext(ctx)
	if !stop() {
		return ctx.Err()
	}
	return err
}
