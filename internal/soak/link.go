package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A link is the transport of one session.
type link struct {
	ends [2]io.ReadWriteCloser // of the client and the server
	// cut breaks the transport.
	cut func(d draw)
	// hold stops the transport and release lets it go on. They are nil if it cannot be stopped.
	hold, release func()
	// close ends the parts that the sessions do not own.
	close func()
}

// newLink makes the transport of a session of the plan.
func newLink(p *plan, proxied bool) (*link, error) {
	kind := p.Transport
	if kind == "pipe" {
		a, b := net.Pipe()
		return &link{ends: [2]io.ReadWriteCloser{a, b}, close: func() {}, cut: func(d draw) {
			_ = pick(d, a, b).Close()
		}}, nil
	}
	if of := simulations[kind]; of != nil {
		return newSimulated(of, [2]int{p.Ends[0].MaxWriteSize, p.Ends[1].MaxWriteSize}), nil
	}
	return newSockets(kind, proxied)
}

// newSockets makes a transport of sockets.
func newSockets(kind string, proxied bool) (*link, error) {
	network, address := "tcp", "127.0.0.1:0"
	if kind == "unix" {
		dir, err := os.MkdirTemp("", "soak")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		network, address = "unix", filepath.Join(dir, "socket")
	}
	a, b, err := dialed(network, address)
	if err != nil {
		return nil, err
	}
	l := &link{close: func() {}}
	if proxied {
		c, d, err := dialed(network, address+"2")
		if network == "tcp" {
			c, d, err = dialed(network, address)
		}
		if err != nil {
			return nil, err
		}
		p := newProxy(b, c)
		b = d
		l.hold, l.release, l.close = p.hold, p.release, p.close
	}
	l.cut = func(d draw) {
		conn := pick(d, a, b)
		if tcp, ok := conn.(*net.TCPConn); ok && d.chance(0.5) {
			_ = tcp.SetLinger(0) // a reset
		}
		_ = conn.Close()
	}
	l.ends = [2]io.ReadWriteCloser{a, b}
	switch kind {
	case "portable":
		l.ends = [2]io.ReadWriteCloser{portable{a, a.(*net.TCPConn)}, portable{b, b.(*net.TCPConn)}}
	case "tls":
		cert, err := certificate()
		if err != nil {
			return nil, err
		}
		l.ends[0] = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
		l.ends[1] = tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	return l, nil
}

// portable is a connection with Read, Write, Close and CloseWrite only. Without CloseWrite, data may be lost at
// Close.
type portable struct {
	io.ReadWriteCloser
	closeWriter
}

type closeWriter interface{ CloseWrite() error }

// dialed returns the two ends of a connection.
func dialed(network, address string) (client, server net.Conn, err error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if server, err = l.Accept(); err != nil {
		client.Close()
		return nil, nil, err
	}
	return client, server, nil
}

// certificate returns a self-signed certificate for TLS.
var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
})
