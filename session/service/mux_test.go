package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
)

// An unknown service is refused, and so is what a handler refuses, with its code and text. Each call of the opener
// returns the refusal, and the stream is closed.
func TestRefusalReachesEachCallOfTheOpener(t *testing.T) {
	calls := map[string]func(st *service.Stream) error{
		"Read":        func(st *service.Stream) error { return second(st.Read(make([]byte, 10))) },
		"WriteTo":     func(st *service.Stream) error { return second(st.WriteTo(io.Discard)) },
		"AwaitAnswer": func(st *service.Stream) error { return st.AwaitAnswer(context.Background()) },
		"Write": func(st *service.Stream) error {
			time.Sleep(time.Second)
			return second(st.Write([]byte("more")))
		},
		"WriteLazily": func(st *service.Stream) error {
			time.Sleep(time.Second)
			return second(st.WriteLazily([]byte("more")))
		},
		"ReadFrom": func(st *service.Stream) error {
			time.Sleep(time.Second)
			return second(st.ReadFrom(strings.NewReader("more")))
		},
	}
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Handle("busy", func(st *service.Stream) {
			if err := st.Refuse(100, "too busy"); err != nil {
				t.Error(err)
			}
			testutil.WantErr(t, "Write after Refuse", second(st.Write([]byte("x"))), net.ErrClosed)
			testutil.WantErr(t, "Accept after Refuse", st.Accept(), service.ErrAnswered)
			testutil.WantErr(t, "Refuse after Refuse", st.Refuse(1, ""), service.ErrAnswered)
		})
		c, s := serve(t, m, session.Config{Version: version})
		for name, call := range calls {
			for _, refused := range []struct {
				service, text string
				code          service.Code
			}{{"nobody", "", service.CodeUnknown}, {"busy", "too busy", 100}} {
				st := open(t, c, refused.service, nil)
				write(t, st, "request")
				wantRefused(t, name, call(st), refused.code, refused.text)
				for again, call := range calls {
					wantRefused(t, again+" after "+name, call(st), refused.code, refused.text)
				}
				<-st.Done()
				testutil.WantErr(t, "Close", st.Close(), nil)
			}
		}
		time.Sleep(time.Second)
		if c.NumStreams() != 0 || s.NumStreams() != 0 {
			t.Errorf("%d and %d streams are open", c.NumStreams(), s.NumStreams())
		}
		n := uint64(len(calls))
		if got, want := m.Stats(), (service.Stats{Served: n, Unknown: n}); got != want {
			t.Errorf("Stats are %+v, want %+v", got, want)
		}
	})
}

// A refusal ends a Write that waits for the window of the peer.
func TestRefusalEndsABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		m := new(service.Mux)
		m.Handle("x", func(st *service.Stream) {
			time.Sleep(time.Second)
			st.Refuse(service.CodeUnavailable, "")
		})
		c, _ := serve(t, m, session.Config{Version: 2})
		st := open(t, c, "x", nil)
		_, err := st.Write(make([]byte, 10_000_000))
		wantRefused(t, "Write", err, service.CodeUnavailable, "")
		testutil.WantErr(t, "a refusal by nobody", err, stream.ErrRefused)
	})
}

// An opener that never reads gets the refusal from Write, whatever its read deadline is. The deadline stays.
func TestRefusalReachesAWriterThatNeverReads(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, _ := serve(t, new(service.Mux), session.Config{Version: version})
		st := open(t, c, "x", nil)
		st.SetReadDeadline(time.Unix(1, 0))
		var err error
		for err == nil {
			time.Sleep(time.Second)
			_, err = st.Write([]byte("x"))
		}
		wantRefused(t, "Write", err, service.CodeUnknown, "")
		if errors.Is(err, stream.ErrRefused) {
			t.Error("an unknown service looks as if it were worth another try")
		}
	})
}

// A session that refuses a stream is no refusal by a service.
func TestRefusalBySessionIsErrRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Listen("x")
		c, _ := serve(t, m, session.Config{Version: version, MaxStreams: 1})
		open(t, c, "x", nil)
		st, err := service.Open(context.Background(), c, "x", nil)
		if err != nil { // the refusal has come before the header was written
			testutil.WantErr(t, "Open", err, stream.ErrRefused)
		} else {
			err = second(st.Read(make([]byte, 1)))
			testutil.WantErr(t, "Read", err, stream.ErrRefused)
			testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), stream.ErrRefused)
		}
		var refused *service.RefusedError
		if errors.As(err, &refused) {
			t.Errorf("it is %v", refused)
		}
	})
}

