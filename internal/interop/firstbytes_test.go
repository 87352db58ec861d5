//go:build !self

package interop

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Up to 1.5.57, the original sends SYN before it registers the stream. What comes before its OpenStream has returned is
// lost: the first bytes of an application whose acceptor speaks first.
func TestFirstBytesForTheirOpenerMayBeLost(t *testing.T) {
	eachPeer(t, func(t *testing.T, p *peer) {
		for version := 1; version <= 2; version++ {
			for _, ourClient := range []bool{true, false} {
				firstBytes(t, p, version, ourClient)
			}
		}
	})
}

func firstBytes(t *testing.T, p *peer, version int, ourClient bool) {
	record(t, p, version, ourClient)
	ourConn, theirConn := tcpPair(t, false)
	if !ourClient {
		ourConn, theirConn = theirConn, ourConn
	}
	ours, err := newOurs(ourConn, ourClient, ourConfig{Version: version, NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	greeting := []byte("who are you?")
	slow := &slowWriter{Conn: theirConn, until: headerSize + len(greeting), gone: make(chan struct{})}
	if ourClient {
		slow.until += headerSize // our first NOP
	}
	theirs, err := p.start(slow, !ourClient, version, func(c *theirSettings) { c.KeepAliveDisabled = true })
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	var greeted sync.WaitGroup
	greeted.Go(func() {
		st, err := ours.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		mustWrite(t, "ours", st, greeting)
	})
	st, err := theirs.Open()
	if err != nil {
		t.Fatal(err)
	}
	greeted.Wait()
	if err := st.SetReadDeadline(soon()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(greeting))
	_, err = io.ReadFull(st, got)
	if lost := timedOut(err); lost != p.registersLate || !lost && string(got) != string(greeting) {
		t.Errorf("theirs: version %d: read %q, %v", version, got, err)
	}
	if p.registersLate {
		show(t, firstBytesLost, p, version, ourClient)
	}
}

// headerSize is the size of a frame's header.
const headerSize = 8

// A slowWriter is a connection whose Write returns when so many bytes have been read from it and worked on.
type slowWriter struct {
	net.Conn
	until, read int // of Read
	once        sync.Once
	gone        chan struct{}
}

func (c *slowWriter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	<-c.gone
	return n, err
}

func (c *slowWriter) Read(p []byte) (int, error) {
	if c.read >= c.until { // the reader has come back for more
		c.once.Do(func() { close(c.gone) })
	}
	n, err := c.Conn.Read(p)
	c.read += n
	if err != nil {
		c.once.Do(func() { close(c.gone) })
	}
	return n, err
}
