package testutil

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// Transport is a kind of connection for sessions.
type Transport struct {
	Name      string
	Deadlines bool // both ends are net.Conns
	Buffered  bool // a small Write returns before the peer reads
	Bubble    bool // works in a testing/synctest bubble
	// Pair returns a connected pair. Both ends are closed when the test ends.
	Pair func(t testing.TB) (client, server io.ReadWriteCloser)
}

// Transports returns every kind, always in the same order.
func Transports() []Transport {
	return []Transport{
		{Name: "tcp", Deadlines: true, Buffered: true, Pair: asReadWriteClosers(TCPPair)},
		{Name: "unix", Deadlines: true, Buffered: true, Pair: asReadWriteClosers(UnixPair)},
		{Name: "pipe", Deadlines: true, Bubble: true, Pair: asReadWriteClosers(PipePair)},
		{Name: "sim", Deadlines: true, Buffered: true, Bubble: true, Pair: func(t testing.TB) (client, server io.ReadWriteCloser) {
			return SimPair(t, simnet.Link{})
		}},
		{Name: "bare", Buffered: true, Bubble: true, Pair: BarePair},
	}
}

func asReadWriteClosers(pair func(testing.TB) (net.Conn, net.Conn)) func(testing.TB) (client, server io.ReadWriteCloser) {
	return func(t testing.TB) (client, server io.ReadWriteCloser) {
		t.Helper()
		return pair(t)
	}
}

// TCPPair returns the two ends of a TCP connection over the loopback interface.
func TCPPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	return dialedPair(t, "tcp", "127.0.0.1:0")
}

// UnixPair returns the two ends of a connection over a Unix socket. It skips the test on systems that have none.
func UnixPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	// The path of t.TempDir may be too long for a socket.
	dir, err := os.MkdirTemp("", "smux")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	return dialedPair(t, "unix", filepath.Join(dir, "socket"))
}

func dialedPair(t testing.TB, network, address string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && network == "unix" {
		t.Skipf("no Unix sockets: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, client)
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, server)
	return client, server
}

// PipePair returns a net.Pipe: each Write waits for the Reads that take it.
func PipePair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = net.Pipe()
	closeAtEnd(t, client, server)
	return client, server
}

// SimPair returns a simulated connection with the same link in both directions.
func SimPair(t testing.TB, both simnet.Link) (client, server *simnet.Conn) {
	t.Helper()
	client, server = simnet.Pair(both)
	closeAtEnd(t, client, server)
	return client, server
}

// BarePair returns a connection in memory whose ends have Read, Write and Close only: no deadlines, no addresses.
// It has buffers like a socket.
func BarePair(t testing.TB) (client, server io.ReadWriteCloser) {
	t.Helper()
	a, b := SimPair(t, simnet.Link{})
	return simnet.Bare(a), simnet.Bare(b)
}

// closeAtEnd closes conns when the test ends. The test may have closed them before.
func closeAtEnd(t testing.TB, conns ...io.Closer) {
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
}
