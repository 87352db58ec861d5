// Grpc runs gRPC over few connections: a server on a session.Listener, and a client on a session.Dialer. The service is
// gRPC's own health check.
//
//	export GOWORK=$PWD/.ci/go.work # in a clone: the module has no replace line
//	cd examples/grpc
//	go run . -listen 127.0.0.1:7000
//	go run . -connect 127.0.0.1:7000 -calls 1000
//
// Ctrl-C stops the server gracefully: it ends the calls that it has got. The client's calls wait until the server is
// back.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/smuxkit/smuxkit/session"
)

func main() {
	// The first Ctrl-C or SIGTERM ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Grpc runs gRPC over few connections. The service is gRPC's own health check.

    grpc -listen 127.0.0.1:7000
    grpc -connect 127.0.0.1:7000 -calls 1000

Ctrl-C stops the server: it ends the calls that it has got, for at most 10 s.

`

// run runs the program until it is done, or ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "", "serve on this `address`")
	connect := flags.String("connect", "", "call the server at this `address`")
	calls := flags.Int("calls", 100, "make this `number` of calls")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	var err error
	switch {
	case (*listen == "") == (*connect == "") || flags.NArg() > 0:
		fmt.Fprintln(stderr, "grpc: give either -listen or -connect")
		return 2
	case *listen != "":
		var l net.Listener
		if l, err = net.Listen("tcp", *listen); err == nil {
			fmt.Fprintf(stdout, "serving on %v, Ctrl-C stops\n", l.Addr())
			err = serve(ctx, l)
		}
	default:
		fmt.Fprintf(stdout, "making %d calls to %s\n", *calls, *connect)
		var answered int
		answered, err = call(ctx, *connect, *calls)
		fmt.Fprintf(stdout, "%d of %d calls were answered\n", answered, *calls)
	}
	if err != nil {
		fmt.Fprintln(stderr, "grpc:", err)
		return 1
	}
	return 0
}

// serve serves the streams of all connections that l accepts, until ctx ends. Then it stops gracefully.
func serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	streams := &session.Listener{Listener: l}
	defer streams.CloseNow()
	stop := context.AfterFunc(ctx, func() {
		defer time.AfterFunc(drainTimeout, server.Stop).Stop()
		server.GracefulStop() // tells clients to go, and waits for the calls in flight
	})
	defer stop()
	return server.Serve(streams) // returns when GracefulStop is done
}

// drainTimeout is how long a stop waits for the calls in flight.
const drainTimeout = 10 * time.Second

// call makes n calls to the server at address, and returns how many were answered. It ends early with ctx.
func call(ctx context.Context, address string, n int) (answered int, err error) {
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		FailFast: true, // gRPC tries again by itself
	}
	defer d.Close()
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	for ; answered < n; answered++ {
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil {
			return answered, err
		}
	}
	return answered, nil
}
