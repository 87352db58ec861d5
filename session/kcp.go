package session

import (
	"net"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// An rttEstimator is a transport that measures the round trip, in milliseconds. The time is 0 until the peer's host
// has acknowledged something.
type rttEstimator interface {
	GetSRTT() int32
	GetRTO() uint32 // after which it sends again
}

// A kcpConn has the methods by which a session knows a *kcp.UDPSession of github.com/xtaci/kcp-go/v5.
type kcpConn interface {
	net.Conn
	rttEstimator
	GetConv() uint32
	SetWindowSize(sndwnd, rcvwnd int)
}

const (
	// kcpTry is how long a Write may wait that finds out whether everything is acknowledged.
	kcpTry = 2 * time.Millisecond
	// kcpWindow is the send window, in packets, while the rest is sent before Close. The peer's receive window and
	// KCP's congestion window limit it, too.
	kcpWindow = 1024
)

// awaitKCP is await for a KCP transport. The echo of a session tells more than an acknowledgement: that the session has
// read the data, and knows of the end. So KCP is asked only if the echo takes long, or the peer has not answered before.
func (d *delivery) awaitKCP(sent time.Duration, done <-chan struct{}, timeout <-chan time.Time) bool {
	s := d.s
	if wait, _ := d.wait(); d.answers.Load() || s.now()-sent < wait {
		s.out.sendOwn(ownClose) // on a new session, the peer may answer although it has not done so yet
	}
	rtt, rto, since := d.kcp.GetSRTT(), d.kcp.GetRTO(), s.now()
	return d.awaitVerdict(done, timeout, func() verdict {
		if d.kcp.GetSRTT() != rtt || d.kcp.GetRTO() != rto { // something was acknowledged
			rtt, rto, since = d.kcp.GetSRTT(), d.kcp.GetRTO(), s.now()
		}
		return d.judgeKCP(sent, since)
	})
}

// judgeKCP returns the verdict on the data that was last sent at the given time. since is when something was last
// acknowledged, or when Close began to wait. If the peer has closed, it may have got our echo and be gone, so that none of
// its own comes: then its host's acknowledgements tell that nothing is left to send, our echo included.
func (d *delivery) judgeKCP(sent, since time.Duration) verdict {
	if d.isProven(sent) {
		return delivered
	}
	wait, known := d.wait()
	late := known && d.s.now()-since >= wait
	if d.answers.Load() && !late && !d.peerClosed.Load() {
		return unproven // the echo comes soon
	}
	acknowledged := false
	asked := d.s.out.pause(func() { acknowledged = d.isAcknowledged() })
	switch {
	case acknowledged:
		return delivered
	case late && asked && !d.answers.Load():
		return unsure
	}
	return unproven
}

// isAcknowledged reports whether the peer's host has acknowledged everything that was written to a KCP transport. No
// method of it tells so. But Write waits while as many packets as the send window has are not acknowledged, so a Write
// with a window of one packet succeeds only then. Nobody else writes meanwhile.
func (d *delivery) isAcknowledged() bool {
	nop := wire.Header{Version: d.s.version(), Command: wire.NOP}.Append(nil)
	d.kcp.SetWindowSize(1, 0)
	_ = d.kcp.SetWriteDeadline(time.Now().Add(kcpTry)) // it never fails
	_, err := d.kcp.Write(nop)
	d.kcp.SetWindowSize(kcpWindow, 0)
	_ = d.kcp.SetWriteDeadline(time.Time{})
	return err == nil
}

// pause calls f while nobody writes, unless frames are queued or being written: then it does nothing and returns
// false. f may wait for a short time, and must not use the writer.
func (w *writer) pause(f func()) bool {
	if !w.takeIdle() {
		return false
	}
	f()
	w.mu.Lock()
	w.free()
	w.mu.Unlock()
	w.start(w.claimQueued(stream.SendSoon)) // what was queued meanwhile
	return true
}

// takeIdle takes the role for pause.
func (w *writer) takeIdle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.role != roleFree || w.err != nil || !w.sched.Empty() {
		return false
	}
	w.role = roleHeld
	return true
}