// A stream that was accepted cannot be refused, and one that this side has opened neither.
func TestRefuseAfterAcceptFails(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		write(t, accepted, "x")
		testutil.WantErr(t, "Refuse", accepted.Refuse(1, ""), service.ErrAnswered)
		testutil.WantErr(t, "Accept", accepted.Accept(), nil)
		write(t, accepted, "y")
		wantRead(t, opened, "xy")
		testutil.WantErr(t, "Refuse by the opener", opened.Refuse(1, ""), errors.ErrUnsupported)
		testutil.WantErr(t, "Accept by the opener", opened.Accept(), nil)
	})
}

// Writes at the same time accept the stream once.
func TestConcurrentWritesAcceptOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { accepted.Write([]byte("x")) })
			wg.Go(func() { accepted.Accept() })
		}
		wg.Wait()
		accepted.CloseWrite()
		if got, err := io.ReadAll(opened); string(got) != strings.Repeat("x", 20) || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A malformed header is refused and counted. Other streams of the session go on.
func TestMalformedHeadersAreRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Handle("echo", func(st *service.Stream) { io.Copy(st, st) })
		c, s := serve(t, m, session.Config{Version: version})
		other := open(t, c, "echo", nil)
		n := uint64(0)
		for _, header := range []string{"GET / HTTP/1.1\r\n", "\xd1\x00\x00", "\xd1\xff\xff", "\xd1\x03\x00\x00\x00\x00", "\xd1\x03", ""} {
			st, err := c.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write(t, st, header)
			st.CloseWrite()
			got, err := io.ReadAll(st)
			if !strings.HasPrefix(string(got), "\x01\x02\x00") || err != nil {
				t.Errorf("%q was answered by %q, %v", header, got, err)
			}
			n++
			write(t, other, "ping")
			wantRead(t, other, "ping")
		}
		other.Close()
		time.Sleep(time.Second)
		if got, want := m.Stats(), (service.Stats{Served: 1, Malformed: n}); got != want {
			t.Errorf("Stats are %+v, want %+v", got, want)
		}
		if s.NumStreams() > 0 {
			t.Errorf("%d streams are open", s.NumStreams())
		}
	})
}

// A header that is not complete in time is refused and counted, wherever it stops. Other streams go on. The time-out does
// not touch streams whose header has arrived.
func TestHeaderTimeoutEndsTheStreamAlone(t *testing.T) {
	const header = "\xd1\x17\x00\x03web\x01\x04\x0b\x00hostexample.org"
	eachVersion(t, func(t *testing.T, version int) {
		m := &service.Mux{HeaderTimeout: time.Minute}
		m.Handle("echo", func(st *service.Stream) { io.Copy(st, st) })
		c, _ := serve(t, m, session.Config{Version: version})
		other := open(t, c, "echo", nil)
		write(t, other, "ping")
		wantRead(t, other, "ping")
		elapsed := testutil.Clock()
		var hanging []*stream.Stream
		for n := range len(header) {
			st, err := c.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write(t, st, header[:n])
			hanging = append(hanging, st)
		}
		time.Sleep(time.Second)
		if got := m.Stats().Waiting; got != len(header) {
			t.Errorf("%d streams wait for their header, want %d", got, len(header))
		}
		for _, st := range hanging {
			got, err := io.ReadAll(st)
			if !strings.HasPrefix(string(got), "\x01\x03\x00") || err != nil {
				t.Errorf("answered by %q, %v", got, err)
			}
		}
		if after := elapsed(); after > time.Minute+2*time.Millisecond {
			t.Errorf("the time-out came after %v", after)
		}
		time.Sleep(time.Hour)
		write(t, other, "pong")
		wantRead(t, other, "pong")
		if got, want := m.Stats(), (service.Stats{Served: 1, TimedOut: uint64(len(header))}); got != want {
			t.Errorf("Stats are %+v, want %+v", got, want)
		}
	})
}

// A header may come late with a negative HeaderTimeout. The default is 10 s.
func TestHeaderTimeoutDefaultAndOff(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		for timeout, want := range map[time.Duration]time.Duration{0: 10 * time.Second, -1: time.Hour} {
			c, _ := serve(t, &service.Mux{HeaderTimeout: timeout}, session.Config{Version: version})
			st, err := c.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			elapsed := testutil.Clock()
			time.AfterFunc(time.Hour, func() { st.Write([]byte("\xd1\x03\x00\x01x\x00")) })
			if got, err := io.ReadAll(st); len(got) == 0 || err != nil {
				t.Errorf("answered by %q, %v", got, err)
			}
			if after := elapsed(); after < want || after > want+10*time.Millisecond {
				t.Errorf("answered after %v, want %v", after, want)
			}
		}
		time.Sleep(time.Hour)
	})
}

