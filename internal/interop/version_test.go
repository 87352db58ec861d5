//go:build !self

package interop

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// clientKind is one way to dial our version 0 server.
type clientKind struct {
	name  string
	start func(net.Conn) (muxSession, error)
}

// clientKinds returns those with a peer, and our own.
func clientKinds(p *peer) []clientKind {
	return []clientKind{
		{"theirs v1", func(c net.Conn) (muxSession, error) { return p.start(c, true, 1, nil) }},
		{"theirs v2", func(c net.Conn) (muxSession, error) { return p.start(c, true, 2, nil) }},
		{"ours by default", func(c net.Conn) (muxSession, error) {
			s, err := session.Client(c, nil)
			return ourSession{s}, err
		}},
		{"ours v2", func(c net.Conn) (muxSession, error) { return newOurs(c, true, ourConfig{Version: 2}) }},
	}
}

// One server with Version 0 serves clients of both versions at once.
func TestVersion0ServerServesClientsOfBothVersions(t *testing.T) {
	eachPeer(t, func(t *testing.T, p *peer) {
		recordServer(t, p)
		clientsOfAKind := 1
		if p == newest {
			clientsOfAKind = 3
		}
		serveAllClients(t, p, clientsOfAKind)
	})
}

// eachPeer runs test with every peer.
func eachPeer(t *testing.T, test func(t *testing.T, p *peer)) {
	t.Helper()
	checkGoroutines(t)
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// recordServer notes the outcome for our server, in both versions.
func recordServer(t *testing.T, p *peer) {
	record(t, p, 1, false)
	record(t, p, 2, false)
}

// serveAllClients serves clientsOfAKind clients of each kind at once, with one server.
func serveAllClients(t *testing.T, p *peer, clientsOfAKind int) {
	const (
		streams = 8 // opened by each side of each session
		largest = 1 << 20
	)
	kinds := clientKinds(p)
	seed := newSeed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	var wg sync.WaitGroup
	ended := make(chan struct{}) // closed when no conversation goes on
	var sessions sync.WaitGroup

	// The server has one listener and no setting for the version.
	wg.Go(func() {
		for range clientsOfAKind * len(kinds) {
			conn, err := l.Accept()
			if err != nil {
				t.Errorf("accept a connection: %v", err)
				return
			}
			watch(t, conn)
			s, err := session.Server(conn, nil)
			if err != nil {
				t.Errorf("server: %v", err)
				conn.Close()
				return
			}
			sessions.Go(func() {
				<-ended
				s.Close()
			})
			e := end{ourSession{s}, "the server", p, false}
			serve(t, e, seed, largest, streams, wg.Go)
			// It opens streams at once, before it knows the version.
			exchange(t, e, seed, largest, numbers(1000, streams), wg.Go)
		}
	})

	for _, kind := range kinds {
		for range clientsOfAKind {
			wg.Go(func() {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				watch(t, conn)
				s, err := kind.start(conn)
				if err != nil {
					t.Errorf("%s: %v", kind.name, err)
					conn.Close()
					return
				}
				sessions.Go(func() {
					<-ended
					s.Close()
				})
				_, ours := s.(ourSession)
				e := end{s, kind.name, p, !ours && !p.keepsUnread}
				serve(t, e, seed, largest, streams, wg.Go)
				exchange(t, e, seed, largest, numbers(0, streams), wg.Go)
			})
		}
	}
	wg.Wait()
	close(ended)
	sessions.Wait()
}

// A server with Version 0 that opens streams waits for the client's first frame. The original's first frame is its
// first keep-alive.
func TestVersion0ServerWaitsForTheVersion(t *testing.T) {
	eachPeer(t, serverWaitsForTheVersion)
}

func serverWaitsForTheVersion(t *testing.T, p *peer) {
	recordServer(t, p)
	for _, version := range []int{1, 2} {
		client, server := tcpPair(t, false)
		theirs, err := p.start(client, true, version, theirKeepAlive(interval, never))
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		s, err := session.Server(server, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		l := &link{ours: ourSession{s}, theirs: theirs, peer: p, version: version}
		ourStream, theirStream := connect(t, l.our(), l.their())
		mustClose(t, "ours", ourStream)
		mustClose(t, "theirs", theirStream)
	}
}

// A client of another version gets its connection closed.
func TestClientOfAnotherVersionIsClosed(t *testing.T) {
	eachPeer(t, clientOfAnotherVersionIsClosed)
}

func clientOfAnotherVersionIsClosed(t *testing.T, p *peer) {
	recordServer(t, p)
	for _, c := range []struct{ ours, theirs int }{{1, 2}, {2, 1}} {
		client, server := tcpPair(t, false)
		theirs, err := p.start(client, true, c.theirs, func(c *theirSettings) { c.KeepAliveDisabled = true })
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ours, err := newOurs(server, false, ourConfig{Version: c.ours})
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()

		theirs.Open() // its SYN is the first frame; the connection may be closed before it returns
		_, err = ours.Accept()
		if err == io.EOF || !errors.Is(err, wire.ErrVersion) {
			t.Errorf("version %d, accept from version %d: %v, want %v", c.ours, c.theirs, err, wire.ErrVersion)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if _, err := theirs.Accept(); err == nil {
				t.Error("their side accepted a stream that nobody opened")
			}
		}()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("their side did not notice within 10 s")
			theirs.Close()
			<-ended
		}
	}
}

// Our client says what is wrong with a server of the other version: at the first NOP, or, with a
// strict policy, at its time-out. Any other policy takes such a server over TCP for one that sends nothing when idle.
func TestOurClientSaysThatTheServerHasAnotherVersion(t *testing.T) {
	eachPeer(t, ourClientSaysThatTheServerHasAnotherVersion)
}

func ourClientSaysThatTheServerHasAnotherVersion(t *testing.T, p *peer) {
	silent := func(c *theirSettings) { c.KeepAliveDisabled = true }
	for _, c := range []struct {
		name    string
		version int // of our client
		theirs  theirConfig
		ours    time.Duration // the time-out of keep-alive
		want    string
	}{
		{"the server of version 1 sends NOPs", 2, theirKeepAlive(interval, never), never, "the frame has version 1, this session has version 2"},
		{"the server of version 1 is silent", 2, silent, 2 * interval, "no frame was ever received: does the peer speak version 2?"},
		{"the server of version 2 sends NOPs", 1, theirKeepAlive(interval, never), never, "the frame has version 2, this session has version 1"},
		{"the server of version 2 is silent", 1, silent, 2 * interval, "no frame was ever received: does the peer speak version 1?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			record(t, p, c.version, true)
			client, server := tcpPair(t, false)
			theirs, err := p.start(server, false, 3-c.version, c.theirs)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			ours, err := newOurs(client, true, ourConfig{Version: c.version, Interval: interval, Timeout: c.ours, Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			st, err := ours.Open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err = st.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Read: %v, want it to say %q", err, c.want)
			}
		})
	}
}
