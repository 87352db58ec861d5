package session_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Helpers of all tests of this package: they run a test over each transport and version, start sessions, open
// streams, and check results. harness_scripted_test.go adds scripted peers, harness_measure_test.go adds
// measurements. Every helper cleans up when its test ends.

// eachTransport runs test for both versions over each transport that selected returns true for; nil selects all.
// The test runs in a bubble where the transport allows it, and is checked for leaked goroutines.
func eachTransport(t *testing.T, selected func(testutil.Transport) bool, test func(t *testing.T, tr testutil.Transport, version int)) {
	t.Helper()
	for _, tr := range testutil.Transports() {
		if selected != nil && !selected(tr) {
			continue
		}
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", tr.Name, version), func(t *testing.T) {
				if !tr.Bubble {
					testutil.LeakCheck(t)
					test(t, tr, version)
					return
				}
				bubble(t, func(t *testing.T) { test(t, tr, version) })
			})
		}
	}
}

// inBubble selects the transports that work in a bubble, where time is virtual.
func inBubble(tr testutil.Transport) bool { return tr.Bubble }

// sockets selects TCP and Unix sockets.
func sockets(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "unix" }

// eachVersion runs test in a bubble for both versions.
func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			bubble(t, func(t *testing.T) { test(t, version) })
		})
	}
}

// someVersions is eachVersion. With the race detector it runs test for one version only, which alternates with i.
func someVersions(t *testing.T, i int, test func(t *testing.T, version int)) {
	t.Helper()
	if !testutil.Race {
		eachVersion(t, test)
		return
	}
	version := 1 + i%2
	t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
		bubble(t, func(t *testing.T) { test(t, version) })
	})
}

// bubble runs test in a bubble and checks for leaked goroutines.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		test(t)
	})
}

// settle waits in a bubble until every goroutine waits. Over other transports it does nothing: the test must pass
// at any speed.
func settle(tr testutil.Transport) {
	if tr.Bubble {
		synctest.Wait()
	}
}

// transport returns the transport of that name.
func transport(name string) testutil.Transport {
	for _, tr := range testutil.Transports() {
		if tr.Name == name {
			return tr
		}
	}
	panic("no transport " + name)
}

// client starts a client session on conn. When the test ends, conn is closed, and then the session.
func client(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config) *session.Session {
	t.Helper()
	return start(t, conn, cfg, session.Client)
}

// server does the same for a server session.
func server(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config) *session.Session {
	t.Helper()
	return start(t, conn, cfg, session.Server)
}

// start starts a session and closes it when the test ends.
func start(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config,
	end func(io.ReadWriteCloser, *session.Config) (*session.Session, error),
) *session.Session {
	t.Helper()
	s, err := end(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = s.Close()
	})
	return s
}

// sessions starts both ends of a session with the same Config over a new pair of transports.
func sessions(t testing.TB, tr testutil.Transport, cfg session.Config) (c, s *session.Session) {
	t.Helper()
	ca, cb := tr.Pair(t)
	return client(t, ca, &cfg), server(t, cb, &cfg)
}

// v2 returns the default Config with version 2.
func v2() *session.Config { return &session.Config{Version: 2} }

// off is the keep-alive policy of tests that let much time pass.
var off = keepalive.Off{}

// open opens a stream.
func open(t testing.TB, s *session.Session) *stream.Stream {
	t.Helper()
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// accept accepts a stream. It waits for one.
func accept(t testing.TB, s *session.Session) *stream.Stream {
	t.Helper()
	st, err := s.AcceptStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// openPair opens a stream at c and accepts it at s.
func openPair(t testing.TB, c, s *session.Session) (opened, accepted *stream.Stream) {
	t.Helper()
	opened = open(t, c)
	return opened, accept(t, s)
}

// openPairs opens n streams at c and accepts them at s, in the same order. The backlog must hold n streams.
func openPairs(t testing.TB, c, s *session.Session, n int) (opened, accepted []*stream.Stream) {
	t.Helper()
	for range n {
		opened = append(opened, open(t, c))
	}
	for range n {
		accepted = append(accepted, accept(t, s))
	}
	return opened, accepted
}

// second returns the error of a call with two results.
func second[T any](_ T, err error) error { return err }

// wantPending checks that a call in the background has not returned.
func wantPending[T any](t testing.TB, what string, call <-chan testutil.Result[T]) {
	t.Helper()
	select {
	case r := <-call:
		t.Fatalf("%s returned already: %v, %v", what, r.Value, r.Err)
	default:
	}
}

// wantEOF checks that Read returns io.EOF itself, and returns it again.
func wantEOF(t testing.TB, st *stream.Stream) {
	t.Helper()
	for range 2 {
		if n, err := st.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("Read = %d, %v, want a bare io.EOF", n, err)
		}
	}
}

// wantEnded waits for the end of the session and checks that Err is want.
func wantEnded(t testing.TB, s *session.Session, want error) {
	t.Helper()
	<-s.Done()
	testutil.WantErr(t, "Err", s.Err(), want)
}

// addressed is a transport with addresses of its own.
type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

// tcpAddr returns the address of port 7 at ip.
func tcpAddr(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 7} }

// goroutines returns the number of goroutines with a function on their stack whose name contains name.
func goroutines(name string) (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, name) {
			n++
		}
	}
	return n
}

// heapInUse returns the bytes of live objects after a garbage collection.
func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
