package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Sessions over transports that are no sockets.

// A transport connects two ends. The server's end may exist only when the client has sent something: accept waits for it.
type transport struct {
	name string
	pair func(t *testing.T) (client net.Conn, accept func() net.Conn)
}

var transports = []transport{
	{"TLS", func(t *testing.T) (net.Conn, func() net.Conn) {
		client, server := tcpPair(t, false)
		return overTLS(t, client, func() net.Conn { return server })
	}},
	{"WebSocket", webSocketPair},
	{"KCP", func(t *testing.T) (net.Conn, func() net.Conn) { return kcpPair(t, 0, fastKCP) }},
	{"KCP, 3 % lost", func(t *testing.T) (net.Conn, func() net.Conn) { return kcpPair(t, 0.03, fastKCP) }},
	{"TLS over KCP", func(t *testing.T) (net.Conn, func() net.Conn) {
		client, accept := kcpPair(t, 0, fastKCP)
		return overTLS(t, client, accept)
	}},
}

// overTLS adds TLS to a pair.
func overTLS(t *testing.T, client net.Conn, accept func() net.Conn) (net.Conn, func() net.Conn) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"peer.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "peer.test"}), func() net.Conn {
		return tls.Server(accept(), server)
	}
}

// webSocketPair returns the two ends of a WebSocket connection, as net.Conns.
func webSocketPair(t *testing.T) (net.Conn, func() net.Conn) {
	accepted := make(chan *websocket.Conn, 1)
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- c
		<-over
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	netConn := func(c *websocket.Conn) net.Conn {
		return websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	}
	return netConn(c), func() net.Conn {
		c := <-accepted
		t.Cleanup(func() { c.CloseNow() })
		return netConn(c)
	}
}

// eachTransport runs test over each transport, toward sessions of both implementations, in both roles. ends returns our
// session and theirs.
func eachTransport(t *testing.T, test func(t *testing.T, newEnds func() (ours, theirs muxSession))) {
	for _, tr := range transports {
		for name, peer := range map[string]startFunc{"ours": startOurs, "theirs": newest.start} {
			for _, ourClient := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/to %s/our client %v", tr.name, name, ourClient), func(t *testing.T) {
					t.Parallel()
					test(t, func() (ours, theirs muxSession) {
						start := [2]startFunc{startOurs, peer}
						if !ourClient {
							start[0], start[1] = start[1], start[0]
						}
						return connectOver(t, tr, start, ourClient)
					})
				})
			}
		}
	}
}

// connectOver starts a client and a server over the transport.
func connectOver(t *testing.T, tr transport, start [2]startFunc, ourClient bool) (ours, theirs muxSession) {
	const version = 2
	conn, accept := tr.pair(t)
	client, err := start[0](conn, true, version, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAtOnce(client, conn) })
	var first muxStream
	var writing sync.WaitGroup
	writing.Go(func() { // so that the server's end exists; the original's Open waits for a handshake of TLS
		var err error
		if first, err = client.Open(); err != nil {
			t.Error(err)
			return
		}
		mustWrite(t, "the client", first, []byte{1})
	})
	accepted := accept()
	server, err := start[1](accepted, false, version, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAtOnce(server, accepted) })
	st, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if writing.Wait(); t.Failed() {
		t.FailNow()
	}
	mustClose(t, "the client", first)
	readAll(t, "the server", st, []byte{1})
	mustClose(t, "the server", st)
	if ourClient {
		return client, server
	}
	return server, client
}

// closeAtOnce ends a session that a test has left.
func closeAtOnce(s muxSession, conn net.Conn) {
	_ = conn.Close()
	_ = s.Close()
}

// Every byte arrives both ways at once, and a half-close lets the answer arrive.
func TestTransfersOverEachTransportAreWhole(t *testing.T) {
	const streams, size = 4, 400_000
	eachTransport(t, func(t *testing.T, newEnds func() (ours, theirs muxSession)) {
		ours, theirs := newEnds()
		var all sync.WaitGroup
		defer all.Wait()
		for i := range streams {
			opener, acceptor := ours, theirs
			if i%2 == 1 {
				opener, acceptor = theirs, ours
			}
			opened, err := opener.Open()
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "the opener", opened, []byte{byte(i)})
			accepted, err := acceptor.Accept()
			if err != nil {
				t.Fatal(err)
			}
			up, down := payload{seed: uint64(i), up: true, size: size}, payload{seed: uint64(i), size: size}
			all.Go(func() {
				mustWrite(t, "the opener", opened, up.bytes())
				mustCloseWrite(t, "the opener", opened)
			})
			all.Go(func() {
				readAll(t, "the acceptor", accepted, append([]byte{byte(i)}, up.bytes()...))
				mustWrite(t, "the acceptor", accepted, down.bytes()) // the answer
				mustClose(t, "the acceptor", accepted)
			})
			all.Go(func() {
				readAll(t, "the opener", opened, down.bytes())
				mustClose(t, "the opener", opened)
			})
		}
	})
}

// Write, Stream.Close and Session.Close at once lose nothing over any transport. If Close cannot know, it says so.
func TestCloseOverEachTransportDelivers(t *testing.T) {
	skipStandIn(t, "loses what its transport has not sent")
	eachTransport(t, func(t *testing.T, newEnds func() (ours, theirs muxSession)) {
		for size := 100; size <= 1_000_000; size *= 100 {
			ours, theirs := newEnds()
			p := payload{seed: 1, size: size}
			opened, err := ours.Open()
			if err != nil {
				t.Fatal(err)
			}
			var reading sync.WaitGroup
			reading.Go(func() {
				accepted, err := theirs.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				wantWhole(t, accepted, p)
			})
			mustWrite(t, "ours", opened, p.bytes())
			mustClose(t, "ours", opened)
			begin := time.Now()
			err = ours.Close()
			d := time.Since(begin)
			t.Logf("%d bytes: Close returned %v after %v", size, err, d)
			if err != nil && !errors.Is(err, errNotFlushed) {
				t.Errorf("Close: %v", err)
			}
			if d > hung/2 {
				t.Errorf("Close took %v", d)
			}
			reading.Wait()
		}
	})
}
