package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
)

// On js/wasm, the runtime has a goroutine of its own for events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// eachVersion runs test in a bubble for both versions.
func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				testutil.LeakCheck(t)
				test(t, version)
			})
		})
	}
}

// sessions returns two connected sessions.
func sessions(t testing.TB, cfg session.Config) (c, s *session.Session) {
	t.Helper()
	return sessionsOver(t, simnet.Link{}, cfg)
}

func sessionsOver(t testing.TB, link simnet.Link, cfg session.Config) (c, s *session.Session) {
	t.Helper()
	ca, cb := testutil.SimPair(t, link)
	for _, end := range []struct {
		s     **session.Session
		conn  io.ReadWriteCloser
		start func(io.ReadWriteCloser, *session.Config) (*session.Session, error)
	}{{&c, ca, session.Client}, {&s, cb, session.Server}} {
		var err error
		if *end.s, err = end.start(end.conn, &cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			end.conn.Close()
			(*end.s).Close()
		})
	}
	return c, s
}

// serve has m serve the streams that c opens. The test ends when Serve has.
func serve(t testing.TB, m *service.Mux, cfg session.Config) (c, s *session.Session) {
	t.Helper()
	served := make(chan error, 1)
	t.Cleanup(func() { <-served })
	c, s = sessions(t, cfg)
	go func() { served <- m.Serve(context.Background(), s) }()
	return c, s
}

func open(t testing.TB, o service.Opener, name string, metadata map[string]string) *service.Stream {
	t.Helper()
	st, err := service.Open(t.Context(), o, name, metadata)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// pair returns the two ends of a stream for a service.
func pair(t testing.TB, cfg session.Config) (opened, accepted *service.Stream) {
	t.Helper()
	m := new(service.Mux)
	got, ended := make(chan *service.Stream), make(chan struct{})
	m.Handle("pair", func(st *service.Stream) {
		got <- st
		<-ended
	})
	t.Cleanup(func() { close(ended) })
	c, _ := serve(t, m, cfg)
	opened = open(t, c, "pair", nil)
	return opened, <-got
}

// rawStream returns a stream of which the test plays the side that serves.
func rawStream(t testing.TB, cfg session.Config) (opened *service.Stream, raw *stream.Stream) {
	t.Helper()
	c, s := sessions(t, cfg)
	opened = open(t, c, "x", nil)
	raw, err := s.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, raw, "\xd1\x03\x00\x01x\x00")
	return opened, raw
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if _, err := io.ReadFull(r, p); err != nil || string(p) != want {
		t.Fatalf("read %q, %v, want %q", p, err, want)
	}
}

// wantRefused checks that err is a refusal with that code and text.
func wantRefused(t testing.TB, what string, err error, code service.Code, text string) {
	t.Helper()
	var refused *service.RefusedError
	if !errors.As(err, &refused) || refused.Code != code || refused.Text != text {
		t.Errorf("%s: %v, want that it was refused: %v, %q", what, err, code, text)
	}
}

func second[T any](_ T, err error) error { return err }
