// Web is an HTTP server and a client that makes many requests over few connections:
//
//	go run ./examples/web -listen 127.0.0.1:7000
//	go run ./examples/web -connect 127.0.0.1:7000 -requests 1000
//
// Ctrl-C stops the server gracefully: it answers the requests that it has got. The client dials again when
// the server is back, and loses no request, unless the server is away for more than 30 s (Dialer.WaitTimeout).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Web is an HTTP server, and a client that makes many requests over few connections.

    web -listen 127.0.0.1:7000
    web -connect 127.0.0.1:7000 -requests 1000

Ctrl-C stops the server: it answers the requests that it has got, for at most 10 s.

`

// run runs the program until it is done, or ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("web", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "", "serve on this `address`")
	connect := flags.String("connect", "", "make requests to the server at this `address`")
	requests := flags.Int("requests", 100, "make this `number` of requests")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	var err error
	switch {
	case (*listen == "") == (*connect == "") || flags.NArg() > 0:
		fmt.Fprintln(stderr, "web: give either -listen or -connect")
		return 2
	case *listen != "":
		var l net.Listener
		if l, err = net.Listen("tcp", *listen); err == nil {
			fmt.Fprintf(stdout, "serving on %v, Ctrl-C stops\n", l.Addr())
			err = serve(ctx, l)
		}
	default:
		fmt.Fprintf(stdout, "making %d requests to %s\n", *requests, *connect)
		var answered int
		answered, err = get(ctx, *connect, *requests)
		fmt.Fprintf(stdout, "%d of %d requests were answered\n", answered, *requests)
	}
	if err != nil {
		fmt.Fprintln(stderr, "web:", err)
		return 1
	}
	return 0
}

// drainTimeout is how long a stop waits for the requests in flight.
const drainTimeout = 10 * time.Second

// serve answers requests on the streams of all connections that l accepts, until ctx ends. Then it stops
// gracefully.
func serve(ctx context.Context, l net.Listener) error {
	streams := &session.Listener{Listener: l}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(streams) }()
	select {
	case err := <-served: // l has failed
		return errors.Join(err, server.Close(), streams.CloseNow())
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	server.SetKeepAlivesEnabled(false) // idle connections are closed, and the others after their answers
	_ = streams.Shutdown(drain)        // clients open no more streams; those that are open are answered
	err := server.Shutdown(drain)      // what is left
	_ = streams.CloseNow()
	<-served
	return err
}

// get makes n requests to the server at address, up to 20 at a time, and returns how many were answered. It
// ends early with ctx.
func get(ctx context.Context, address string, n int) (answered int, err error) {
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		// The server's session must run before a request is sent: a connection may wait in the system's queue when
		// the server stops.
		OnSession: func(ctx context.Context, s *session.Session) error {
			_, err := s.Ping(ctx)
			return err
		},
	}
	defer d.Close()
	// A stream for each request costs little, and a server that stops cannot close it before the request.
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	var mu sync.Mutex
	var all sync.WaitGroup
	atOnce := make(chan struct{}, 20)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		atOnce <- struct{}{}
		all.Go(func() {
			rerr := request(ctx, client, fmt.Sprint("/", i))
			mu.Lock()
			defer mu.Unlock()
			if rerr == nil {
				answered++
			} else {
				err = rerr
			}
			<-atOnce
		})
	}
	all.Wait()
	return answered, err
}

// request makes a request and checks the answer.
func request(ctx context.Context, client *http.Client, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "you asked for "+path {
		err = fmt.Errorf("the answer to %s is %q", path, body)
	}
	return err
}
