package docs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// The server and the client of docs/production.md serve a client with a certificate, and turn one away that has none.
func TestGuideProduction(t *testing.T) {
	testutil.LeakCheck(t)
	ca := httptest.NewUnstartedServer(nil) // for its certificate
	ca.StartTLS()
	ca.Close()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	serverTLS := &tls.Config{
		Certificates: ca.TLS.Certificates,
		ClientAuth:   tls.RequireAnyClientCert, // a server of your own: tls.RequireAndVerifyClientCert, and ClientCAs
	}
	clientTLS := &tls.Config{RootCAs: pool, ServerName: "example.com", Certificates: ca.TLS.Certificates}

	authorize := func(c *x509.Certificate) error {
		if !c.Equal(ca.Certificate()) {
			return errors.New("an unknown peer")
		}
		return nil
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	tcp := listen(t)
	l := productionListener(tcp, serverTLS, authorize, logger)
	server := &http.Server{Handler: hello}
	served := testutil.BackgroundErr(func() error { return server.Serve(l) })

	d := productionDialer(tcp.Addr().String(), clientTLS)
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	defer d.Close()
	wantHello(t, client)

	stranger := productionDialer(tcp.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "example.com"})
	stranger.FailFast = true
	defer stranger.Close()
	if _, err := stranger.OpenStream(context.Background()); err == nil {
		t.Error("a client without a certificate gets a session")
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	gracefulStop(ctx, server, l)
	wantServed(t, (<-served).Err)
}

func productionListener(tcp net.Listener, serverTLS *tls.Config, authorize func(*x509.Certificate) error, logger *slog.Logger) *session.Listener {
	l := &session.Listener{
		Listener:    tls.NewListener(tcp, serverTLS),
		MaxSessions: 10_000,
		OnSession: func(ctx context.Context, s *session.Session) error {
			return authorize(s.Transport().(*tls.Conn).ConnectionState().PeerCertificates[0])
		},
		OnError: func(err error) { logger.Warn("a connection became no session", "err", err) },
		Config: &session.Config{
			MaxStreams:        100,                              // of each client
			Budget:            flow.NewBudget(256 << 20),        // unread data, all sessions together
			SendBudget:        flow.NewBudget(64 << 20),         // unsent data, all sessions together
			StallTimeout:      30 * time.Second,                 // for a stream that nobody reads and that stops others
			WriteTimeout:      time.Minute,                      // for a connection that takes nothing
			StreamIdleTimeout: 10 * time.Minute,                 // longer than a stream in use may be quiet
			KeepAlive:         keepalive.Periodic{Strict: true}, // all clients are smuxkits
			Trace:             session.LogTrace(logger),
		},
	}
	return l
}

func productionDialer(addr string, clientTLS *tls.Config) *session.Dialer {
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			dialer := tls.Dialer{Config: clientTLS}
			return dialer.DialContext(ctx, "tcp", addr)
		},
		OnSession: func(ctx context.Context, s *session.Session) error {
			_, err := s.Ping(ctx) // the server has accepted the connection, and our certificate
			return err
		},
		MaxAge: time.Hour, // so that sessions move to servers that were added
	}
	return d
}
