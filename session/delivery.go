package session

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// A delivery finds out what the peer has received, over a transport that cannot tell: it is no TCP socket and has no
// half-close, and its Close may throw away what it has not sent yet, as that of KCP does. Session.Close asks the peer's
// session, with the close signal. The echo proves that the session has read everything before it. A peer of
// another implementation does not answer. Its FIN for the stream that was served last proves the same, or else Close
// waits for some round trips.
//
// Positions count the bytes of streams that were added to batches, and of refusals: NOPs and signals need no proof.
type delivery struct {
	s         *Session
	estimator rttEstimator // of the transport, or nil
	kcp       kcpConn      // the transport, or nil if it is none
	silent    bool         // the transport does not tell the peer that it was closed

	given      atomic.Uint64 // the position now
	lastStream atomic.Uint32 // the stream whose frames were added last
	pinged     atomic.Uint64 // the position before the last ping
	asked      atomic.Uint64 // the position before the close signal
	proven     atomic.Uint64 // the position up to which the peer's session has read
	answers    atomic.Bool   // the peer has sent a signal: it is a session of this package
	echoed     atomic.Bool   // the echo of the close signal has arrived
	peerClosed atomic.Bool   // the peer has sent the close signal
	finOf      atomic.Uint32 // the stream, closed here before, of the last FIN that arrived
	finAt      atomic.Int64  // when that was, as a time of Session.clock
	changed    chan struct{} // wakes await
}

const (
	// A peer that does not answer gets deliveryRoundTrips to receive what was sent last, so that a transport which
	// loses packets can send them again: three times over KCP, with time-outs that double.
	deliveryRoundTrips = 8
	// minDeliveryWait allows for a busy machine.
	minDeliveryWait = 200 * time.Millisecond
	// blindDeliveryWait is for a path whose round-trip time is unknown.
	blindDeliveryWait = time.Second
	// minClosedWait is how long a session goes on at least after its peer has closed, if the end of the transport does
	// not follow: on a busy machine, the echo of the close signal may be lost and sent again so late.
	minClosedWait = 2 * time.Second
	// deliveryCheck is how often await looks for what no event tells: the transport's round-trip time, and whether
	// anything was ever received.
	deliveryCheck = 50 * time.Millisecond
)

// newDelivery returns nil if conn needs no delivery.
func newDelivery(s *Session, conn io.ReadWriteCloser) *delivery {
	network := transportAddr(conn, "LocalAddr").Network()
	silent := strings.HasPrefix(network, "udp")
	if _, ok := conn.(interface{ CloseWrite() error }); ok && !silent {
		return nil // see portable.awaitDelivery
	}
	if network == "pipe" {
		return nil // a net.Pipe's Write returns when the peer has read
	}
	d := &delivery{s: s, silent: silent, changed: make(chan struct{}, 1)}
	d.kcp, _ = conn.(kcpConn)
	var below any = conn
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		below = c.NetConn()
	}
	d.estimator, _ = below.(rttEstimator)
	return d
}

// delivery returns the session's delivery, or nil if it needs none.
func (s *Session) delivery() *delivery {
	if t, ok := s.transport.(*portable); ok {
		return t.delivery
	}
	return nil
}

// identifyPeer pings, if Close will need to know whether the peer answers: the echo of this ping comes soon, although
// the peer may read nothing when Close is called.
func (s *Session) identifyPeer() {
	if s.delivery() != nil && s.pinger().begin() {
		s.out.sendOwn(ownPing)
	}
}

// noteGiven notes that n bytes of the stream were added to a batch; id 0 stands for refusals. The holder of the writer
// role calls it.
func (d *delivery) noteGiven(id uint32, n int) {
	if d == nil || n == 0 {
		return
	}
	d.given.Add(uint64(n))
	d.lastStream.Store(id)
}

// noteSignals notes that these signals are being added to a batch.
func (d *delivery) noteSignals(frames ownSet) {
	if d == nil {
		return
	}
	if frames&ownPing != 0 {
		d.pinged.Store(d.given.Load())
	}
	if frames&ownClose != 0 {
		d.asked.Store(d.given.Load())
	}
}

// The note functions below are called by the reader.

func (d *delivery) noteSignal() {
	if d != nil {
		d.answers.Store(true)
	}
}

// notePingEcho notes that a ping has come back.
func (d *delivery) notePingEcho() {
	if d != nil {
		d.proven.Store(d.pinged.Load())
	}
}

// noteCloseEcho notes that the close signal has come back.
func (d *delivery) noteCloseEcho() {
	if d != nil {
		d.proven.Store(d.asked.Load())
		d.echoed.Store(true)
		d.wake()
	}
}

// noteFIN notes a FIN of a stream that is not open any more.
func (d *delivery) noteFIN(id uint32) {
	if d != nil {
		d.finAt.Store(int64(d.s.clock.lastReceived()))
		d.finOf.Store(id)
		d.wake()
	}
}

