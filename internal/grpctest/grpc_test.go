package grpctest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/smuxkit/smuxkit/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A closeNoter is a net.Listener that reports when it is closed.
type closeNoter struct {
	net.Listener
	closed chan struct{}
	once   sync.Once
}

func (l *closeNoter) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A fixture is a gRPC server over one end of a session, and clients over the other.
type fixture struct {
	service  *service
	server   *grpc.Server
	listener *closeNoter
	accepter *session.Session // the server's
	clients  []*grpc.ClientConn
}

// start starts a fixture whose clients have one stream each.
func start(t *testing.T, dialed, accepted *session.Session, clients int) *fixture {
	t.Helper()
	f := &fixture{
		service:  newService(),
		server:   grpc.NewServer(),
		listener: &closeNoter{Listener: accepted.Listener(), closed: make(chan struct{})},
		accepter: accepted,
	}
	f.server.RegisterService(&serviceDesc, f.service)
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.listener) }()
	t.Cleanup(func() {
		f.server.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	for range clients {
		c, err := grpc.NewClient("passthrough:///session", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dialed.OpenStream(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		f.clients = append(f.clients, c)
	}
	return f
}

// sessions runs test in both versions, with the server at either end of the session.
func sessions(t *testing.T, test func(t *testing.T, dialed, accepted *session.Session)) {
	for version := 1; version <= 2; version++ {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprintf("v%d/reverse=%v", version, reverse), func(t *testing.T) {
				a, b := tcpPair(t)
				c, err := session.Client(a, &session.Config{Version: version})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				s, err := session.Server(b, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if reverse {
					c, s = s, c
				}
				t.Run("calls", func(t *testing.T) { test(t, c, s) }) // its cleanups run before the sessions'
			})
		}
	}
}

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// deadline returns a context that ends long after these tests should have ended.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Unary calls and calls with streams work over a session as over any connection.
func TestCallsOfAllKindsRunOverASession(t *testing.T) {
	sessions(t, func(t *testing.T, dialed, accepted *session.Session) {
		ctx := deadline(t)
		f := start(t, dialed, accepted, 3)
		close(f.service.release)
		go func() {
			for range f.service.begun {
			}
		}()
		defer close(f.service.begun)
		var calls sync.WaitGroup
		for i, c := range f.clients {
			calls.Go(func() {
				for _, text := range []string{"", "hello", string(make([]byte, 1<<20))} {
					if got, err := call(ctx, c, "Echo", text); got != text || err != nil {
						t.Errorf("client %d: Echo of %d bytes returned %d, %v", i, len(text), len(got), err)
					}
				}
			})
			calls.Go(func() {
				if n, err := count(ctx, c); n != countTo || err != nil {
					t.Errorf("client %d: Count returned %d values, %v", i, n, err)
				}
			})
			calls.Go(func() {
				chat, err := c.NewStream(ctx, &serviceDesc.Streams[1], "/grpctest/Chat")
				if err != nil {
					t.Error(err)
					return
				}
				for n := range 50 {
					want, got := wrapperspb.String(fmt.Sprint(n)), new(wrapperspb.StringValue)
					if err := chat.SendMsg(want); err != nil {
						t.Error(err)
					}
					if err := chat.RecvMsg(got); err != nil || got.GetValue() != want.GetValue() {
						t.Errorf("client %d: Chat returned %q, %v", i, got.GetValue(), err)
						return
					}
				}
				if err := chat.CloseSend(); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
	})
}

// GracefulStop waits for the calls in flight, which all end normally. Later calls are refused. The session goes
// on, and Shutdown closes it.
func TestGracefulStopCutsNoCall(t *testing.T) {
	for _, clients := range []int{1, 10} {
		t.Run(fmt.Sprintf("%d streams", clients), func(t *testing.T) {
			sessions(t, func(t *testing.T, dialed, accepted *session.Session) {
				const each = 5 // calls of both kinds by each client
				ctx := deadline(t)
				f := start(t, dialed, accepted, clients)
				var calls sync.WaitGroup
				for i, c := range f.clients {
					for range each {
						calls.Go(func() {
							if got, err := call(ctx, c, "Wait", "hello"); got != "hello" || err != nil {
								t.Errorf("client %d: Wait returned %q, %v", i, got, err)
							}
						})
						calls.Go(func() {
							if n, err := count(ctx, c); n != countTo || err != nil {
								t.Errorf("client %d: Count returned %d of %d values, %v", i, n, countTo, err)
							}
						})
					}
				}
				for range 2 * each * clients {
					<-f.service.begun
				}
				stopped := make(chan struct{})
				go func() {
					f.server.GracefulStop()
					close(stopped)
				}()
				<-f.listener.closed
				if _, err := f.listener.Accept(); err == nil {
					t.Error("Accept has a stream after GracefulStop")
				}
				close(f.service.release)
				calls.Wait()
				<-stopped
				if _, err := call(ctx, f.clients[0], "Echo", "hello"); status.Code(err) != codes.Unavailable {
					t.Errorf("Echo after GracefulStop: %v, want Unavailable", err)
				}
				if err := accepted.Err(); err != nil {
					t.Errorf("the session has ended: %v", err)
				}
				for _, c := range f.clients {
					_ = c.Close()
				}
				if err := accepted.Shutdown(ctx); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		})
	}
}
