// Report sends what it reads from its standard input to a collector, and exits once that has arrived:
//
//	go run ./examples/report -listen 127.0.0.1:7000
//	df -h | go run ./examples/report -connect 127.0.0.1:7000
//
// The exit code of the second one is 0 if the collector's machine has everything, and 1 if that is not known. Ctrl-C ends
// the collector, once the reports that are on their way have arrived or 10 s have passed. The connection is neither
// encrypted nor authenticated: see Example_tls of package session.
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
	"github.com/smuxkit/smuxkit/stream"
)

const (
	// timeout limits how long the program waits for the collector after it has read everything.
	timeout = 30 * time.Second
	// drainTimeout is how long the collector waits for reports that are on their way.
	drainTimeout = 10 * time.Second
)

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `Report sends what it reads from its standard input to a collector, and exits once that has arrived.

    report -listen 127.0.0.1:7000                the collector
    df -h | report -connect 127.0.0.1:7000       a report

Ctrl-C ends the collector, once the reports on their way have arrived or 10 s have passed.

`

// run runs the program until it is done, or ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "", "collect reports at this `address`")
	connect := flags.String("connect", "", "send a report to the collector at this `address`")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	var err error
	switch {
	case (*listen == "") == (*connect == "") || flags.NArg() > 0:
		fmt.Fprintln(stderr, "report: give either -listen or -connect")
		return 2
	case *listen != "":
		var l net.Listener
		if l, err = net.Listen("tcp", *listen); err == nil {
			fmt.Fprintf(stderr, "collecting reports on %v, Ctrl-C ends\n", l.Addr()) // stdout is for the reports
			err = collect(ctx, l, stdout)
		}
	default:
		fmt.Fprintf(stderr, "sending what stdin says to %s\n", *connect)
		err = send(ctx, *connect, stdin)
	}
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return 1
	}
	return 0
}

// send sends a report, and waits until it has arrived.
func send(ctx context.Context, addr string, report io.Reader) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		conn.Close()
		return err
	}
	defer s.CloseNow() // sends nothing more; after Flush, there is nothing
	st, err := s.OpenStream(ctx)
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(st, report)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done(): // report may not end, but the collector reads no io.EOF
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil { // the collector reads io.EOF; Close does not wait for that
		return err
	}
	// Without Flush, the program would exit before all was sent. A program that has many streams to wait
	// for, and needs the session no more, calls s.Close instead.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return st.Flush(ctx)
}

// collect writes reports to w. A report whose program failed before its end is not written. When ctx ends, it drains.
func collect(ctx context.Context, l net.Listener, w io.Writer) error {
	sessions := &session.Listener{Listener: l}
	var collecting sync.WaitGroup
	defer collecting.Wait()
	defer sessions.CloseNow()
	defer context.AfterFunc(ctx, func() { sessions.Close() })()
	var mu sync.Mutex // guards w
	for {
		st, err := sessions.AcceptStream(context.Background())
		if ctx.Err() != nil && err != nil {
			drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
			defer cancel()
			return sessions.Shutdown(drain) // waits for the open streams
		} else if err != nil {
			return err
		}
		collecting.Go(func() { collectOne(st, &mu, w) })
	}
}

// collectOne writes the report of one stream to w.
func collectOne(st *stream.Stream, mu *sync.Mutex, w io.Writer) {
	defer st.Close()
	report, err := io.ReadAll(st)
	if err != nil {
		log.Printf("a report from %v is not complete: %v", st.RemoteAddr(), err)
		return
	}
	mu.Lock()
	defer mu.Unlock()
	w.Write(report)
}
