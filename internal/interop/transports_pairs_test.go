package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// The ends of the transports of transports_test.go. Those of KCP are in kcp_test.go.

// A pairFunc connects two ends. The server's end may exist only when the client has sent something: accept waits for it.
type pairFunc func(t *testing.T) (client io.ReadWriteCloser, accept func() io.ReadWriteCloser)

// both makes a pairFunc of a function that returns both ends at once.
func both[C io.ReadWriteCloser](pair func(t testing.TB) (client, server C)) pairFunc {
	return func(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
		client, server := pair(t)
		return client, func() io.ReadWriteCloser { return server }
	}
}

func tcpEnds(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
	client, server := tcpPair(t, false)
	return client, func() io.ReadWriteCloser { return server }
}

// kcpEnds returns the pairFunc of a path that loses a part of all packets.
func kcpEnds(loss float64) pairFunc {
	return func(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
		client, accept := kcpPair(t, loss, fastKCP)
		return client, func() io.ReadWriteCloser { return accept() }
	}
}

// overTLS adds TLS to the ends of a pair of net.Conns.
func overTLS(pair pairFunc) pairFunc {
	return func(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
		client, accept := pair(t)
		clients, servers := tlsConfigs(t)
		return tls.Client(client.(net.Conn), clients), func() io.ReadWriteCloser {
			return tls.Server(accept().(net.Conn), servers)
		}
	}
}

// tlsConfigs returns the configurations of a client and a server that trust each other.
func tlsConfigs(t *testing.T) (client, server *tls.Config) {
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
	protocols := []string{"smux"} // QUIC wants one
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: protocols}
	return &tls.Config{RootCAs: roots, ServerName: "peer.test", NextProtos: protocols}, server
}

// webSocketEnds returns the pairFunc of a WebSocket whose ends accept messages of up to limit bytes; 0 is no limit.
func webSocketEnds(limit int64) pairFunc {
	return func(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
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
		netConn := func(c *websocket.Conn) io.ReadWriteCloser {
			conn := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
			if limit > 0 {
				c.SetReadLimit(limit) // NetConn has removed it
			}
			return conn
		}
		return netConn(c), func() io.ReadWriteCloser {
			c := <-accepted
			t.Cleanup(func() { c.CloseNow() })
			return netConn(c)
		}
	}
}

// quicEnds returns the two ends of a QUIC stream, on a connection of its own.
func quicEnds(t *testing.T) (io.ReadWriteCloser, func() io.ReadWriteCloser) {
	clients, servers := tlsConfigs(t)
	var ends [2]*quic.Transport
	for i := range ends {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = &quic.Transport{Conn: socket}
		t.Cleanup(func() {
			ends[i].Close()
			socket.Close()
		})
	}
	l, err := ends[1].Listen(servers, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ends[0].Dial(t.Context(), l.Addr(), clients, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	st, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	return quicStream{st, conn}, func() io.ReadWriteCloser {
		conn, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseWithError(0, "") })
		st, err := conn.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return quicStream{st, conn}
	}
}

// A quicStream is a QUIC stream as a transport. Close of a *quic.Stream closes one direction: a Read would wait on. The
// connection must live on: its own close throws away what has not arrived.
type quicStream struct {
	*quic.Stream
	conn *quic.Conn
}

func (s quicStream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s quicStream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
func (s quicStream) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}

// A serial has what a serial port has: Read, Write and Close.
type serial struct {
	io.ReadCloser
	w io.WriteCloser
}

func (s serial) Write(p []byte) (int, error) { return s.w.Write(p) }
func (s serial) Close() error                { return errors.Join(s.w.Close(), s.ReadCloser.Close()) }

// ioPipes returns two ends over a pair of io.Pipes: a Write returns when its last byte was read.
func ioPipes(t testing.TB) (client, server io.ReadWriteCloser) {
	upR, upW := io.Pipe()
	downR, downW := io.Pipe()
	client, server = serial{downR, upW}, serial{upR, downW}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// osPipes returns two ends over a pair of pipes of the system, as a program has that talks to its child.
func osPipes(t testing.TB) (client, server io.ReadWriteCloser) {
	upR, upW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	client, server = serial{downR, upW}, serial{upR, downW}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// messageLimit is the most bytes of a message of messageEnds.
const messageLimit = 1000

// messageEnds returns the two ends of a transport that carries messages of a limited size: a longer Write fails.
func messageEnds(t testing.TB) (client, server net.Conn) {
	a, b := testutil.SimPair(t, simnet.Link{})
	return simnet.Messages(a, messageLimit, nil), simnet.Messages(b, messageLimit, nil)
}

// forgetfulEnds returns the two ends of a transport whose Close throws away what has not arrived, and tells nobody.
func forgetfulEnds(t testing.TB) (client, server net.Conn) {
	a, b := testutil.SimPair(t, simnet.Link{Delay: 5 * time.Millisecond})
	return simnet.Datagrams(a), simnet.Datagrams(b)
}
