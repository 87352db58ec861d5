// Socks is a SOCKS5 server whose connections leave from another machine. Run the far end where the targets can be
// reached, and the near end where the programs are:
//
//	go run ./examples/socks -serve :7000
//	go run ./examples/socks -listen 127.0.0.1:1080 -via far.example:7000
//	curl --socks5-hostname 127.0.0.1:1080 http://example.org
//
// The near end speaks SOCKS5, and opens a stream for the service "connect" for each connection. The far end dials the
// target before it accepts the stream; if it cannot, it refuses the stream. The connection between the two ends is
// neither encrypted nor authenticated: use crypto/tls before it leaves your machine.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream/relay"
)

const (
	timeout         = 10 * time.Second
	codeUnreachable = 64 // of a refusal: the target cannot be dialed
)

func main() {
	serve := flag.String("serve", "", "far end: `address` where near ends connect")
	listen := flag.String("listen", "", "near end: `address` of the SOCKS5 server")
	via := flag.String("via", "", "near end: `address` of the far end")
	flag.Parse()
	if (*serve == "") == (*listen == "") || (*listen == "") != (*via == "") || flag.NArg() != 0 {
		log.Fatal("give either -serve, or -listen and -via")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", *serve+*listen) // one of them is empty
	if err != nil {
		log.Fatal(err)
	}
	if *serve != "" {
		far(ctx, l)
		return
	}
	near(ctx, l, *via)
}

// far serves near ends until ctx ends.
func far(ctx context.Context, l net.Listener) {
	mux := new(service.Mux)
	mux.Handle("connect", func(st *service.Stream) { connect(ctx, st) })
	sessions := &session.Listener{Listener: l}
	defer sessions.CloseNow()
	if err := mux.Serve(ctx, sessions); ctx.Err() == nil {
		log.Print(err)
	}
}

// connect connects one stream to its target.
func connect(ctx context.Context, st *service.Stream) {
	conn, err := net.DialTimeout("tcp", st.Metadata()["address"], timeout)
	if err != nil {
		st.Refuse(codeUnreachable, err.Error())
		return
	}
	st.Accept() // tells the near end before any data comes
	relay.Join(ctx, st, conn, nil)
}

// near serves SOCKS5 until ctx ends. It dials the far end when a connection needs it.
func near(ctx context.Context, l net.Listener, via string) {
	context.AfterFunc(ctx, func() { l.Close() })
	dialer := &session.Dialer{Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", via)
	}}
	defer dialer.Close()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go forward(ctx, dialer, conn)
	}
}

// forward handles one connection of a program.
func forward(ctx context.Context, o service.Opener, conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * timeout))
	address, err := readRequest(conn)
	if err != nil {
		log.Printf("%v: %v", conn.RemoteAddr(), err)
		return
	}
	dialing, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	st, err := service.Open(dialing, o, "connect", map[string]string{"address": address})
	if err == nil {
		defer st.Close()
		err = st.AwaitAnswer(dialing)
	}
	reply := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	if refused := new(service.RefusedError); errors.As(err, &refused) && refused.Code == codeUnreachable {
		reply[1] = 4 // host unreachable
	} else if err != nil {
		reply[1] = 1 // general failure
	}
	conn.Write(reply)
	if err == nil {
		_, err = relay.Join(ctx, conn, st, nil)
	}
	log.Printf("%v to %s: %v", conn.RemoteAddr(), address, err)
}

// readRequest does the SOCKS5 handshake (RFC 1928), without authentication, up to the reply. It returns the target.
func readRequest(conn net.Conn) (address string, err error) {
	b := make([]byte, 256)
	read := func(n int) []byte {
		if err == nil {
			_, err = io.ReadFull(conn, b[:n])
		}
		return b[:n]
	}
	methods := read(2)[1]
	if b[0] != 5 {
		return "", errors.Join(err, fmt.Errorf("no SOCKS5: version %d", b[0]))
	}
	read(int(methods))
	if _, werr := conn.Write([]byte{5, 0}); werr != nil {
		return "", werr
	}
	host := ""
	switch read(4)[3] { // the kind of address
	case 1:
		host = net.IP(read(net.IPv4len)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(net.IPv6len)).String()
	}
	port := binary.BigEndian.Uint16(read(2))
	return net.JoinHostPort(host, fmt.Sprint(port)), err
}
