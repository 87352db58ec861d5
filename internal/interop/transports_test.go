package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// Sessions over every kind of transport.

// A transport is a row of the table in docs/transports.md.
type transport struct {
	name string
	pair pairFunc

	ours    ourConfig   // what this side must set
	theirs  theirConfig // what the original must set
	note    string      // what else its user has to know
	network [2]string   // of the addresses that sessions and streams report, at the client and the server
	// halfCloses says that Session.Close half-closes the transport, and waits until the peer has closed it. The original
	// does so when its application closes the session.
	halfCloses bool
	// closesEarly says that Session.Close closes the transport before the peer's application has read everything. In version
	// 2, Read of the original then fails when it cannot send a window update, and data may be unread.
	closesEarly bool
}

var transports = []transport{
	{name: "TCP", pair: tcpEnds, network: [2]string{"tcp", "tcp"}, closesEarly: true},
	{
		name: "TCP, with Portable", pair: tcpEnds, network: [2]string{"tcp", "tcp"}, ours: ourConfig{Portable: true}, halfCloses: true,
		note: "`Session.Close` waits until the peer has closed the connection",
	},
	{name: "Unix socket", pair: both(testutil.UnixPair), network: [2]string{"unix", "unix"}, closesEarly: true},
	{name: "TLS", pair: overTLS(tcpEnds), network: [2]string{"tcp", "tcp"}, closesEarly: true},
	{
		name: "WebSocket", pair: webSocketEnds(0), network: webSocketNetworks,
		note: "of coder/websocket, through its `NetConn`, with `MessageBinary`",
	},
	{
		name: "WebSocket with a read limit", pair: webSocketEnds(webSocketLimit), network: webSocketNetworks,
		ours: ourConfig{MaxWriteSize: webSocketLimit}, theirs: maxFrameSize(webSocketLimit - header),
		note: "of the peer, or of a proxy on the way. A longer message ends the session (`TestTooLongMessageEndsTheSession`)",
	},
	{
		name: "QUIC stream", pair: quicEnds, network: [2]string{"udp", "udp"},
		note: "of quic-go, with the connection's addresses, and a `Close` that also calls `CancelRead`. The connection must stay open until both sessions have ended",
	},
	{name: "KCP", pair: kcpEnds(0), network: [2]string{"udp", "udp"}},
	{name: "KCP, 3 % lost", pair: kcpEnds(0.03), network: [2]string{"udp", "udp"}},
	{name: "TLS over KCP", pair: overTLS(kcpEnds(0)), network: [2]string{"udp", "udp"}},
	{name: "net.Pipe", pair: both(testutil.PipePair), network: [2]string{"pipe", "pipe"}, closesEarly: true},
	{
		name: "two os.Pipe", pair: both(osPipes), network: [2]string{"smux", "smux"},
		note: "or anything with Read, Write and Close alone, such as a serial port. Close must end a Read that waits. `LocalAddr` and `RemoteAddr` of `Config` give addresses (`TestConfigAddressesReplaceTheTransports`)",
	},
	{
		name: "two io.Pipe", pair: both(ioPipes), network: [2]string{"smux", "smux"},
		note: "the same",
	},
	{
		name: "messages of 1,000 bytes", pair: both(messageEnds), network: [2]string{"simnet", "simnet"},
		ours: ourConfig{MaxWriteSize: messageLimit}, theirs: maxFrameSize(messageLimit - header),
		note: "a simulation: a longer Write fails, and the session ends (`TestTooLongMessageEndsTheSession`)",
	},
	{
		name: "a transport whose Close throws away", pair: both(forgetfulEnds), network: [2]string{"udp", "udp"},
		note: "a simulation of a protocol over datagrams, which does not tell the peer of the end either",
	},
}

// webSocketNetworks: the client of coder/websocket does not know its connection.
var webSocketNetworks = [2]string{"websocket", "tcp"}

const (
	header         = 8        // bytes of a frame
	webSocketLimit = 32 << 10 // the default of coder/websocket, which its NetConn removes
)

// set returns, in words, what this side and the original must set.
func (tr *transport) set() (ours, theirs string) {
	ours, theirs = "–", "–"
	if n := tr.ours.MaxWriteSize; n > 0 {
		ours = fmt.Sprintf("`MaxWriteSize: %d`", n)
	}
	if tr.ours.Portable {
		ours = "`Portable: true`"
	}
	if tr.theirs != nil {
		var s theirSettings
		tr.theirs(&s)
		theirs = fmt.Sprintf("`MaxFrameSize: %d`", s.MaxFrameSize)
	}
	return ours, theirs
}

