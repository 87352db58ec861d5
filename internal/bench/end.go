package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// An end is what a row's function has to work with: the peer to measure, and a
// line to the other end's function, beside the connections that are measured.
type end struct {
	order
	row  *row
	peer *peer
	in   *json.Decoder
	out  *json.Encoder
}

func newEnd(o order, r *row, p *peer, in io.Reader, out io.Writer) *end {
	return &end{o, r, p, json.NewDecoder(in), json.NewEncoder(out)}
}

// tell sends v to the other end's function.
func (e *end) tell(v any) { check(e.out.Encode(v)) }

// hear waits for what the other end's function tells.
func (e *end) hear(v any) {
	err := e.in.Decode(v)
	if errors.Is(err, io.EOF) {
		os.Exit(exitOrphan)
	}
	check(err)
}

// meet waits until the other end's function has come as far.
func (e *end) meet() {
	e.tell("here")
	e.hear(new(string))
}

// listen opens a loopback port and tells the other end which.
func (e *end) listen() net.Listener {
	network, addr := "tcp", "127.0.0.1:0"
	if e.row.path == unixSocket {
		network, addr = "unix", "@smuxkit-bench-"+rand.Text()
	}
	l, err := net.Listen(network, addr)
	check(err)
	e.tell(l.Addr().String())
	if e.row.path == overTLS {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	}
	return l
}

// dialTo connects to the port that the other end listens on.
func (e *end) dialTo(addr string) (net.Conn, error) {
	switch e.row.path {
	case overTLS:
		// The certificate was made up a moment ago, by the other end.
		return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	case unixSocket:
		return net.Dial("unix", addr)
	case farLink:
		return dialLink(e.Link, addr)
	case loopback:
	}
	return net.Dial("tcp", addr)
}

// connect starts a session to the other end, which calls acceptSession.
func (e *end) connect() mux {
	var addr string
	e.hear(&addr)
	if e.peer.raw() {
		return &rawDialer{e, addr}
	}
	c, err := e.dialTo(addr)
	check(err)
	m, err := e.peer.client(c)
	check(err)
	return m
}

// acceptSession starts a session from the other end, which calls connect.
func (e *end) acceptSession() mux {
	l := e.listen()
	if e.peer.raw() {
		return &rawListener{l}
	}
	c, err := l.Accept()
	check(err)
	check(l.Close())
	m, err := e.peer.server(c)
	check(err)
	return m
}

// rawDialer and rawListener are the session of raw TCP: each stream is a
// connection.
type rawDialer struct {
	end  *end
	addr string
}

func (d *rawDialer) Open() (net.Conn, error)   { return d.end.dialTo(d.addr) }
func (d *rawDialer) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (d *rawDialer) Close() error              { return nil }

type rawListener struct{ net.Listener }

func (rawListener) Open() (net.Conn, error) { return nil, errors.ErrUnsupported }

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// cpuTime is what this process has used so far, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mallocs is how many heap objects this process has allocated so far. It stops the
// world for some microseconds, and unlike runtime/metrics it counts what the
// processors' allocation caches have handed out to the last object.
func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

// memory is what this process holds in heap and stacks once it has come to rest:
// what goroutines let go of has been collected, and pools have been emptied.
func memory() float64 {
	for range 4 {
		runtime.GC()
		time.Sleep(25 * time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}
