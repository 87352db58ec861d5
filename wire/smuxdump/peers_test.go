package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	xtaci "github.com/xtaci/smux"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A peer makes the two ends of a session.
type peer struct {
	name    string
	version int
	pair    func(t *testing.T, client, server net.Conn, version int) (c, s side)
}

// A side is an end of a session.
type side interface {
	open() (half, error)
	accept() (half, error)
	close()
}

// A half is a stream with half-close.
type half interface {
	net.Conn
	CloseWrite() error
}

type xtaciSide struct{ *xtaci.Session }

func (s xtaciSide) open() (half, error)   { return s.OpenStream() }
func (s xtaciSide) accept() (half, error) { return s.AcceptStream() }
func (s xtaciSide) close()                { s.Close() }

func pairXtaci(t *testing.T, client, server net.Conn, version int) (side, side) {
	cfg := xtaci.DefaultConfig()
	cfg.Version, cfg.KeepAliveDisabled = version, true
	c, err := xtaci.Client(client, cfg)
	must(t, err)
	s, err := xtaci.Server(server, cfg)
	must(t, err)
	return xtaciSide{c}, xtaciSide{s}
}

type ourSide struct{ *session.Session }

func (s ourSide) open() (half, error)   { return s.OpenStream(context.Background()) }
func (s ourSide) accept() (half, error) { return s.AcceptStream(context.Background()) }
func (s ourSide) close()                { s.Close() }

func pairOurs(t *testing.T, client, server net.Conn, version int) (side, side) {
	c, err := session.Client(client, &session.Config{Version: version, KeepAlive: keepalive.Off{}, MaxStreams: 2})
	must(t, err)
	s, err := session.Server(server, &session.Config{KeepAlive: keepalive.Off{}, MaxStreams: 2})
	must(t, err)
	return ourSide{c}, ourSide{s}
}

var peers = []peer{
	{"xtaci", 1, pairXtaci}, {"xtaci", 2, pairXtaci}, {"smuxkit", 1, pairOurs}, {"smuxkit", 2, pairOurs},
}

// talk is what all peers say: an echo with half-close, a slow reader of more than the window, a stream of the server's.
func (p peer) talk(t *testing.T, client, server net.Conn) {
	c, s := p.pair(t, client, server, p.version)
	pause()
	a, err := c.open()
	must(t, err)
	_, err = a.Write([]byte("hello"))
	must(t, err)
	pause()
	b, err := s.accept()
	must(t, err)
	buf := make([]byte, 5)
	_, err = io.ReadFull(b, buf)
	must(t, err)
	pause()
	_, err = b.Write(bytes.ToUpper(buf))
	must(t, err)
	pause()
	must(t, a.CloseWrite())
	pause()
	_, err = io.ReadFull(a, buf)
	must(t, err)
	pause()
	must(t, b.Close())
	pause()
	a.Close() // an error of xtaci/smux, as it has closed both directions
	pause()

	p.slowReader(t, c, s)

	d, err := s.open()
	must(t, err)
	_, err = d.Write([]byte("from the server"))
	must(t, err)
	pause()
	e, err := c.accept()
	must(t, err)
	must(t, e.Close())
	pause()
	d.Close() // as above
	pause()
	if ours, ok := c.(ourSide); ok {
		signals(t, ours, s.(ourSide))
	}
	c.close()
	pause()
	s.close()
	pause()
}

// slowReader sends more than the first window. The reader begins after a second, and pauses so that the order of what
// each side sends is always the same.
func (p peer) slowReader(t *testing.T, c, s side) {
	a, err := c.open()
	must(t, err)
	wrote := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, 270_000))
		wrote <- err
	}()
	pause()
	time.Sleep(time.Second)
	b, err := s.accept()
	must(t, err)
	for _, n := range []int{200_000, 35_000, 35_000} {
		_, err = io.ReadFull(b, make([]byte, n))
		must(t, err)
		pause()
	}
	must(t, <-wrote)
	pause()
	must(t, a.Close())
	pause()
	b.Close() // as above
	pause()
}

// signals has our sides ping each other, refuse a stream, and drain.
func signals(t *testing.T, c, s ourSide) {
	_, err := c.Ping(context.Background())
	must(t, err)
	pause()
	var open []*stream.Stream
	for range 3 { // one more than MaxStreams
		st, err := c.OpenStream(context.Background())
		must(t, err)
		_, err = st.Write([]byte("x"))
		must(t, err)
		open = append(open, st)
		pause()
	}
	for _, st := range open {
		st.Close()
		pause()
	}
	for range 2 {
		st, err := s.AcceptStream(context.Background())
		must(t, err)
		must(t, st.Close())
		pause()
	}
	must(t, s.Listener().Close())
	pause()
}

// record returns what two peers say. xtaci/smux keeps channels in a pool, and these cannot be used in two bubbles: so each
// conversation has a process of its own.
func record(t *testing.T, i int) (live string, capture []byte) {
	t.Helper()
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRecordForParent$", "-test.timeout=60s")
	child.Env = append(os.Environ(), childDir+"="+dir, childPeer+"="+strconv.Itoa(i))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "live.txt"))
	must(t, err)
	capture, err = os.ReadFile(filepath.Join(dir, "capture.pcap"))
	must(t, err)
	return string(text), capture
}

const childDir, childPeer = "SMUXDUMP_TEST_DIR", "SMUXDUMP_TEST_PEER"

// This is no test of its own: record runs it in another process.
func TestRecordForParent(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("run by other tests")
	}
	i, err := strconv.Atoi(os.Getenv(childPeer))
	must(t, err)
	live, capture := conversationOf(t, peers[i].talk)
	must(t, os.WriteFile(filepath.Join(dir, "live.txt"), []byte(live), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "capture.pcap"), capture, 0o600))
}

// What real peers send is shown the same live, and from the capture that the proxy writes.
func TestDumpShowsRealPeers(t *testing.T) {
	for i, p := range peers {
		name := fmt.Sprintf("%s-v%d", p.name, p.version)
		t.Run(name, func(t *testing.T) {
			live, capture := record(t, i)
			golden(t, name+".txt", live)
			got, stderr, code := dumped(capture)
			if code != 0 || stderr != "" {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			if got != live {
				golden(t, name+".txt", got)
			}
			summary, _, _ := dumped(capture, "-summary")
			golden(t, name+".summary.txt", summary)
		})
	}
}
