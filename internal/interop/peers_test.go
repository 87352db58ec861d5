package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	xtaci1524 "peer.test/xtaci1524"
)

// muxSession has the methods of a session that the tests need, of either implementation.
type muxSession interface {
	Open() (muxStream, error)
	Accept() (muxStream, error)
	Close() error
	NumStreams() int
}

// muxStream has the methods of a stream that the tests need, of either implementation.
type muxStream interface {
	net.Conn
	CloseWrite() error
}

// ourConfig holds our settings that the tests vary. A zero field is the default. Version 0 of a server is the
// client's version.
type ourConfig struct {
	Version          int
	MaxFrameSize     int
	MaxReceiveBuffer int
	MaxStreamWindow  int
	MaxWriteSize     int
	Portable         bool

	CloseTimeout      time.Duration
	LingerTimeout     time.Duration
	Interval, Timeout time.Duration // of keep-alive
	Strict            bool          // give up each silent peer
	NoKeepAlive       bool
	NoHalfClose       bool
}

// setting is a pair of configurations.
type setting struct {
	name         string
	ours         ourConfig
	theirs       theirConfig
	largest      int  // size of the largest payload of TestEveryByteArrivesBothWaysAtOnce; 0 means 512 KiB
	smallBuffers bool // small kernel buffers, so that the transport is soon full
}

// defaults are those of both implementations.
var defaults = setting{name: "defaults", largest: 4 << 20}

// link is a session of ours and one of theirs over one TCP connection.
type link struct {
	ours, theirs muxSession
	peer         *peer
	version      int
	ourClient    bool
	setting      setting
}

// end is one side of a link, with the differences that a test must know.
type end struct {
	muxSession
	name string

	peer *peer // at this or the other side
	// losesUnread is set if unread data is discarded when both ends have sent FIN. Such an end must read
	// everything before it half-closes.
	losesUnread bool
}

func (l *link) our() end   { return end{l.ours, "ours", l.peer, standIn && !l.peer.keepsUnread} }
func (l *link) their() end { return end{l.theirs, "theirs", l.peer, !l.peer.keepsUnread} }

// openers runs test twice on each link: once we open the streams, once they do.
func openers(t *testing.T, l *link, test func(t *testing.T, opener, acceptor end)) {
	t.Run("opened by us", func(t *testing.T) { test(t, l.our(), l.their()) })
	t.Run("opened by them", func(t *testing.T) { test(t, l.their(), l.our()) })
}

// matrix runs test with every peer, in both roles and both versions, with each setting, in parallel, each on a link of
// its own. It reports goroutines that are left when all have ended.
func matrix(t *testing.T, settings []setting, test func(t *testing.T, l *link)) {
	t.Helper()
	matrixOf(t, somePeers(nil), settings, test)
}

// matrixOf is matrix with these peers.
func matrixOf(t *testing.T, peers []*peer, settings []setting, test func(t *testing.T, l *link)) {
	t.Helper()
	checkGoroutines(t)
	for _, p := range peers {
		for _, version := range []int{1, 2} {
			for _, client := range []string{"our client", "their client"} {
				for _, s := range settings {
					t.Run(fmt.Sprintf("%s/v%d/%s/%s", p.name, version, client, s.name), func(t *testing.T) {
						t.Parallel()
						test(t, newLink(t, p, version, client == "our client", s))
					})
				}
			}
		}
	}
}

// checkGoroutines fails the test if goroutines are left when it has ended with its parallel subtests. The
// original, too, ends all its goroutines when its session is closed.
func checkGoroutines(t *testing.T) {
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
}

// newLink connects two sessions over TCP, and closes them when the test ends.
func newLink(t *testing.T, p *peer, version int, ourClient bool, s setting) *link {
	t.Helper()
	client, server := tcpPair(t, s.smallBuffers)
	return newLinkOver(t, client, server, p, version, ourClient, s)
}

// newLinkOver is newLink over a connection with these ends.
func newLinkOver(t *testing.T, client, server net.Conn, p *peer, version int, ourClient bool, s setting) *link {
	t.Helper()
	record(t, p, version, ourClient)
	ourConn, theirConn := client, server
	if !ourClient {
		ourConn, theirConn = server, client
	}

	oc := s.ours
	oc.Version = version
	ours, err := newOurs(ourConn, ourClient, oc)
	if err != nil {
		t.Fatalf("our session: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	theirs, err := p.start(theirConn, !ourClient, version, s.theirs)
	if err != nil {
		t.Fatalf("their session: %v", err)
	}
	t.Cleanup(func() { theirs.Close() })
	return &link{ours, theirs, p, version, ourClient, s}
}

// kernelBuffer is small, but several segments of loopback TCP. With less, TCP waits for timers.
const kernelBuffer = 256 << 10

// tcpPair returns the two ends of a loopback connection. It closes them when the test ends, or hangs.
func tcpPair(t *testing.T, smallBuffers bool) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		client.Close()
		t.Fatal(err)
	}
	if smallBuffers {
		for _, c := range []net.Conn{client, server} {
			if err := c.(*net.TCPConn).SetReadBuffer(kernelBuffer); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).SetWriteBuffer(kernelBuffer); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	watch(t, client, server)
	return client, server
}

// hung is how long a link may exist: many times what the slowest test needs, also on a machine with much else to do.
const hung = 3 * time.Minute

// watch closes the connections of a test that hangs, so that it ends, and logs its stacks. (Only the first stack
// dump of a run is of interest.)
func watch(t *testing.T, conns ...net.Conn) {
	limit := hung
	if *allFrames {
		limit = 10 * hung
	}
	timer := time.AfterFunc(limit, func() {
		dumpOnce.Do(func() {
			var b bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&b, 1)
			t.Logf("goroutines:\n%s", b.Bytes())
		})
		t.Errorf("the test hung for %v", limit)
		for _, c := range conns {
			c.Close()
		}
	})
	t.Cleanup(func() { timer.Stop() })
}

