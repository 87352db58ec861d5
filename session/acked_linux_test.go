//go:build !386 && !portable

package session_test

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// wrapped is a conn that leads to the one below it by NetConn, and embedded one that leads to it by SyscallConn.
type (
	wrapped  struct{ net.Conn }
	embedded struct{ *net.TCPConn }
	opaque   struct{ net.Conn }
	loop     struct{ net.Conn }
)

func (w wrapped) NetConn() net.Conn { return w.Conn }
func (l loop) NetConn() net.Conn    { return l }

// The kernel is asked about a TCP or Unix socket, also below wrappers, and nobody is asked about anything else.
func TestKernelIsAskedAboutTheSocketBelow(t *testing.T) {
	tcp := func(t *testing.T) net.Conn { c, _ := testutil.TCPPair(t); return c }
	for _, tt := range []struct {
		name string
		conn func(t *testing.T) io.ReadWriteCloser
		cfg  session.Config
		want bool
	}{
		{name: "TCP", conn: func(t *testing.T) io.ReadWriteCloser { return tcp(t) }, want: true},
		{name: "a Unix socket", conn: func(t *testing.T) io.ReadWriteCloser { c, _ := testutil.UnixPair(t); return c }, want: true},
		{name: "TCP, Portable", conn: func(t *testing.T) io.ReadWriteCloser { return tcp(t) }, cfg: session.Config{Portable: true}},
		{name: "TLS over TCP", conn: func(t *testing.T) io.ReadWriteCloser {
			return tls.Client(tcp(t), &tls.Config{InsecureSkipVerify: true})
		}, want: true},
		{name: "TLS over TCP, Portable", conn: func(t *testing.T) io.ReadWriteCloser {
			return tls.Client(tcp(t), &tls.Config{InsecureSkipVerify: true})
		}, cfg: session.Config{Portable: true}, want: true},
		{name: "TLS over a wrapper with NetConn", conn: func(t *testing.T) io.ReadWriteCloser {
			return tls.Client(wrapped{tcp(t)}, &tls.Config{InsecureSkipVerify: true})
		}, want: true},
		{name: "a wrapper with SyscallConn", conn: func(t *testing.T) io.ReadWriteCloser { return embedded{tcp(t).(*net.TCPConn)} }, want: true},
		{name: "a wrapper with neither", conn: func(t *testing.T) io.ReadWriteCloser { return opaque{tcp(t)} }},
		{name: "a wrapper around itself", conn: func(t *testing.T) io.ReadWriteCloser { return loop{tcp(t)} }},
		{name: "a pipe", conn: func(t *testing.T) io.ReadWriteCloser { c, _ := testutil.PipePair(t); return c }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testutil.LeakCheck(t)
			tt.cfg.KeepAlive = off
			s := server(t, tt.conn(t), &tt.cfg)
			if _, known := session.SinceAcked(s); known != tt.want {
				t.Errorf("known = %v, want %v", known, tt.want)
			}
			_ = s.CloseNow()
		})
	}
}

// The figures of TCP_INFO: an ACK tells when the host was there. While its window is closed, it counts as there unless a
// window probe is unanswered.
func TestKernelFiguresOfAcknowledgements(t *testing.T) {
	for _, tt := range []struct {
		name            string
		unacked         uint32
		probes, backoff uint8
		ago, want       time.Duration
	}{
		{"idle, all is acknowledged", 0, 0, 0, 7 * time.Second, 7 * time.Second},
		{"data is on its way", 3, 0, 0, time.Second, time.Second},
		{"data was sent again, and again", 3, 0, 5, 12 * time.Second, 12 * time.Second},
		{"a keep-alive probe of the kernel is unanswered", 0, 2, 0, 45 * time.Second, 45 * time.Second},
		{"the window is closed, the last probe was answered", 0, 0, 8, 100 * time.Second, 0},
		{"the window is closed, a probe is unanswered", 0, 1, 8, 51 * time.Second, 51 * time.Second},
	} {
		if got := session.SinceSocketAcked(tt.unacked, tt.probes, tt.backoff, tt.ago); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Over TCP, a policy learns that the kernel of a silent peer acknowledges the probes: LastAcked goes on and on, although
// nothing is ever received.
func TestProbesOverTCPAreAcknowledged(t *testing.T) {
	for _, over := range []string{"TCP", "a wrapper with NetConn"} {
		t.Run(over, func(t *testing.T) {
			testutil.LeakCheck(t)
			ours, theirs := testutil.TCPPair(t)
			conn := io.ReadWriteCloser(ours)
			if over != "TCP" {
				conn = wrapped{ours}
			}
			const want = 5
			enough := make(chan ka.Activity, 1)
			var last time.Duration
			n := 0
			s := client(t, conn, &session.Config{KeepAlive: policy(func(a ka.Activity) (ka.Action, time.Duration) {
				if a.LastAcked > last {
					last = a.LastAcked
					if n++; n == want {
						enough <- a
					}
				}
				return ka.Probe, ka.MinInterval
			})})
			a := <-enough
			if a.LastReceived != 0 || a.LastAcked > a.Now {
				t.Errorf("the policy was told %+v", a)
			}
			if err := s.Err(); err != nil {
				t.Error(err)
			}
			_ = theirs.Close()
			<-s.Done()
		})
	}
}

// A peer whose process does not read, so that its window is closed, counts as acknowledging.
func TestClosedWindowCountsAsAcknowledged(t *testing.T) {
	testutil.LeakCheck(t)
	ours, _ := testutil.TCPPair(t)
	if err := ours.(*net.TCPConn).SetWriteBuffer(narrowSize); err != nil {
		t.Fatal(err)
	}
	c := client(t, ours, &session.Config{Version: 1, KeepAlive: off, MaxSendBuffer: 1 << 10})
	go writeUntilEnd(open(t, c), 64<<10)
	for !session.WindowClosed(ours.(syscall.Conn)) {
		time.Sleep(time.Millisecond)
	}
	// A probe may be on its way just now. Then the time of the last ACK counts, which is the answer to the one before.
	for {
		ago, known := session.SinceAcked(c)
		if !known {
			t.Fatal("unknown")
		}
		if ago == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_ = c.CloseNow()
}
