// Proxy forwards the connections of a TCP port through one smux connection. Run the far end
// where the target can be reached, and the near end where the port should be:
//
//	go run ./examples/proxy -serve :7000 -target 127.0.0.1:80
//	go run ./examples/proxy -listen 127.0.0.1:8080 -via far.example:7000
//
// A program that connects to 127.0.0.1:8080 then talks to the target. Ctrl-C ends either end,
// once its connections are done or 10 s have passed. The connection between the two ends is
// neither encrypted nor authenticated. Use crypto/tls before it leaves your machine: a session
// takes a *tls.Conn as well.
package main

import (
	"context"
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
	"github.com/smuxkit/smuxkit/stream/relay"
)

// With version 2, a slow connection does not stop the others. Set explicitly, the far end takes no other version.
//
// Both ends are smuxkit, so that half-close works and each end learns when the other closes a stream. If the other end
// is xtaci/smux or a fork of it, and does not half-close, set NoHalfClose: otherwise aborted downloads go on.
var config = &session.Config{Version: 2}

// timeout is how long a dial may take, and how long Ctrl-C waits for open connections.
const timeout = 10 * time.Second

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Proxy forwards the connections of a TCP port through one smux connection.

    proxy -serve :7000 -target 127.0.0.1:80                  the far end
    proxy -listen 127.0.0.1:8080 -via far.example:7000       the near end

Ctrl-C ends either end, once its connections are done or 10 s have passed.

`

// run runs the program until ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	serve := flags.String("serve", "", "far end: `address` where the near end connects")
	target := flags.String("target", "", "far end: `address` to forward to")
	listen := flags.String("listen", "", "near end: `address` to forward from")
	via := flags.String("via", "", "near end: `address` of the far end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	isFar, isNear := *serve != "" && *target != "", *listen != "" && *via != ""
	if isFar == isNear || flags.NFlag() != 2 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "proxy: give either -serve and -target, or -listen and -via")
		return 2
	}
	l, err := net.Listen("tcp", *serve+*listen) // one of them is empty
	if err == nil {
		fmt.Fprintf(stdout, "forwarding from %v to %s%s, Ctrl-C ends\n", l.Addr(), *target, *via)
		if isFar {
			err = far(ctx, l, *target)
		} else {
			err = near(ctx, l, *via)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "proxy:", err)
		return 1
	}
	return 0
}

// near forwards each connection that l accepts over a stream. It dials when there is no session, or when the one that
// there was has ended. When ctx ends, it drains.
func near(ctx context.Context, l net.Listener, via string) error {
	dialer := &session.Dialer{
		Config:      config,
		Dial:        func(ctx context.Context) (io.ReadWriteCloser, error) { return dial(ctx, via) },
		MaxSessions: 1,
		WaitTimeout: timeout,
	}
	var joined sync.WaitGroup
	defer joined.Wait()
	defer dialer.Close() // ends what has not ended by then
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			drain, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return dialer.Shutdown(drain) // waits for the open streams
		} else if err != nil {
			return err
		}
		joined.Go(func() {
			st, err := dialer.OpenStream(ctx)
			join(conn, st, err)
		})
	}
}

// far connects the streams of all sessions over connections that l accepts to target. When ctx ends, it drains.
func far(ctx context.Context, l net.Listener, target string) error {
	sessions := &session.Listener{Listener: l, Config: config}
	var joined sync.WaitGroup
	defer joined.Wait()
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		drain, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		sessions.Shutdown(drain) // near ends open no more streams; those that are open go on
		sessions.CloseNow()
	})
	for {
		st, err := sessions.Accept() // fails when the drain is done
		if err != nil && stop() {
			sessions.CloseNow()
			return err
		} else if err != nil {
			<-drained
			return nil
		}
		joined.Go(func() {
			conn, err := dial(context.Background(), target)
			join(st, conn, err)
		})
	}
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
}

// join copies data between a and b in both directions until both have ended, and closes them. err is why there is no b.
// smux has no reset, so the other end of a stream sees a normal end also after an error.
func join(a, b net.Conn, err error) {
	if err != nil {
		a.Close()
	} else {
		_, err = relay.Join(context.Background(), a, b, nil)
	}
	if err != nil {
		log.Printf("%v: %v", a.RemoteAddr(), err)
	}
}