var dumpOnce sync.Once

// connect opens a stream of opener and returns our end and their end when the first bytes have been sent and read.
// The first bytes must come from the opener: the original sends SYN before it registers the stream, and loses the
// answer of a fast peer.
func connect(t *testing.T, opener, acceptor end) (ours, theirs muxStream) {
	t.Helper()
	hello := make([]byte, 8)
	for i := range hello {
		hello[i] = byte(rand.Uint32())
	}
	opened, err := opener.Open()
	if err != nil {
		t.Fatalf("open by %s: %v", opener.name, err)
	}
	if _, err := opened.Write(hello); err != nil {
		t.Fatalf("write by %s: %v", opener.name, err)
	}
	accepted, err := acceptor.Accept()
	if err != nil {
		t.Fatalf("accept by %s: %v", acceptor.name, err)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(accepted, got); err != nil {
		t.Fatalf("read by %s: %v", acceptor.name, err)
	}
	if !bytes.Equal(got, hello) {
		t.Fatalf("%s read %x, want %x", acceptor.name, got, hello)
	}
	if opener.name == "ours" {
		return opened, accepted
	}
	return accepted, opened
}

// echo checks that a session still works, with a small stream in each direction.
func echo(t *testing.T, l *link) {
	t.Helper()
	for _, ends := range [][2]end{{l.our(), l.their()}, {l.their(), l.our()}} {
		ours, theirs := connect(t, ends[0], ends[1])
		mustWrite(t, "ours", ours, []byte("ping"))
		mustWrite(t, "theirs", theirs, []byte("pong"))
		got := make([]byte, 4)
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "pong" {
			t.Fatalf("ours read %q, %v", got, err)
		}
		if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "ping" {
			t.Fatalf("theirs read %q, %v", got, err)
		}
		mustClose(t, "ours", ours)
		mustClose(t, "theirs", theirs)
	}
}

// wantNoStreams waits until neither side has a stream.
func wantNoStreams(t *testing.T, l *link) {
	t.Helper()
	for _, e := range []end{l.our(), l.their()} {
		waitStreams(t, e.name, e, 0)
	}
}

// waitStreams waits until a session has this number of streams.
func waitStreams(t *testing.T, who string, s muxSession, want int) {
	t.Helper()
	for start := time.Now(); s.NumStreams() != want; time.Sleep(time.Millisecond) {
		if time.Since(start) > hung {
			t.Errorf("%s has %d streams, want %d", who, s.NumStreams(), want)
			return
		}
	}
}

// skipStandIn skips a test that the original would fail in our place.
func skipStandIn(t *testing.T, why string) {
	t.Helper()
	if standIn {
		t.Skip("the original " + why)
	}
}

// timedOut reports whether err is a time-out by the definition of package net. xtaci/smux 1.5.24 does not follow it.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || errors.Is(err, xtaci1524.ErrTimeout)
}

// readAll reads to the end of a stream and compares.
func readAll(t *testing.T, who string, s muxStream, want []byte) {
	t.Helper()
	got, err := io.ReadAll(s)
	if err != nil {
		t.Errorf("%s: read: %v", who, err)
	}
	if i := mismatch(got[:min(len(got), len(want))], want[:min(len(got), len(want))]); i >= 0 || len(got) != len(want) {
		t.Errorf("%s read %d bytes, want %d; first difference at %d", who, len(got), len(want), i)
	}
}

// mustWrite writes all of b. It does not write an empty b, for which neither side sends anything.
func mustWrite(t *testing.T, who string, s muxStream, b []byte) {
	t.Helper()
	if n, err := s.Write(b); n != len(b) || err != nil {
		t.Errorf("%s: write of %d bytes = %d, %v", who, len(b), n, err)
	}
}

func mustCloseWrite(t *testing.T, who string, s muxStream) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Errorf("%s: half-close: %v", who, err)
	}
}

func mustClose(t *testing.T, who string, s muxStream) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", who, err)
	}
}
