// Echo sends data over many streams of one connection to a server, which sends it
// back, and checks every byte. It prints the rate each way, round trips, memory, and
// what limited the rate.
//
// Without arguments both ends run in one process, over loopback TCP. To run two
// processes:
//
//	go run ./examples/echo -listen 127.0.0.1:4000
//	go run ./examples/echo -connect 127.0.0.1:4000 -streams 1000 -bytes 100000
//
// Ctrl-C ends them.
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
	"syscall"
)

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes. 130 is what a shell reports for a program that Ctrl-C has ended.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// run runs the program until it is done, or ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "echo: %v (-help lists the flags)\n", err)
		return exitUsage
	}

	switch {
	case opts.listen != "":
		err = listen(ctx, opts, stdout)
	case opts.connect != "":
		err = connect(ctx, opts, stdout)
	default:
		err = loopback(ctx, opts, stdout)
	}
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "echo: interrupted")
		return exitInterrupted
	default:
		fmt.Fprintf(stderr, "echo: %v\n", err)
		return exitFailed
	}
}

// listen runs the server alone, until ctx ends. Then it returns nil.
func listen(ctx context.Context, opts options, stdout io.Writer) error {
	l, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on %v, Ctrl-C ends\n", l.Addr())
	return serve(ctx, l, opts.version, log.New(stdout, "", log.Ltime))
}

// connect runs the client alone.
func connect(ctx context.Context, opts options, stdout io.Writer) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", opts.connect)
	if err != nil {
		return err
	}
	return send(ctx, conn, opts, stdout)
}

// loopback runs the server and the client in this process.
func loopback(ctx context.Context, opts options, stdout io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serverCtx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serve(serverCtx, l, opts.version, log.New(io.Discard, "", 0)) }()

	opts.connect, opts.bothEnds = l.Addr().String(), true
	err = connect(ctx, opts, stdout)
	stop()
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return err
}
