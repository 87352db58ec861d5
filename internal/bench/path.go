package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/xtaci/kcp-go/v5"
)

// A path is what lies between both ends: how a connection is made, within one process or between two.
type path struct {
	name string
	// listen accepts connections, and dial makes one to the address of the listener.
	listen func(e *end) (net.Listener, error)
	dial   func(e *end, addr string) (net.Conn, error)

	relayed bool   // over a link in the parent, see link
	netem   *netem // between two network namespaces, see netem
}

var (
	overTCP    = &path{name: "TCP", listen: listenTCP, dial: dialTCP}
	unixSocket = &path{name: "Unix socket", listen: listenUnix, dial: dialUnix}
	overTLS    = &path{name: "TLS", listen: listenTLS, dial: dialTLS}
	webSocket  = &path{name: "WebSocket", listen: listenWebSocket, dial: dialWebSocket}
	overKCP    = &path{name: "KCP", listen: listenKCP, dial: dialKCP}
	farLink    = &path{name: "relayed link", listen: listenTCP, dial: dialRelayed, relayed: true}

	gigabit100 = overNetem(&netem{rate: 125e6, delay: 50 * time.Millisecond, mtu: 9000})
	lossy100   = overNetem(&netem{rate: 12.5e6, delay: 50 * time.Millisecond, mtu: 1500, loss: 0.001})
	mbit50     = overNetem(&netem{rate: 12.5e6, delay: 25 * time.Millisecond, mtu: 1500})
)

func overNetem(w *netem) *path {
	return &path{
		name: w.String(),
		listen: func(*end) (net.Listener, error) {
			return net.Listen("tcp", netemAddrs[1]+":0")
		},
		dial:  dialTCP,
		netem: w,
	}
}

func listenTCP(*end) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func dialTCP(_ *end, addr string) (net.Conn, error) { return net.Dial("tcp", addr) }

func listenUnix(*end) (net.Listener, error) {
	return net.Listen("unix", "@smuxkit-bench-"+rand.Text())
}

func dialUnix(_ *end, addr string) (net.Conn, error) { return net.Dial("unix", addr) }

func dialRelayed(e *end, addr string) (net.Conn, error) { return dialLink(e.Link, addr) }

func listenTLS(*end) (net.Listener, error) {
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
}

func dialTLS(_ *end, addr string) (net.Conn, error) { return tls.Dial("tcp", addr, trusting()) }

// trusting is for certificates that the other end has made up a moment ago.
func trusting(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A queue is a net.Listener of connections that come from elsewhere.
type queue struct {
	conns chan net.Conn
	addr  net.Addr
	close func() error
}

func (q *queue) Accept() (net.Conn, error) { return <-q.conns, nil }
func (q *queue) Addr() net.Addr            { return q.addr }
func (q *queue) Close() error              { return q.close() }

// listenWebSocket accepts WebSockets. A message may have any size: the default limit would end sessions of
// implementations that cannot write less at once.
func listenWebSocket(*end) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// The connections that were accepted outlive the listener, as with TCP: the process ends them.
	q := &queue{conns: make(chan net.Conn, 1), addr: l.Addr(), close: func() error { return nil }}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		check(err)
		c.SetReadLimit(-1)
		q.conns <- websocket.NetConn(context.Background(), c, websocket.MessageBinary)
		select {}
	}))
	return q, nil
}

func dialWebSocket(_ *end, addr string) (net.Conn, error) {
	c, _, err := websocket.Dial(context.Background(), "ws://"+addr, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(-1)
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
}

// listenKCP accepts KCP connections without encryption and error correction. KCP tells a listener of a connection
// with its first packet; a byte of the dialer's brings it.
func listenKCP(*end) (net.Listener, error) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		return nil, err
	}
	q := &queue{conns: make(chan net.Conn, 1), addr: l.Addr(), close: func() error { return nil }}
	go func() {
		for {
			c, err := l.AcceptKCP()
			check(err)
			tuneKCP(c)
			_, err = c.Read(make([]byte, 1))
			check(err)
			q.conns <- c
		}
	}()
	return q, nil
}

func dialKCP(_ *end, addr string) (net.Conn, error) {
	c, err := kcp.DialWithOptions(addr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	tuneKCP(c)
	_, err = c.Write([]byte{0})
	return c, err
}

// tuneKCP sets what programs set for speed: no Nagle-like delays, fast retransmission, no congestion window, windows for
// 1.4 MB.
func tuneKCP(c *kcp.UDPSession) {
	c.SetNoDelay(1, 10, 2, 1)
	c.SetACKNoDelay(true)
	c.SetWindowSize(1024, 1024)
}