// A peer that opens ten times MaxStreams streams, with whole and half headers, to services that nobody accepts from, makes
// this side hold MaxStreams streams, and at most 20 KiB for each.
func TestHostileHeadersTakeBoundedMemory(t *testing.T) {
	const maxStreams = 200
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		m := new(service.Mux)
		m.Listen("x")
		c, s := serve(t, m, session.Config{Version: 2, MaxStreams: maxStreams})
		metadata := map[string]string{"k": strings.Repeat("v", service.MaxMetadata-1)}
		before := heap()
		var opened []any
		for i := range 10 * maxStreams {
			if i%2 == 0 {
				st, err := service.Open(t.Context(), c, "x", metadata)
				if err != nil && !errors.Is(err, stream.ErrRefused) {
					t.Fatal(err)
				}
				opened = append(opened, st)
				continue
			}
			st, err := c.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			st.Write([]byte("\xd1\xc1\x41\x01x\x40" + strings.Repeat("v", 16_000)))
			opened = append(opened, st)
		}
		synctest.Wait()
		if n := s.NumStreams(); n > maxStreams {
			t.Errorf("%d streams are open, want at most %d", n, maxStreams)
		}
		// The opener's side has refused streams, of less than 1 KiB, and data that it has not sent.
		if grown := heap() - before; grown > maxStreams*(20<<10+9<<10)+10*maxStreams<<10+16<<20 {
			t.Errorf("the heap has grown by %d KiB", grown>>10)
		}
		runtime.KeepAlive(opened)
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Handlers of many streams run at the same time, for services of both sides of a session.
func TestServicesRunOnBothSides(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, session.Config{Version: version})
		var serving, calls sync.WaitGroup
		defer serving.Wait()
		defer c.Close()
		for _, end := range []*session.Session{c, s} {
			m := new(service.Mux)
			for i := range 3 {
				m.Handle(fmt.Sprint(i), func(st *service.Stream) {
					fmt.Fprintf(st, "service %d", i)
				})
			}
			serving.Go(func() { m.Serve(context.Background(), end) })
		}
		for _, end := range []*session.Session{c, s} {
			for i := range 30 {
				calls.Go(func() {
					st := open(t, end, fmt.Sprint(i%3), nil)
					defer st.Close()
					if got, err := io.ReadAll(st); string(got) != fmt.Sprintf("service %d", i%3) || err != nil {
						t.Errorf("got %q, %v", got, err)
					}
				})
			}
		}
		calls.Wait()
	})
}

// Serve returns when its context or the session ends. Streams that were accepted go on.
func TestServeEndsWithContextOrSession(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, session.Config{Version: version})
		m := new(service.Mux)
		m.Handle("echo", func(st *service.Stream) { io.Copy(st, st) })
		ctx, cancel := context.WithCancel(t.Context())
		served := testutil.BackgroundErr(func() error { return m.Serve(ctx, s) })
		st := open(t, c, "echo", nil)
		write(t, st, "one")
		wantRead(t, st, "one")
		cancel()
		testutil.WantErr(t, "Serve", (<-served).Err, context.Canceled)
		write(t, st, "two")
		wantRead(t, st, "two")
		served = testutil.BackgroundErr(func() error { return m.Serve(t.Context(), s) })
		c.Close()
		testutil.WantErr(t, "Serve", (<-served).Err, io.EOF)
	})
}

// Shutdown of the session waits for the handlers, and Serve returns.
func TestShutdownWaitsForHandlers(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, session.Config{Version: version})
		m := new(service.Mux)
		m.Handle("slow", func(st *service.Stream) {
			time.Sleep(time.Minute)
			st.Write([]byte("answer"))
		})
		served := testutil.BackgroundErr(func() error { return m.Serve(t.Context(), s) })
		st := open(t, c, "slow", nil)
		got := testutil.Background(func() ([]byte, error) {
			defer st.Close()
			return io.ReadAll(st)
		})
		time.Sleep(time.Second)
		testutil.WantErr(t, "Shutdown", s.Shutdown(t.Context()), nil)
		if r := <-got; string(r.Value) != "answer" || r.Err != nil {
			t.Errorf("got %q, %v", r.Value, r.Err)
		}
		testutil.WantErr(t, "Serve", (<-served).Err, net.ErrClosed)
	})
}