func (d *delivery) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// handlePeerClose deals with the close signal: the peer's session reads and sends no more. If the end of the transport
// does not follow, the session ends by itself. Until then the transport stays open, so that the echo is sent
// again if it is lost: the peer waits for it, and would not know.
func (s *Session) handlePeerClose() {
	s.mu.Lock()
	s.notePeerDraining()
	s.mu.Unlock()
	s.out.sendOwn(ownCloseEcho)
	if d := s.delivery(); d != nil && d.peerClosed.CompareAndSwap(false, true) {
		wait, _ := d.wait()
		time.AfterFunc(min(max(wait, minClosedWait), s.closeTimeout), func() { s.end(io.EOF) })
	}
}

// A verdict is what is known of the data that was sent.
type verdict uint8

const (
	unproven  verdict = iota
	delivered         // the peer has it, or does not want it
	unsure            // it had the time to arrive, as far as can be known
)

// isProven reports whether the peer's session has read what was sent, last at the given time.
func (d *delivery) isProven(sent time.Duration) bool {
	switch {
	case d.echoed.Load():
		return true
	case d.peerClosed.Load():
		return false // the end of the session comes soon
	case d.answers.Load():
		// Over a silent transport it would not learn of the end without the close signal.
		return !d.silent && d.given.Load() == d.proven.Load()
	case d.given.Load() == d.proven.Load():
		return true
	}
	if id := d.lastStream.Load(); id == 0 || d.finOf.Load() != id {
		return false
	}
	// A FIN that came within a round trip may have been on its way before. Then the time must do.
	rtt, _ := d.roundTrip()
	wait, _ := d.wait()
	return time.Duration(d.finAt.Load())-sent >= rtt || d.s.now()-sent >= wait
}

// judge returns the verdict on what was sent, last at the given time.
func (d *delivery) judge(sent time.Duration) verdict {
	wait, known := d.wait()
	switch {
	case d.isProven(sent):
		return delivered
	case d.peerClosed.Load(), d.answers.Load():
		return unproven
	case !known && d.s.stats.framesReceived.Load() == 0:
		return unproven // there may be nobody
	case d.s.now()-sent < wait:
		return unproven
	case known:
		return delivered
	}
	return unsure
}

// wait returns how long data may take to arrive, and whether the round-trip time is known.
func (d *delivery) wait() (wait time.Duration, known bool) {
	_, slowest := d.roundTrip()
	if slowest == 0 {
		return blindDeliveryWait, false
	}
	return max(minDeliveryWait, deliveryRoundTrips*slowest), true
}

// roundTrip returns the round-trip time, as it usually is and as it may be. Both are 0 if it is unknown.
func (d *delivery) roundTrip() (usual, slowest time.Duration) {
	usual = d.s.rtt()
	slowest = usual
	if e := d.estimator; e != nil {
		if srtt := e.GetSRTT(); srtt > 0 {
			usual = time.Duration(srtt) * time.Millisecond
			slowest = max(slowest, time.Duration(e.GetRTO())*time.Millisecond)
		}
	}
	return usual, slowest
}

// await waits until the peer has received what was sent, or had the time to. It reports false if that stays unsure, or
// if done or timeout came first. The writer is idle, and the streams send no more.
func (d *delivery) await(done <-chan struct{}, timeout <-chan time.Time) bool {
	s := d.s
	sent := s.clock.lastSent()
	if d.kcp != nil {
		return d.awaitKCP(sent, done, timeout)
	}
	if d.judge(sent) != unproven {
		d.finish(done) // nothing was sent lately
		return true
	}
	s.out.sendOwn(ownClose)
	return d.awaitVerdict(done, timeout, func() verdict { return d.judge(sent) })
}

// finish lets the writer send what is due. That is no data any more, but an echo for which the peer may wait. It does not wait for
// long: the transport may take nothing because the peer is gone.
func (d *delivery) finish(done <-chan struct{}) {
	s := d.s
	wait, _ := d.wait()
	s.mu.Lock()
	left := s.closeBy - s.now()
	s.mu.Unlock()
	limit := time.NewTimer(min(wait, left))
	defer limit.Stop()
	s.endWriting(done, limit.C)
}

// awaitVerdict waits until judge gives a verdict. It looks at each change and, for what no event tells, each
// deliveryCheck. The rest is as for await.
func (d *delivery) awaitVerdict(done <-chan struct{}, timeout <-chan time.Time, judge func() verdict) bool {
	check := time.NewTicker(deliveryCheck)
	defer check.Stop()
	for {
		switch judge() {
		case delivered:
			d.finish(done)
			return true
		case unsure:
			return false
		case unproven:
		}
		select {
		case <-d.changed:
		case <-check.C:
		case <-done:
			return d.peerClosed.Load() && !d.s.wasCutShort() // it would not have read any more
		case <-timeout:
			return d.peerClosed.Load()
		}
	}
}
