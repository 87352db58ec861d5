// Proxy forwards the connections of a TCP port through one smux connection. Run the far end
// where the target can be reached, and the near end where the port should be:
//
//	go run ./examples/proxy -serve :7000 -target 127.0.0.1:80
//	go run ./examples/proxy -listen 127.0.0.1:8080 -via far.example:7000
//
// A program that connects to 127.0.0.1:8080 then talks to the target. The connection between
// the two ends is neither encrypted nor authenticated. Use crypto/tls before it leaves your
// machine: a session takes a *tls.Conn as well.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// With version 2, a slow connection does not stop the others. Set explicitly, the far end takes no other version.
//
// Both ends are smuxkit, so that half-close works and each end learns when the other closes a stream. If the other end
// is xtaci/smux or a fork of it, and does not half-close, set NoHalfClose: otherwise aborted downloads go on.
var config = &session.Config{Version: 2}

const dialTimeout = 10 * time.Second

func main() {
	serve := flag.String("serve", "", "far end: `address` where the near end connects")
	target := flag.String("target", "", "far end: `address` to forward to")
	listen := flag.String("listen", "", "near end: `address` to forward from")
	via := flag.String("via", "", "near end: `address` of the far end")
	flag.Parse()
	isFar, isNear := *serve != "" && *target != "", *listen != "" && *via != ""
	if isFar == isNear || flag.NFlag() != 2 || flag.NArg() != 0 {
		fail("give either -serve and -target, or -listen and -via")
	}
	l, err := net.Listen("tcp", *serve+*listen) // one of them is empty
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { l.Close() })
	if isFar {
		far(ctx, l, *target)
	} else {
		near(ctx, l, *via)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, "proxy:", why)
	os.Exit(1)
}

// near forwards each connection that l accepts over a stream. It dials when there is no session, or when the one that
// there was has ended. It returns when l is closed.
func near(ctx context.Context, l net.Listener, via string) {
	dialer := &session.Dialer{
		Config: config,
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", via)
		},
		MaxSessions: 1,
		WaitTimeout: dialTimeout,
	}
	defer dialer.Close()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			st, err := dialer.OpenStream(ctx)
			if err != nil {
				log.Printf("%v: %v", conn.RemoteAddr(), err)
				conn.Close()
				return
			}
			join(ctx, conn, st)
		}()
	}
}

// far connects the streams of all sessions over connections that l accepts to target. It returns when ctx ends or l is
// closed, and ends the sessions.
func far(ctx context.Context, l net.Listener, target string) {
	sessions := &session.Listener{Listener: l, Config: config}
	defer sessions.CloseNow()
	for {
		st, err := sessions.AcceptStream(ctx)
		if err != nil {
			return
		}
		go connect(ctx, st, target)
	}
}

// connect connects one stream to target.
func connect(ctx context.Context, st *stream.Stream, target string) {
	conn, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		log.Print(err)
		st.Close()
		return
	}
	join(ctx, st, conn)
}

// join copies data between a and b in both directions until both have ended, and closes them. smux has no reset, so that
// the other end of a stream sees a normal end also after an error.
func join(ctx context.Context, a, b net.Conn) {
	if _, err := relay.Join(ctx, a, b, nil); err != nil && ctx.Err() == nil {
		log.Printf("%v - %v: %v", a.RemoteAddr(), b.RemoteAddr(), err)
	}
}
