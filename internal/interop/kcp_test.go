package interop

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// lossy is a UDP socket that loses a part of what is sent.
type lossy struct {
	net.PacketConn
	loss float64
}

func (l lossy) WriteTo(p []byte, to net.Addr) (int, error) {
	if rand.Float64() < l.loss {
		return len(p), nil
	}
	return l.PacketConn.WriteTo(p, to)
}

// kcpPair returns the two ends of a KCP connection over the loopback interface, which loses a part of all packets. The
// server's end exists once the client has sent something: accept waits for it. KCP cannot tell the other end that one end
// was closed, so both are closed when the test ends. tune, if there is one, is called for each end.
func kcpPair(t *testing.T, loss float64, tune ...func(*kcp.UDPSession)) (client net.Conn, accept func() net.Conn) {
	t.Helper()
	var sockets [2]net.PacketConn
	for i := range sockets {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socket.Close() })
		sockets[i] = lossy{socket, loss}
	}
	l, err := kcp.ServeConn(nil, 0, 0, sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dialed, err := kcp.NewConn2(sockets[0].LocalAddr(), nil, 0, 0, sockets[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, tune := range tune {
		tune(dialed)
	}
	t.Cleanup(func() { dialed.Close() })
	return dialed, func() net.Conn {
		if err := l.SetDeadline(time.Now().Add(hung)); err != nil {
			t.Error(err)
		}
		server, err := l.AcceptKCP()
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, tune := range tune {
			tune(server)
		}
		t.Cleanup(func() { server.Close() })
		return server
	}
}

// slowKCP leaves KCP as it is, and fastKCP sets what its users set, so that it sends lost packets again soon.
func slowKCP(*kcp.UDPSession)   {}
func fastKCP(c *kcp.UDPSession) { c.SetNoDelay(1, 10, 2, 1) }

// Write, Stream.Close and Session.Close at once deliver everything over KCP, to a session of either implementation, in both
// roles, with and without loss. Close takes far less than CloseTimeout and returns nil, unless the original closes its
// session as soon as it has read everything: KCP then drops its acknowledgements, and nobody can tell us.
func TestCloseOverKCPDelivers(t *testing.T) {
	skipStandIn(t, "loses what KCP has not sent")
	const sessions = 30
	var cases []kcpCase
	for name, peer := range map[string]startFunc{"ours": startOurs, "theirs": newest.start} {
		for _, atOnce := range []bool{false, true} {
			for _, loss := range []float64{0, 0.03} {
				for _, client := range []bool{true, false} {
					cases = append(cases, kcpCase{name, peer, atOnce, loss, client})
				}
			}
		}
	}
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			for _, sent := range []struct {
				size int
				tune func(*kcp.UDPSession)
			}{{100, slowKCP}, {100_000, fastKCP}} {
				var all sync.WaitGroup
				for range sessions {
					conn, accept := kcpPair(t, c.loss, sent.tune)
					all.Go(func() { c.run(t, conn, accept, payload{seed: 1, size: sent.size}) })
				}
				all.Wait()
			}
		})
	}
}

// startOurs is newOurs as a startFunc.
func startOurs(conn net.Conn, client bool, version int, _ theirConfig) (muxSession, error) {
	return newOurs(conn, client, ourConfig{Version: version, CloseTimeout: hung, NoKeepAlive: true})
}

type kcpCase struct {
	peerName string
	peer     startFunc
	atOnce   bool // the peer closes its session when it has read everything, and not when we have closed ours
	loss     float64
	client   bool // our side, which sends and closes
}

func (c kcpCase) String() string {
	return fmt.Sprintf("to %s, closed at once %v, %v lost, our client %v", c.peerName, c.atOnce, c.loss, c.client)
}

// run sends p from our side, and closes everything. The client opens the stream.
func (c kcpCase) run(t *testing.T, conn net.Conn, accept func() net.Conn, p payload) {
	const version = 2
	blind := c.atOnce && c.peerName == "theirs"
	start := [2]startFunc{startOurs, c.peer}
	if blind {
		start[0] = func(conn net.Conn, client bool, version int, _ theirConfig) (muxSession, error) {
			return newOurs(conn, client, ourConfig{Version: version}) // Close may take CloseTimeout
		}
	}
	ours, theirs := 0, 1
	if !c.client {
		start[0], start[1] = start[1], start[0]
		ours, theirs = 1, 0
	}
	var sessions [2]muxSession
	var streams [2]muxStream
	var err error
	if sessions[0], err = start[0](conn, true, version, nil); err != nil {
		t.Error(err)
		return
	}
	if streams[0], err = sessions[0].Open(); err != nil {
		t.Error(err)
		return
	}
	mustWrite(t, "the client", streams[0], []byte{1})
	if sessions[1], err = start[1](accept(), false, version, nil); err != nil {
		t.Error(err)
		return
	}
	if streams[1], err = sessions[1].Accept(); err != nil {
		t.Error(err)
		return
	}
	if _, err := io.ReadFull(streams[1], make([]byte, 1)); err != nil {
		t.Error(err)
	}

	var reading sync.WaitGroup
	defer reading.Wait()
	closed := make(chan struct{})
	defer close(closed)
	reading.Go(func() {
		wantWhole(t, streams[theirs], p)
		if !c.atOnce {
			<-closed
		}
		sessions[theirs].Close()
	})
	mustWrite(t, "ours", streams[ours], p.bytes())
	mustClose(t, "ours", streams[ours])
	begin := time.Now()
	err = sessions[ours].Close()
	if err != nil && !(blind && errors.Is(err, errNotFlushed)) {
		t.Errorf("Close: %v, after %v", err, time.Since(begin))
	}
	if d := time.Since(begin); d > hung/2 {
		t.Errorf("Close took %v", d)
	}
}

// wantWhole reads p and io.EOF, and closes the stream. That may fail: the other session may have ended.
func wantWhole(t *testing.T, st muxStream, p payload) {
	if err := st.SetReadDeadline(time.Now().Add(hung)); err != nil {
		t.Error(err)
	}
	if err := p.readFrom(st); err != nil {
		t.Error(err)
	}
	if err := wantEOF(st); err != nil {
		t.Error(err)
	}
	_ = st.Close()
}
