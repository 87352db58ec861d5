// Socks is a SOCKS5 server whose connections leave from another machine. Run the far end where the targets can be
// reached, and the near end where the programs are:
//
//	go run ./examples/socks -serve :7000
//	go run ./examples/socks -listen 127.0.0.1:1080 -via far.example:7000
//	curl --socks5-hostname 127.0.0.1:1080 http://example.org
//
// The near end opens a stream for the service "connect" for each connection. The far end dials the target before it
// accepts the stream; if it cannot, it refuses the stream. Ctrl-C ends either end, once its connections are done or 10 s
// have passed. Nothing is encrypted or authenticated: use crypto/tls before it leaves your machine.
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
	"sync"
	"syscall"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream/relay"
)

const timeout = 10 * time.Second

// codeUnreachable is the code of a refusal: the target cannot be dialed.
const codeUnreachable = 64

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Socks is a SOCKS5 server whose connections leave from another machine.

    socks -serve :7000                                      the far end
    socks -listen 127.0.0.1:1080 -via far.example:7000      the near end

Ctrl-C ends either end, once its connections are done or 10 s have passed.

`

// run runs the program until ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("socks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	serve := flags.String("serve", "", "far end: `address` where near ends connect")
	listen := flags.String("listen", "", "near end: `address` of the SOCKS5 server")
	via := flags.String("via", "", "near end: `address` of the far end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if (*serve == "") == (*listen == "") || (*listen == "") != (*via == "") || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "socks: give either -serve, or -listen and -via")
		return 2
	}
	l, err := net.Listen("tcp", *serve+*listen) // one of them is empty
	if err != nil {
		fmt.Fprintln(stderr, "socks:", err)
		return 1
	}
	if *serve != "" {
		fmt.Fprintf(stdout, "connecting the streams of near ends on %v, Ctrl-C ends\n", l.Addr())
		err = far(ctx, l)
	} else {
		fmt.Fprintf(stdout, "serving SOCKS5 on %v via %s, Ctrl-C ends\n", l.Addr(), *via)
		err = near(ctx, l, *via)
	}
	if err != nil {
		fmt.Fprintln(stderr, "socks:", err)
		return 1
	}
	return 0
}

// far serves near ends. When ctx ends, it drains.
func far(ctx context.Context, l net.Listener) error {
	mux := new(service.Mux)
	mux.Handle("connect", connect)
	sessions := &session.Listener{Listener: l}
	defer sessions.CloseNow()
	served := make(chan error, 1)
	go func() { served <- mux.Serve(context.Background(), sessions) }()
	select {
	case err := <-served: // l has failed
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	sessions.Shutdown(drain) // near ends open no more streams; those that are open go on
	return nil
}

// connect connects one stream to its target.
func connect(st *service.Stream) {
	conn, err := net.DialTimeout("tcp", st.Metadata()["address"], timeout)
	if err != nil {
		st.Refuse(codeUnreachable, err.Error())
		return
	}
	st.Accept() // tells the near end before any data comes
	relay.Join(context.Background(), st, conn, nil)
}

// near serves SOCKS5. It dials the far end when a connection needs it. When ctx ends, it drains.
func near(ctx context.Context, l net.Listener, via string) (err error) {
	context.AfterFunc(ctx, func() { l.Close() })
	dialer := &session.Dialer{Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", via)
	}}
	var open sync.WaitGroup
	for {
		var conn net.Conn
		if conn, err = l.Accept(); err != nil {
			break
		}
		open.Go(func() { forward(dialer, conn) })
	}
	if ctx.Err() != nil {
		err = nil // that is why l was closed
	}
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	dialer.Shutdown(drain) // waits for the open streams
	dialer.Close()         // ends what has not ended by then
	open.Wait()
	return err
}

// forward handles one connection of a program.
func forward(o service.Opener, conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * timeout))
	address, err := readRequest(conn)
	if err != nil {
		log.Printf("%v: %v", conn.RemoteAddr(), err)
		return
	}
	dialing, cancel := context.WithTimeout(context.Background(), 2*timeout)
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
		_, err = relay.Join(context.Background(), conn, st, nil)
	}
	if err != nil {
		log.Printf("%v to %s: %v", conn.RemoteAddr(), address, err)
	}
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
