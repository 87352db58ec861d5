package grpctest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/smuxkit/smuxkit/session"
)

// The code of docs/grpc.md.

// belowCredentials tell gRPC what TLS below the session knows of the peer.
type belowCredentials struct{}

func (belowCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s, ok := session.From(conn)
	if !ok {
		return nil, nil, errors.New("not a stream of a session")
	}
	below, ok := s.Transport().(*tls.Conn)
	if !ok {
		return nil, nil, errors.New("no TLS below the session")
	}
	secure := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return conn, credentials.TLSInfo{State: below.ConnectionState(), CommonAuthInfo: secure}, nil
}

func (c belowCredentials) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.ServerHandshake(conn)
}

func (belowCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (c belowCredentials) Clone() credentials.TransportCredentials { return c }
func (belowCredentials) OverrideServerName(string) error           { return nil }

// callerOf returns the certificate of the caller, in a handler.
func callerOf(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.Unauthenticated, "no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return "", status.Error(codes.Unauthenticated, "no certificate")
	}
	return info.State.PeerCertificates[0].SerialNumber.String(), nil
}

// token are call credentials that demand a secure transport.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}
func (token) RequireTransportSecurity() bool { return true }

// With the credentials of docs/grpc.md, a handler sees the certificate of TLS below the session, and a call may carry a
// token that needs a secure transport. A session without TLS has no calls.
func TestGuideGRPCCredentials(t *testing.T) {
	test := httptest.NewTLSServer(nil) // for its certificate
	test.Close()
	for _, secure := range []bool{true, false} {
		server := grpc.NewServer(grpc.Creds(belowCredentials{}))
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: "guide",
			HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{MethodName: "Who", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				if err := decode(new(wrapperspb.StringValue)); err != nil {
					return nil, err
				}
				who, err := callerOf(ctx)
				return wrapperspb.String(who), err
			}}},
		}, nil)
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		transports := net.Listener(tcp)
		if secure {
			transports = tls.NewListener(tcp, &tls.Config{Certificates: test.TLS.Certificates, ClientAuth: tls.RequestClientCert})
		}
		l := &session.Listener{Listener: transports}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		d := &session.Dialer{
			FailFast: true,
			Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
				if !secure {
					return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
				}
				dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: test.TLS.Certificates}}
				return dialer.DialContext(ctx, "tcp", tcp.Addr().String())
			},
		}
		conn, err := grpc.NewClient("passthrough:///server",
			grpc.WithTransportCredentials(belowCredentials{}),
			grpc.WithPerRPCCredentials(token("sesame")),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				return d.DialContext(ctx, "tcp", addr)
			}))
		if err != nil {
			t.Fatal(err)
		}
		ctx := deadline(t)
		out := new(wrapperspb.StringValue)
		err = conn.Invoke(ctx, "/guide/Who", wrapperspb.String(""), out)
		switch want := test.Certificate().SerialNumber.String(); {
		case secure && (err != nil || out.GetValue() != want):
			t.Errorf("the caller is %q, %v, want %s", out.GetValue(), err, want)
		case !secure && status.Code(err) != codes.Unavailable:
			t.Errorf("without TLS: %v", err)
		}
		_ = conn.Close()
		_ = d.Close()
		server.Stop()
		<-served
		_ = l.CloseNow()
	}
}

// serveAgent is the agent of docs/grpc.md: it dials, and its server answers the calls that come over its sessions.
func serveAgent(ctx context.Context, d *session.Dialer, server *grpc.Server) error {
	for {
		s, err := d.Session(ctx)
		if err != nil {
			return err
		}
		go server.Serve(s.Listener())
		select {
		case <-s.Done():
		case <-s.Draining(): // the calls in flight go on
		}
	}
}

// callAgent returns a client of the agent that has dialed the session.
func callAgent(s *session.Session) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///agent",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return s.OpenStream(ctx)
		}))
}

// Calls go to the agent that has dialed, also after the center was replaced.
func TestGuideGRPCAgent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	agent := grpc.NewServer()
	agent.RegisterService(&serviceDesc, newService())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := tcp.Addr().String()
	d := &session.Dialer{Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- serveAgent(serving, d, agent) }()
	for restart := range 3 {
		if restart > 0 {
			if tcp, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
		}
		sessions := make(chan *session.Session, 1)
		l := &session.Listener{Listener: tcp, OnSession: func(_ context.Context, s *session.Session) error {
			sessions <- s
			return nil
		}}
		accepted := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		conn, err := callAgent(<-sessions)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := call(ctx, conn, "Echo", "hello"); got != "hello" || err != nil {
			t.Errorf("Echo returned %q, %v", got, err)
		}
		_ = conn.Close()
		_ = l.Shutdown(ctx)
		<-accepted
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("serveAgent: %v", err)
	}
	_ = d.Close()
	agent.Stop()
}
