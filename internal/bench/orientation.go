package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/quic-go/quic-go"
)

// What a program might use instead of a multiplexer, for orientation: no target refers to it.

var orientation = []*peer{
	{name: "http2", aside: true, client: http2Client, server: http2Server},
	{name: "quic-go", module: "github.com/quic-go/quic-go", aside: true, dial: quicDial, listen: quicListen},
}

// HTTP/2 of the standard library: a stream is a request whose body and response are open at once.

func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

type http2Dialer struct{ conn *http.ClientConn }

func http2Client(c net.Conn) (mux, error) {
	transport := &http.Transport{
		Protocols:   plainHTTP2(),
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}
	conn, err := transport.NewClientConn(context.Background(), "http", "bench:80")
	return http2Dialer{conn}, err
}

func (d http2Dialer) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (d http2Dialer) Close() error              { return d.conn.Close() }

func (d http2Dialer) Open() (net.Conn, error) {
	body, w := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, "http://bench/", body)
	if err != nil {
		return nil, err
	}
	answer := func() (io.ReadCloser, error) {
		response, err := d.conn.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		return response.Body, nil
	}
	s := &http2Stream{w: w, answer: sync.OnceValues(answer)}
	go s.answer()
	return s, nil
}

// An http2Stream is the client's end of a stream.
type http2Stream struct {
	net.Conn
	w      *io.PipeWriter
	answer func() (io.ReadCloser, error)
}

func (s *http2Stream) Write(p []byte) (int, error) { return s.w.Write(p) }

func (s *http2Stream) Read(p []byte) (int, error) {
	body, err := s.answer()
	if err != nil {
		return 0, err
	}
	return body.Read(p)
}

func (s *http2Stream) Close() error {
	if err := s.w.Close(); err != nil {
		return err
	}
	body, err := s.answer()
	if err != nil {
		return err
	}
	return body.Close()
}

type http2Acceptor struct{ streams chan net.Conn }

func http2Server(c net.Conn) (mux, error) {
	a := http2Acceptor{make(chan net.Conn)}
	one := &queue{conns: make(chan net.Conn, 1), addr: c.LocalAddr(), close: c.Close}
	one.conns <- struct{ net.Conn }{c} // the server expects no HTTP/2 in a tls.Conn without ALPN
	server := &http.Server{Protocols: plainHTTP2(), Handler: a}
	go server.Serve(one)
	return a, nil
}

func (a http2Acceptor) Open() (net.Conn, error)   { return nil, errors.ErrUnsupported }
func (a http2Acceptor) Accept() (net.Conn, error) { return <-a.streams, nil }
func (a http2Acceptor) Close() error              { return nil }

// ServeHTTP lets a request be accepted as a stream, and waits until that was closed.
func (a http2Acceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &http2Request{body: r.Body, w: w, flush: http.NewResponseController(w).Flush, closed: make(chan struct{})}
	if s.flush() == nil {
		a.streams <- s
		<-s.closed
	}
}

// An http2Request is the server's end of a stream.
type http2Request struct {
	net.Conn
	body   io.Reader
	w      io.Writer
	flush  func() error
	closed chan struct{}
}

func (s *http2Request) Read(p []byte) (int, error) { return s.body.Read(p) }
func (s *http2Request) Close() error               { close(s.closed); return nil }

func (s *http2Request) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	return n, errors.Join(err, s.flush())
}

// QUIC.

func quicConfig() *quic.Config { return &quic.Config{MaxIncomingStreams: 1 << 20} }

func quicDial(addr string) (mux, error) {
	c, err := quic.DialAddr(context.Background(), addr, trusting("bench"), quicConfig())
	return quicMux{c}, err
}

func quicListen() (addr string, accept func() (mux, error), err error) {
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: []string{"bench"}}
	l, err := quic.ListenAddr("127.0.0.1:0", cfg, quicConfig())
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() (mux, error) {
		c, err := l.Accept(context.Background())
		return quicMux{c}, err
	}, nil
}

type quicMux struct{ conn *quic.Conn }

func (m quicMux) Close() error { return m.conn.CloseWithError(0, "") }

func (m quicMux) Open() (net.Conn, error) {
	s, err := m.conn.OpenStreamSync(context.Background())
	return quicStream{s, nil}, err
}

func (m quicMux) Accept() (net.Conn, error) {
	s, err := m.conn.AcceptStream(context.Background())
	return quicStream{s, nil}, err
}

// A quicStream closes both directions, as the streams of the others do.
type quicStream struct {
	*quic.Stream
	net.Addr
}

func (s quicStream) LocalAddr() net.Addr  { return s.Addr }
func (s quicStream) RemoteAddr() net.Addr { return s.Addr }

func (s quicStream) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}
