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
	if l.currentPhase() != listenerNew {
		return nil
	}
	if err := l.Validate(); err != nil { // without the lock, because it may call a policy of the application
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == listenerNew {
		l.init()
		l.phase = listenerOpen
		go l.run(0)
	}
	return nil
}

// init prepares the fields that have no useful zero value. The caller holds l.mu, and phase is listenerNew.
func (l *Listener) init() {
	l.places = make(map[*place]struct{})
	l.stopping = make(chan struct{})
	l.waiting.L = &l.mu
	l.room.L = &l.mu
}

// run is the goroutine that accepts transports. It begins with a pause.
func (l *Listener) run(pause time.Duration) {
	for l.pause(pause) && l.awaitRoom() {
		conn, err := l.acceptTransport()
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
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if !l.reportFrom(err, func() { l.run(pause) }) {
			return
		}
	}
}

// pause waits for d, and reports whether l still accepts transports.
func (l *Listener) pause(d time.Duration) bool { return d == 0 || sleep(d, l.stopping) }

// acceptTransport accepts a transport.
func (l *Listener) acceptTransport() (net.Conn, error) {
	returned := false
	defer func() {
		if !returned && l.stop(endError{errGone}) {
			_ = l.Listener.Close()
		}
	}()
	conn, err := l.Listener.Accept()
	returned = true
	if err == nil && (conn == nil || isNil(conn)) {
		err = errNoTransport
	}
	return conn, err
}

// reportFrom calls OnError for a goroutine that goes on. If OnError does not return, another goroutine calls goOn.
func (l *Listener) reportFrom(err error, goOn func()) (returned bool) {
	defer func() {
		if !returned {
			go goOn()
		}
	}()
	l.report(err)
	return true
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
	ctx, cancel := context.WithTimeout(context.Background(), l.handshakeTimeout())
	isEnding := context.AfterFunc(ctx, func() { time.AfterFunc(lateGrace, p.setLate) })
	p.ctx, p.cancel = ctx, cancel
	p.release = func() { isEnding(); cancel() }
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
	var s *Session
	err := errGone // if a callback ends this goroutine
	defer func() {
		if err != nil {
			go p.failed(conn, err) // in a goroutine of its own, because a panic must not wait for it
			return
		}
		p.release()
		p.begin(s)
	}()
	s, err = p.startSession(conn)
}

// lateGrace is how long the end of a transport may take after the end of its handshake's context.
const lateGrace = 2 * closeGrace

// begin makes the streams of a session acceptable.
func (p *place) begin(s *Session) {
	s.attach(p)
	switch p.l.currentPhase() {
	case listenerClosed:
		s.stopAccepting()
	case listenerClosedNow: // CloseNow may have been too early to find the session
		_ = s.CloseNow()
	case listenerNew, listenerOpen:
	}
}

// failed ends a place whose handshake has failed. If there is a session, it waits for the end of that.
func (p *place) failed(conn net.Conn, err error) {
	if s := p.rejected; s != nil {
		p.awaitEnd(s)
	}
	p.release()
	p.fail()
	p.l.report(&net.OpError{Op: "handshake", Net: "smux", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err})
}

// reject begins to close a session that OnSession has rejected. What OnSession has written is sent, because it may tell
// the peer why.
func (p *place) reject(s *Session) {
	p.rejected = s
	go s.Close()
}

// awaitEnd waits for the end of a session that OnSession has rejected: until then it counts against MaxSessions.
// After HandshakeTimeout, and at CloseNow, the session ends at once.
func (p *place) awaitEnd(s *Session) {
	stop := context.AfterFunc(p.ctx, func() { _ = s.CloseNow() })
	defer stop()
	<-s.Done()
}

// startSession does the TLS handshake, starts the session and calls OnSession. If it fails, it closes conn, or begins to
// close the session.
func (p *place) startSession(conn net.Conn) (*Session, error) {
	s, err := startOwned(conn, func() (*Session, error) {
		if err := shakeHands(p.ctx, conn); err != nil {
			return nil, err
		}
		return Server(conn, p.l.Config)
	})
	if err != nil {
		return nil, err
	}
	return s, introduce(p.ctx, s, p.l.OnSession, p.reject)
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
