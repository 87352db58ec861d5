// Tunnel makes a server behind a NAT reachable: an agent next to the server dials the relay, and the relay passes
// the connections of its public port on to an agent.
//
//	go run ./examples/tunnel -agents :7000 -public :8080                       (the relay)
//	go run ./examples/tunnel -relay relay.example:7000 -target 127.0.0.1:80    (an agent)
//
// Agents connect again when the relay was away. To replace one, start another, and stop the first with Ctrl-C: it takes
// no more connections, and ends when those that it has are done. Nothing is encrypted or authenticated: use TLS and
// OnSession before it leaves your machine.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// timeout is how long an agent dials its target, and Ctrl-C waits for open connections.
const timeout = 10 * time.Second

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Tunnel makes a server behind a NAT reachable, through agents next to the server.

    tunnel -agents :7000 -public :8080                          the relay
    tunnel -relay relay.example:7000 -target 127.0.0.1:80       an agent

Ctrl-C ends either of them, once its connections are done or 10 s have passed.

`

// run runs the program until ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	agents := flags.String("agents", "", "relay: `address` where agents connect")
	public := flags.String("public", "", "relay: `address` of the public port")
	via := flags.String("relay", "", "agent: `address` of the relay")
	target := flags.String("target", "", "agent: `address` of the server")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	isRelay, isAgent := *agents != "" && *public != "", *via != "" && *target != ""
	if isRelay == isAgent || flags.NFlag() != 2 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "tunnel: give either -agents and -public, or -relay and -target")
		return 2
	}
	var err error
	if isAgent {
		fmt.Fprintf(stdout, "passing connections of %s to %s, Ctrl-C ends\n", *via, *target)
		err = agent(ctx, *via, *target)
	} else {
		err = listen(ctx, *agents, *public, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "tunnel:", err)
		return 1
	}
	return 0
}

// listen begins to listen for agents and for the public, and serves them.
func listen(ctx context.Context, agents, public string, stdout io.Writer) error {
	l, err := net.Listen("tcp", agents)
	if err != nil {
		return err
	}
	p, err := net.Listen("tcp", public)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "passing connections of %v to the agents that connect to %v, Ctrl-C ends\n", p.Addr(), l.Addr())
	return serve(ctx, l, p)
}

// serve is the relay: it passes each connection that public accepts on to one of the agents that l accepts. When
// ctx ends, it drains.
func serve(ctx context.Context, l, public net.Listener) error {
	agents := &session.Listener{Listener: l, OnError: func(err error) { log.Print(err) }}
	go agents.Accept() // starts it; agents open no streams, so it returns when the relay ends
	context.AfterFunc(ctx, func() { public.Close() })
	var joined sync.WaitGroup
	var err error
	for {
		var conn net.Conn
		if conn, err = public.Accept(); err != nil {
			break
		}
		joined.Go(func() {
			st, err := open(ctx, agents)
			if err != nil {
				log.Printf("%v: %v", conn.RemoteAddr(), err)
				conn.Close()
				return
			}
			relay.Join(context.Background(), conn, st, nil)
		})
	}
	if ctx.Err() != nil {
		err = nil // that is why public was closed
	}
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err = errors.Join(err, agents.Shutdown(drain))
	agents.CloseNow() // ends what has not ended by then
	joined.Wait()
	return err
}

// open opens a stream to the agent with the fewest. It goes to the next one if an agent drains.
func open(ctx context.Context, agents *session.Listener) (net.Conn, error) {
	fewest := func(a, b *session.Session) int { return cmp.Compare(a.NumStreams(), b.NumStreams()) }
	for _, s := range slices.SortedFunc(agents.Sessions(), fewest) {
		if st, err := s.OpenStream(ctx); err == nil {
			return st, nil
		}
	}
	return nil, errors.New("there is no agent")
}

// agent passes the streams that the relay opens on to target. It keeps a session with the relay up. When ctx ends,
// it drains.
func agent(ctx context.Context, via, target string) error {
	d := &session.Dialer{Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", via)
	}}
	defer d.Close()
	for ctx.Err() == nil {
		s, err := d.Session(ctx) // dials, as often as it takes
		if err != nil {
			if ctx.Err() == nil {
				log.Print(err)
			}
			continue
		}
		go func() {
			for st, err := s.Accept(); err == nil; st, err = s.Accept() {
				go join(st, target)
			}
		}()
		select {
		case <-s.Draining(): // the relay stops; its streams go on
		case <-s.Done():
		case <-ctx.Done():
		}
	}
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.Shutdown(drain) // the relay opens no more streams, and those that are open go on
}

// join joins a stream with a connection to target.
func join(st net.Conn, target string) {
	conn, err := net.DialTimeout("tcp", target, timeout)
	if err != nil {
		log.Print(err)
		st.Close()
		return
	}
	relay.Join(context.Background(), st, conn, nil)
}
