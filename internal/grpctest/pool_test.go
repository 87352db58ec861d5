package grpctest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/smuxkit/smuxkit/session"
)

// A poolServer is a gRPC server over a session.Listener.
type poolServer struct {
	service  *service
	server   *grpc.Server
	listener *session.Listener
	noter    *closeNoter // before listener
	address  string
	served   chan error
}

// newPoolServer starts a server.
func newPoolServer(t *testing.T) *poolServer {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &poolServer{
		service:  newService(),
		server:   grpc.NewServer(),
		listener: &session.Listener{Listener: tcp},
		address:  tcp.Addr().String(),
		served:   make(chan error, 1),
	}
	p.server.RegisterService(&serviceDesc, p.service)
	p.noter = &closeNoter{Listener: p.listener, closed: make(chan struct{})}
	go func() { p.served <- p.server.Serve(p.noter) }()
	return p
}

// stop stops the server gracefully, and closes the sessions.
func (p *poolServer) stop(t *testing.T) {
	p.server.GracefulStop()
	if err := <-p.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := p.listener.CloseNow(); err != nil {
		t.Errorf("CloseNow: %v", err)
	}
}

// dialPool returns a gRPC client over a Dialer of the server whose address is in address.
func dialPool(t *testing.T, d *session.Dialer, address *atomic.Pointer[string]) *grpc.ClientConn {
	t.Helper()
	d.FailFast = true // gRPC tries again by itself
	d.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", *address.Load())
	}
	c, err := grpc.NewClient("passthrough:///pool", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// GracefulStop of a server on a session.Listener waits for the calls in flight, on all sessions, which all end normally.
func TestPoolGracefulStopCutsNoCall(t *testing.T) {
	const clients, each = 5, 4
	ctx := deadline(t)
	p := newPoolServer(t)
	var address atomic.Pointer[string]
	address.Store(&p.address)
	var calls, begun sync.WaitGroup
	begun.Add(clients * each)
	go func() {
		for range p.service.begun {
			begun.Done()
		}
	}()
	for i := range clients {
		d := new(session.Dialer)
		defer d.Close()
		c := dialPool(t, d, &address)
		defer c.Close()
		for range each {
			calls.Go(func() {
				if got, err := call(ctx, c, "Wait", "hello"); got != "hello" || err != nil {
					t.Errorf("client %d: Wait returned %q, %v", i, got, err)
				}
			})
		}
	}
	begun.Wait()
	close(p.service.begun)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.stop(t)
	}()
	<-p.noter.closed // the stop is under way
	close(p.service.release)
	calls.Wait()
	<-stopped
}

// In rolling restarts under load no call fails. Each of several clients has a Dialer of its own, and calls wait until
// their client is ready.
func TestPoolLosesNoCallInRollingRestarts(t *testing.T) {
	const clients = 4
	restarts := 20
	if testing.Short() {
		restarts = 5
	}
	ctx := deadline(t)
	var address atomic.Pointer[string]
	p := newPoolServer(t)
	address.Store(&p.address)
	answered, stop := make(chan struct{}), make(chan struct{})
	var load, stopping sync.WaitGroup
	var count atomic.Int64
	for i := range clients {
		d := new(session.Dialer)
		defer d.Close()
		c := dialPool(t, d, &address)
		defer c.Close()
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := call(ctx, c, "Echo", "hello", grpc.WaitForReady(true)); got != "hello" || err != nil {
					t.Errorf("client %d: Echo returned %q, %v", i, got, err)
				}
				count.Add(1)
				select {
				case answered <- struct{}{}:
				default: // nobody waits for it
				}
			}
		})
	}
	for range restarts {
		for range 20 {
			<-answered
		}
		old := p
		p = newPoolServer(t)
		address.Store(&p.address)
		stopping.Go(func() { old.stop(t) })
	}
	close(stop)
	load.Wait()
	p.stop(t)
	stopping.Wait()
	t.Logf("%d restarts, %d calls", restarts, count.Load())
}
