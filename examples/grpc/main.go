// Grpc runs gRPC over few connections: a server on a session.Listener, and a client on a session.Dialer. The service is
// gRPC's own health check.
//
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/smuxkit/smuxkit/session"
)

func main() {
	// The first Ctrl-C ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

// run runs the program until it is done, or ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "", "serve on this `address`")
	connect := flags.String("connect", "", "call the server at this `address`")
	calls := flags.Int("calls", 100, "make this `number` of calls")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case (*listen == "") == (*connect == "") || flags.NArg() > 0:
		return errors.New("give either -listen or -connect")
	case *connect != "":
		answered, err := call(ctx, *connect, *calls)
		fmt.Fprintf(stdout, "%d of %d calls were answered\n", answered, *calls)
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "serving on %v, Ctrl-C stops\n", l.Addr())
	return serve(ctx, l)
}

// serve serves the streams of all connections that l accepts, until ctx ends. Then it stops gracefully.
func serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	streams := &session.Listener{Listener: l}
	defer streams.CloseNow()
	stop := context.AfterFunc(ctx, server.GracefulStop) // tells clients to go, and waits for the calls in flight
	defer stop()
	return server.Serve(streams) // returns when GracefulStop is done
}

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
