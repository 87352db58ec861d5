package session_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// net/http over the streams of a session, with Session.Listener.

// A webTest is an HTTP server over one end of a session, and a client over the other.
type webTest struct {
	server   *http.Server
	serving  <-chan error     // what Serve returns
	accepter *session.Session // the server's
	client   *http.Client
}

// protocols are those that a web test speaks: HTTP/1.1, or HTTP/2 without TLS.
var protocols = []string{"http1", "h2c"}

// startWeb starts a webTest on the two ends of a session.
func startWeb(t testing.TB, from, to *session.Session, protocol string, handler http.HandlerFunc) *webTest {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(protocol == "http1")
	p.SetUnencryptedHTTP2(protocol == "h2c")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return from.OpenStream(ctx) },
		Protocols:   &p,
	}
	w := &webTest{
		server:   &http.Server{Handler: handler, Protocols: &p},
		accepter: to,
		client:   &http.Client{Transport: transport},
	}
	serving := make(chan error, 1)
	w.serving = serving
	go func() {
		defer close(serving)
		serving <- w.server.Serve(to.Listener())
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = w.server.Close()
		for range serving { // until it is closed
		}
	})
	return w
}

// overWeb runs test for each protocol and version, in a bubble. HTTP/2 needs Go 1.26 for that: the net/http of
// Go 1.25 uses a channel of one bubble in another.
func overWeb(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, w *webTest)) {
	t.Helper()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			if protocol == "h2c" && strings.HasPrefix(runtime.Version(), "go1.25") {
				t.Skip("net/http of Go 1.25 cannot do HTTP/2 in more than one bubble")
			}
			eachVersion(t, func(t *testing.T, version int) {
				c, s := sessionsOver(t, simnet.Link{}, &session.Config{Version: version}, nil)
				test(t, startWeb(t, c, s, protocol, handler))
			})
		})
	}
}

// get makes a request and returns its answer.
func (w *webTest) get(path string) (string, error) {
	r, err := w.client.Get("http://anything" + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// slowly answers with ten lines, one a second.
func slowly(w http.ResponseWriter, r *http.Request) {
	for n := range 10 {
		fmt.Fprintln(w, n, r.URL.Path)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Second)
	}
}

// slowAnswer is what slowly answers.
func slowAnswer(path string) string {
	var b strings.Builder
	for n := range 10 {
		fmt.Fprintln(&b, n, path)
	}
	return b.String()
}

// http.Server.Shutdown waits for the answers in flight, which all arrive whole, and closes idle connections at
// once. The session goes on.
func TestListenerCloseInHTTPShutdownCutsNoAnswer(t *testing.T) {
	for _, requests := range []int{0, 1, 40} {
		t.Run(fmt.Sprintf("%d requests", requests), func(t *testing.T) {
			overWeb(t, slowly, func(t *testing.T, w *webTest) {
				if got, err := w.get("/before"); got != slowAnswer("/before") || err != nil {
					t.Errorf("before Shutdown: %q, %v", got, err)
				} // which leaves an idle connection
				var answers []<-chan testutil.Result[string]
				for n := range requests {
					answers = append(answers, testutil.Background(func() (string, error) { return w.get(fmt.Sprint("/", n)) }))
				}
				time.Sleep(5500 * time.Millisecond)
				elapsed := testutil.Clock()
				down := testutil.Background(func() (struct{}, error) {
					return struct{}{}, w.server.Shutdown(context.Background())
				})
				testutil.WantErr(t, "Serve", <-w.serving, http.ErrServerClosed)
				for n, answer := range answers {
					if r := <-answer; r.Err != nil || r.Value != slowAnswer(fmt.Sprint("/", n)) {
						t.Errorf("answer %d: %q, %v", n, r.Value, r.Err)
					}
				}
				testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
				if took := elapsed(); took > 7*time.Second {
					t.Errorf("Shutdown took %v", took)
				}
				time.Sleep(time.Minute)
				testutil.WantErr(t, "Err", w.accepter.Err(), nil)
				if n := w.accepter.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
				if got, err := w.get("/after"); err == nil {
					t.Errorf("after Shutdown: %q, want an error", got)
				}
				testutil.WantErr(t, "Shutdown of the session", w.accepter.Shutdown(context.Background()), nil)
			})
		})
	}
}

// A hijacked connection goes on in both directions after http.Server.Shutdown, which does not wait for it.
func TestListenerCloseInHTTPShutdownLeavesHijacked(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessionsOver(t, simnet.Link{}, &session.Config{Version: version}, nil)
		w := startWeb(t, c, s, "http1", func(w http.ResponseWriter, r *http.Request) {
			conn, both, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.Copy(conn, both)
		})
		st := open(t, c)
		if _, err := io.WriteString(st, "GET / HTTP/1.1\r\nHost: anything\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		echo := func(want string) {
			t.Helper()
			if _, err := io.WriteString(st, want); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(st, got); string(got) != want || err != nil {
				t.Errorf("read %q, %v, want %q", got, err, want)
			}
		}
		echo("before")
		testutil.WantErr(t, "Shutdown", w.server.Shutdown(context.Background()), nil)
		time.Sleep(time.Hour)
		echo("after")
		_ = st.CloseWrite()
		wantEOF(t, st)
		_ = st.Close()
		testutil.WantErr(t, "Shutdown of the session", s.Shutdown(context.Background()), nil)
	})
}

// Each of 3,000 requests at once, on a stream of its own, gets its answer.
func TestHTTPRequestsAtOnceAllGetAnswers(t *testing.T) {
	requests := 3000
	if testutil.Race {
		requests = 300
	}
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("%d processors", procs), func(t *testing.T) {
			testutil.LeakCheck(t)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			c, s := sessions(t, transport("tcp"), session.Config{Version: 2})
			w := startWeb(t, c, s, "http1", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.URL.Path)
			})
			var answers []<-chan testutil.Result[string]
			for n := range requests {
				answers = append(answers, testutil.Background(func() (string, error) { return w.get(fmt.Sprint("/", n)) }))
			}
			for n, answer := range answers {
				if r := <-answer; r.Err != nil || r.Value != fmt.Sprint("/", n) {
					t.Errorf("request %d: %q, %v", n, r.Value, r.Err)
				}
			}
		})
	}
}