// Names are registered once. Bad ones panic. Remove and Close of a Listener free them; the Fallback gets all others.
func TestServicesCanBeAddedAndRemoved(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := &service.Mux{Fallback: func(st *service.Stream) { fmt.Fprintf(st, "fallback for %s", st.Name()) }}
		m.Handle("a", func(st *service.Stream) { st.Write([]byte("a")) })
		l := m.Listen("b")
		for what, bad := range map[string]func(){
			"a second handler": func() { m.Handle("a", func(*service.Stream) {}) },
			"a Listener":       func() { m.Listen("a") },
			"no name":          func() { m.Listen("") },
			"a long name":      func() { m.Listen(strings.Repeat("n", 256)) },
			"a nil handler":    func() { m.Handle("c", nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s did not panic", what)
					}
				}()
				bad()
			}()
		}
		c, _ := serve(t, m, session.Config{Version: version})
		want := func(name, want string) {
			t.Helper()
			st := open(t, c, name, nil)
			defer st.Close()
			if got, err := io.ReadAll(st); string(got) != want || err != nil {
				t.Errorf("service %s answered %q, %v, want %q", name, got, err, want)
			}
		}
		want("a", "a")
		m.Remove("a")
		m.Remove("nobody")
		want("a", "fallback for a")
		m.Remove("b")
		testutil.WantErr(t, "Accept", second(l.Accept()), net.ErrClosed)
		want("b", "fallback for b")
		m.Handle("b", func(st *service.Stream) { st.Write([]byte("b")) })
		l.Close() // again, and not that of the new service
		want("b", "b")
	})
}

// A Listener returns the streams of its service in their order. Its Close ends Accept, refuses those that wait, and ends
// no other.
func TestListenerAcceptsItsService(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		l := m.Listen("x")
		if l.Addr().String() != "x" || l.Addr().Network() != "smux" {
			t.Errorf("its address is %v", l.Addr())
		}
		c, _ := serve(t, m, session.Config{Version: version})
		accepted := testutil.Background(l.Accept)
		first := open(t, c, "x", nil)
		write(t, first, "1")
		time.Sleep(time.Second)
		wantRead(t, (<-accepted).Value, "1")
		waiting := make([]*service.Stream, 10)
		for i := range waiting {
			waiting[i] = open(t, c, "x", nil)
			write(t, waiting[i], fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		for i := range 5 {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wantRead(t, conn, fmt.Sprint(i))
			defer conn.Close()
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		testutil.WantErr(t, "Accept", second(l.Accept()), net.ErrClosed)
		for _, st := range waiting[5:] {
			err := second(st.Read(make([]byte, 1)))
			wantRefused(t, "Read", err, service.CodeUnavailable, "")
			testutil.WantErr(t, "Read", err, stream.ErrRefused)
		}
		wantRefused(t, "Read", second(open(t, c, "x", nil).Read(make([]byte, 1))), service.CodeUnknown, "")

		l = m.Listen("x")
		blocked := testutil.Background(l.Accept)
		synctest.Wait()
		l.Close()
		testutil.WantErr(t, "Accept that waits", (<-blocked).Err, net.ErrClosed)
	})
}

// net/http runs over a service: the server accepts from Listen, the client's Transport dials with Open.
func TestHTTPRunsOverAService(t *testing.T) {
	testutil.LeakCheck(t)
	m := new(service.Mux)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	})}
	web := m.Listen("web")
	ended := testutil.BackgroundErr(func() error { return server.Serve(web) })
	c, s := serve(t, m, session.Config{})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return service.Open(ctx, c, "web", nil)
	}}
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			resp, err := client.Post(fmt.Sprintf("http://x/%d", i), "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); string(got) != fmt.Sprintf("/%d body", i) || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	testutil.WantErr(t, "Serve", (<-ended).Err, http.ErrServerClosed)
	s.Close()
}

// A handler that ends its goroutine, as FailNow of a test does, has its stream closed. The Mux goes on.
func TestHandlerThatIsGoneHasItsStreamClosed(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Handle("gone", func(*service.Stream) { runtime.Goexit() })
		m.Fallback = func(*service.Stream) { runtime.Goexit() }
		c, s := serve(t, m, session.Config{Version: version})
		for _, name := range []string{"gone", "other", "gone"} {
			st := open(t, c, name, nil)
			if got, err := io.ReadAll(st); len(got) > 0 || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			_ = st.Close()
		}
		time.Sleep(time.Second)
		if n := s.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		if x := m.Stats(); x.Served != 3 || x.Waiting != 0 {
			t.Errorf("Stats: %+v", x)
		}
	})
}