// The table of transports in docs/transports.md is that of the tests.
func TestTransportTableIsInTheDocs(t *testing.T) {
	var want strings.Builder
	want.WriteString("| transport | Config | Config of xtaci/smux | network of the addresses | notes |\n|---|---|---|---|---|\n")
	for _, tr := range transports {
		ours, theirs := tr.set()
		network, note := tr.network[0], tr.note
		if tr.network[1] != network {
			network += "; at a server " + tr.network[1]
		}
		if note == "" {
			note = "–"
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s | %s |\n", tr.name, ours, theirs, network, note)
	}
	const file = "../../docs/transports.md"
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), want.String()) {
		t.Errorf("%s does not have this table:\n%s", file, want.String())
	}
}

// maxFrameSize lets the original, which writes each frame in one Write, keep to a limit.
func maxFrameSize(n int) theirConfig { return func(c *theirSettings) { c.MaxFrameSize = n } }

// A peering is who is at the other side, in which role and version.
type peering struct {
	theirs    bool // the original
	ourClient bool
	version   int
}

func (p peering) String() string {
	name := "smuxkit"
	if p.theirs {
		name = newest.name
	}
	return fmt.Sprintf("to %s, version %d, our client %v", name, p.version, p.ourClient)
}

// peerings are all that differ. (Two smuxkits that change roles differ in nothing but who has sent the first byte.)
var peerings = []peering{
	{false, true, 1}, {false, true, 2}, {false, false, 2},
	{true, true, 1}, {true, true, 2}, {true, false, 1}, {true, false, 2},
}

// A connection is two sessions over a transport.
type connection struct {
	transport
	peering
	ours, theirs muxSession
}

// fewPeerings are for tests that wait: both peers, roles and versions, but not each of one with each of the others.
var fewPeerings = []peering{{false, true, 2}, {false, false, 1}, {true, true, 1}, {true, false, 2}}

// eachTransport runs test over each transport, with these peerings. connect makes the sessions, with what the transport needs.
func eachTransport(t *testing.T, peerings []peering, test func(t *testing.T, connect func(options) *connection)) {
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, current, goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.postProcessWorker")) // of the whole program
	})
	for _, tr := range transports {
		for _, p := range peerings {
			t.Run(tr.name+"/"+p.String(), func(t *testing.T) {
				t.Parallel()
				test(t, func(o options) *connection { return connectOver(t, tr, p, o) })
			})
		}
	}
}

// options are what a test sets in addition to what the transport needs.
type options struct {
	alive time.Duration                                    // both sides' keep-alive time-out; 0 is off
	wrap  func(peer io.ReadWriteCloser) io.ReadWriteCloser // wraps the end of the peer; may be nil
}

// connectOver starts a client and a server over the transport.
func connectOver(t *testing.T, tr transport, p peering, o options) *connection {
	t.Helper()
	client, accept := tr.pair(t)
	c := &connection{transport: tr, peering: p}
	opener := c.start(t, client, true, o)
	var first muxStream
	var writing sync.WaitGroup
	writing.Go(func() { // so that the server's end exists; the original's Open waits for a handshake of TLS
		var err error
		if first, err = opener.Open(); err != nil {
			t.Error(err)
			return
		}
		mustWrite(t, "the client", first, []byte{1})
	})
	acceptor := c.start(t, accept(), false, o)
	st, err := acceptor.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if writing.Wait(); t.Failed() {
		t.FailNow()
	}
	mustClose(t, "the client", first)
	readAll(t, "the server", st, []byte{1})
	mustClose(t, "the server", st)
	if c.ours, c.theirs = opener, acceptor; !p.ourClient {
		c.ours, c.theirs = acceptor, opener
	}
	return c
}

// start starts the session of one end, and ends it when the test ends.
func (c *connection) start(t *testing.T, conn io.ReadWriteCloser, client bool, o options) muxSession {
	t.Helper()
	mine := client == c.ourClient
	if !mine && o.wrap != nil {
		conn = o.wrap(conn)
	}
	var s muxSession
	var err error
	if c.peering.theirs && !mine {
		s, err = newest.start(asNetConn(conn), client, c.version, func(s *theirSettings) {
			if c.transport.theirs != nil {
				c.transport.theirs(s)
			}
			if s.KeepAliveDisabled = o.alive == 0; o.alive > 0 {
				s.KeepAliveInterval, s.KeepAliveTimeout = interval, o.alive
			}
		})
	} else {
		cfg := c.transport.ours
		cfg.Version, cfg.CloseTimeout = c.version, hung
		cfg.NoKeepAlive, cfg.Interval, cfg.Timeout = o.alive == 0, interval, o.alive
		s, err = newOurs(conn, client, cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close() // so that Close waits for nothing
		_ = s.Close()
	})
	return s
}

// asNetConn makes a net.Conn of a transport, which a startFunc takes. The original needs neither deadlines nor addresses.
func asNetConn(conn io.ReadWriteCloser) net.Conn {
	if c, ok := conn.(net.Conn); ok {
		return c
	}
	return plainConn{conn}
}

type plainConn struct{ io.ReadWriteCloser }

func (plainConn) LocalAddr() net.Addr              { return nil }
func (plainConn) RemoteAddr() net.Addr             { return nil }
func (plainConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (plainConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (plainConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
