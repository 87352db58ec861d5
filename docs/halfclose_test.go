package docs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// The two ways of docs/half-close.md to end a request get its answer. With NoHalfClose, the first one fails and says why.
func TestGuideHalfClose(t *testing.T) {
	testutil.LeakCheck(t)
	const request = "what is the time?"
	client, server := sessions(t, nil)
	go func() { _ = serveHalfClose(accept(t, server)) }()
	answer, err := askByHalfClose(open(t, client), strings.NewReader(request))
	if string(answer) != strings.ToUpper(request) || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}

	client, server = sessions(t, &session.Config{NoHalfClose: true})
	go func() { serveLength(accept(t, server)) }()
	answer, err = askByLength(open(t, client), []byte(request))
	if string(answer) != strings.ToUpper(request) || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	_, err = askByHalfClose(open(t, client), strings.NewReader(request))
	testutil.WantErr(t, "CloseWrite with NoHalfClose", err, errors.ErrUnsupported)
}

// net/http marks the ends of requests and answers itself: it works where no side can half-close.
func TestHTTPNeedsNoHalfClose(t *testing.T) {
	testutil.LeakCheck(t)
	c, s := sessions(t, &session.Config{NoHalfClose: true})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	served := testutil.BackgroundErr(func() error { return server.Serve(s.Listener()) })
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.OpenStream(ctx) },
	}}
	const size = 1 << 20
	data := testutil.Pattern(1)
	resp, err := client.Post("http://server/", "", bytes.NewReader(data.Bytes(size)))
	if err != nil {
		t.Fatal(err)
	}
	testutil.WantErr(t, "the answer", data.Receive(resp.Body, size), nil)
	testutil.WantErr(t, "Body.Close", resp.Body.Close(), nil)
	testutil.WantErr(t, "server.Close", server.Close(), nil)
	testutil.WantErr(t, "Serve", (<-served).Err, http.ErrServerClosed)
}

func askByHalfClose(st *stream.Stream, request io.Reader) ([]byte, error) {
	defer st.Close()
	if _, err := io.Copy(st, request); err != nil {
		return nil, err
	}
	if err := st.CloseWrite(); err != nil {
		return nil, err // errors.ErrUnsupported: Config.NoHalfClose is set
	}
	return io.ReadAll(st)
}

func serveHalfClose(st *stream.Stream) error {
	defer st.Close()
	request, err := io.ReadAll(st)
	if err != nil {
		return err // not the whole request: the client or the connection has ended
	}
	_, err = st.Write(answer(request))
	return err
}

func askByLength(st *stream.Stream, request []byte) ([]byte, error) {
	defer st.Close()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(request)))
	if _, err := st.Write(append(head, request...)); err != nil {
		return nil, err
	}
	return io.ReadAll(st) // the peer closes the stream behind its answer
}

// serveLength answers a request of askByLength.
func serveLength(st *stream.Stream) {
	defer st.Close()
	var head [4]byte
	if _, err := io.ReadFull(st, head[:]); err != nil {
		return
	}
	request, err := io.ReadAll(io.LimitReader(st, int64(binary.BigEndian.Uint32(head[:]))))
	if err == nil {
		_, _ = st.Write(answer(request))
	}
}

func answer(request []byte) []byte { return []byte(strings.ToUpper(string(request))) }

// sessions returns the two ends of a session over a net.Pipe, which end with the test.
func sessions(t *testing.T, cfg *session.Config) (client, server *session.Session) {
	t.Helper()
	a, b := net.Pipe()
	return sessionsOver(t, a, b, cfg)
}

// sessionsOver returns the two ends of a session, which end with the test.
func sessionsOver(t *testing.T, a, b net.Conn, cfg *session.Config) (client, server *session.Session) {
	t.Helper()
	client, err := session.Client(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.CloseNow() })
	server, err = session.Server(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.CloseNow() })
	return client, server
}

// open opens a stream.
func open(t *testing.T, s *session.Session) *stream.Stream {
	t.Helper()
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// accept accepts a stream. It may be called in any goroutine.
func accept(t *testing.T, s *session.Session) *stream.Stream {
	t.Helper()
	st, err := s.AcceptStream(context.Background())
	if err != nil {
		t.Error(err)
		panic("no stream")
	}
	return st
}
