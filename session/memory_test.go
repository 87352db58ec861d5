//go:build linux && amd64 && !race && !portable

package session_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// maxIdleSession is how much of the heap an idle session may take, in bytes, before it has given anything back. The stack of
// its goroutine comes on top, with 4,096 bytes, and 2,048 once it has: row idle-10000 of internal/bench has the sum.
const maxIdleSession = 3150

// A session on which a stream was opened, used and closed takes at most maxIdleSession bytes of the heap. The test runs
// in a process of its own, where no other test has left memory to reuse.
func TestIdleSessionTakesLittleMemory(t *testing.T) {
	if alone(t) {
		return
	}
	const count = 400
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns, peers [count + 1]net.Conn
	for i := range conns {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if peers[i], err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	var sessions [count + 1]*session.Session
	sessions[0] = usedSession(t, conns[0], peers[0]) // fills the pools
	before := heapSpans()
	for i := 1; i <= count; i++ {
		sessions[i] = usedSession(t, conns[i], peers[i])
	}
	used := (heapSpans() - before) / count
	for i, s := range sessions {
		_ = s.Close()
		_ = peers[i].Close()
	}
	if t.Logf("an idle session takes %d bytes", used); used > maxIdleSession {
		t.Errorf("want at most %d", maxIdleSession)
	}
}

// maxIdleTLSSession is how much of the heap an idle session over TLS may take at one end, in bytes, with what the
// *tls.Conn has allocated since its handshake: a buffer for what was received.
const maxIdleTLSSession = 6 << 10

// A session over TLS on which a stream was opened, used and closed takes at most maxIdleTLSSession bytes of the heap at
// each end. So an idle session holds no staging buffer over a transport that is no socket. The test runs in a process of
// its own.
func TestIdleSessionOverTLSTakesLittleMemory(t *testing.T) {
	if alone(t) {
		return
	}
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	const count = 50
	var conns [2 * (count + 1)]*tls.Conn
	for i := 0; i < len(conns); i += 2 {
		ca, cb := testutil.TCPPair(t)
		conns[i] = tls.Client(ca, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		conns[i+1] = tls.Server(cb, &tls.Config{Certificates: certified.TLS.Certificates})
		served := testutil.BackgroundErr(conns[i+1].Handshake)
		testutil.WantErr(t, "Handshake", conns[i].Handshake(), nil)
		testutil.WantErr(t, "Handshake", (<-served).Err, nil)
	}
	use := func(conns []*tls.Conn) (all []*session.Session) {
		for i := 0; i < len(conns); i += 2 {
			c, s := client(t, conns[i], nil), server(t, conns[i+1], nil)
			a, b := openPair(t, c, s)
			thereAndBack(t, a, b)
			_, _ = a.Close(), b.Close()
			all = append(all, c, s)
		}
		return all
	}
	first := use(conns[:2]) // fills the pools
	before := heapSpans()
	all := use(conns[2:])
	used := (heapSpans() - before) / (2 * count)
	if t.Logf("an idle session over TLS takes %d bytes", used); used > maxIdleTLSSession {
		t.Errorf("want at most %d", maxIdleTLSSession)
	}
	runtime.KeepAlive([][]*session.Session{first, all})
}

// thereAndBack sends 64 bytes from a to b and back.
func thereAndBack(t *testing.T, a, b *stream.Stream) {
	t.Helper()
	p := make([]byte, 64)
	for _, ends := range [][2]*stream.Stream{{a, b}, {b, a}} {
		if _, err := ends[0].Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(ends[1], p); err != nil {
			t.Fatal(err)
		}
	}
}

// maxReaderStack is what the stack of the reader's goroutine may take in a session that was used and is quiet, with what
// the runtime has for itself. A new goroutine has 2,048 bytes, one that has handled a stream 4,096.
const maxReaderStack = 2600

// A session whose reader was renewed after a stream has a small stack again. The test runs in a process of its own.
func TestQuietSessionHasASmallStack(t *testing.T) {
	if alone(t) {
		return
	}
	const count = 500
	var all []*session.Session
	for range count {
		c, s := sessions(t, transport("tcp"), session.Config{})
		a, b := openPair(t, c, s)
		thereAndBack(t, a, b)
		_, _ = a.Close(), b.Close()
		all = append(all, c, s)
	}
	stacks := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.StackInuse) / len(all)
	}
	used := stacks()
	small := 0
	for range 1000 { // the goroutines that were renewed may still be ending
		for _, s := range all {
			session.RenewReader(s)
		}
		if small = stacks(); small <= maxReaderStack {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if t.Logf("a stack takes %d bytes after a stream, and %d once the session is quiet", used, small); small > maxReaderStack {
		t.Errorf("want at most %d", maxReaderStack)
	}
}

// maxIdleStream is how much of the heap a stream that has been used and is idle may take at one end, in bytes.
const maxIdleStream = 416

// A stream that has carried data each way and is idle takes at most maxIdleStream bytes of the heap at each end, also if
// Config.StreamIdleTimeout is set. The test runs in a process of its own.
func TestIdleStreamTakesLittleMemory(t *testing.T) {
	if alone(t) {
		return
	}
	const count = 3500 // with the first one, little less than what a map with 4,096 places holds before it grows
	for _, cfg := range []session.Config{{}, {StreamIdleTimeout: time.Hour}} {
		c, s := sessions(t, transport("tcp"), cfg)
		use := func(n int) (all []*stream.Stream) {
			opened, accepted := openPairs(t, c, s, n)
			for i := range n {
				thereAndBack(t, opened[i], accepted[i])
			}
			return append(opened, accepted...)
		}
		first := use(1) // fills the pools
		before := heapSpans()
		all := use(count)
		used := (heapSpans() - before) / (2 * count)
		if t.Logf("an idle stream takes %d bytes", used); used > maxIdleStream {
			t.Errorf("want at most %d", maxIdleStream)
		}
		runtime.KeepAlive([][]*stream.Stream{first, all})
		_, _ = c.CloseNow(), s.CloseNow()
	}
}

// alone runs the test in a process of its own, where no other test has left memory to reuse. It returns true in the process
// that has started that.
func alone(t *testing.T) bool {
	const variable = "SMUXKIT_TEST_ALONE"
	if os.Getenv(variable) != "" {
		return false
	}
	test := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	test.Env = append(os.Environ(), variable+"=1", "GOMAXPROCS=1", "GOGC=off") // so that the figure repeats
	out, err := test.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
	return true
}

// usedSession returns a client session on conn that has opened a stream, sent and received 64 bytes on it, and closed it.
func usedSession(t *testing.T, conn, peer net.Conn) *session.Session {
	s, err := session.Client(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	st := open(t, s)
	var p [64]byte
	if _, err := st.Write(p[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write(testutil.PSH(wire.V2, st.ID(), p[:]).Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, p[:]); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// heapSpans returns the bytes of the heap in use, parts of its spans that are free included, after garbage collection.
func heapSpans() int {
	for range 4 {
		runtime.GC()
		time.Sleep(25 * time.Millisecond) // timers fire and goroutines end
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse)
}
