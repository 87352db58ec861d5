//go:build unix && !self

package interop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// Sessions of the Rust crates smux and async_smux, each in a process that runs the program in the folder rust. Both speak
// version 1.

func init() {
	crates = []*peer{
		{
			name: "smux", crate: "0.2.0", start: startCrate("smux"),
			afterFIN: writesOn, closeWrite: true, keepsUnread: true, largestFrame: 32_760,
		},
		{
			name: "async_smux", crate: "0.3.4", start: startCrate("async_smux"),
			afterFIN: writesNothing, keepsUnread: true, largestFrame: 65_535, emptyEnds: true, answersUnknown: true, silentAfterFIN: true,
		},
	}
}

// eachCrate runs test with each crate in both roles, in parallel, each on a link of its own. It skips the test where there
// is no cargo.
func eachCrate(t *testing.T, s setting, test func(t *testing.T, l *link)) {
	t.Helper()
	cratesOf(t, s, func(t *testing.T, l func() *link) {
		t.Parallel()
		test(t, l())
	})
}

// eachCrateInTurn is eachCrate with one link after the other.
func eachCrateInTurn(t *testing.T, s setting, test func(t *testing.T, l *link)) {
	t.Helper()
	cratesOf(t, s, func(t *testing.T, l func() *link) { test(t, l()) })
}

func cratesOf(t *testing.T, s setting, test func(t *testing.T, l func() *link)) {
	t.Helper()
	buildCrates(t)
	checkGoroutines(t)
	for _, p := range crates {
		for _, client := range []string{"our client", "their client"} {
			t.Run(p.name+"/"+client, func(t *testing.T) {
				test(t, func() *link { return newLink(t, p, 1, client == "our client", s) })
			})
		}
	}
}

// rolesOfPair returns the ends of a connection, for us and them, and the function that starts our session.
func rolesOfPair(t *testing.T, ourClient bool) (ours, theirs net.Conn, start func(io.ReadWriteCloser, *session.Config) (*session.Session, error)) {
	t.Helper()
	client, server := tcpPair(t, false)
	if ourClient {
		return client, server, session.Client
	}
	return server, client, session.Server
}

// cargo builds the program once.
var cargo = sync.OnceValues(func() (program string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	manifest, err := os.ReadFile("rust/Cargo.toml")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("rust/src/main.rs")
	if err != nil {
		return "", err
	}
	// Cargo.lock names a registry: it must not get into the repository. Each version of the program has its own name,
	// because several working copies may run the tests at the same time. They share what cargo has built.
	const name = "smuxkit-interop-peer"
	cache = filepath.Join(cache, "smuxkit-interop-rust")
	sum := sha256.Sum256(append(bytes.Clone(manifest), text...))
	own := fmt.Sprintf("%s-%x", name, sum[:6])
	dir := filepath.Join(cache, own)
	manifest = bytes.Replace(manifest, []byte(strconv.Quote(name)), []byte(strconv.Quote(own)), 1)
	if err := os.MkdirAll(filepath.Join(dir, "src"), 0o755); err != nil {
		return "", err
	}
	for to, text := range map[string][]byte{"Cargo.toml": manifest, "src/main.rs": text} {
		to = filepath.Join(dir, filepath.FromSlash(to))
		if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return "", err
		}
	}
	target := filepath.Join(cache, "target")
	cmd := exec.Command("cargo", "build", "--release", "--quiet", "--target-dir", target)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cargo build: %w\n%s", err, out)
	}
	return filepath.Join(target, "release", own), nil
})

// buildCrates builds the program, or skips the test where there is no cargo.
func buildCrates(t *testing.T) {
	t.Helper()
	if !haveCargo() {
		t.Skip("no cargo here: the Rust crates smux and async_smux are not tested")
	}
	if _, err := cargo(); err != nil {
		t.Fatal(err)
	}
}

// A crateSession is a session in a process of its own. Its streams are connections to that process.
type crateSession struct {
	cmd    *exec.Cmd
	dir    string
	accept net.Listener
	exited chan struct{} // closed when the process, which was started, has ended and accept is closed
	end    func()        // ends the process, and waits until all is gone

	asking sync.Mutex // guards the next two
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startCrate returns the startFunc of a crate. Of the settings, those of keep-alive apply; more are arguments of the program.
func startCrate(crate string, more ...string) startFunc {
	return func(conn net.Conn, client bool, version int, change theirConfig) (muxSession, error) {
		program, err := cargo()
		if err != nil {
			return nil, err
		}
		role := map[bool]string{true: "client", false: "server"}[client]
		dir, err := os.MkdirTemp("", "smux")
		if err != nil {
			return nil, err
		}
		s := &crateSession{dir: dir, exited: make(chan struct{})}
		path := func(name string) string { return filepath.Join(dir, name) }
		args := append([]string{crate, role, path("open"), path("accept")}, crateSettings(change)...)
		args = append(args, more...)
		s.cmd = exec.Command(program, args...)
		s.cmd.Stderr = os.Stderr
		if crate == "smux" {
			// A Read that waits polls again and again. One processor of two is enough for that.
			s.cmd.Env = append(os.Environ(), "TOKIO_WORKER_THREADS=1")
		}
		s.end = sync.OnceFunc(func() {
			if s.cmd.Process != nil {
				_ = s.cmd.Process.Kill()
				<-s.exited
			} else if s.accept != nil {
				_ = s.accept.Close()
			}
			_ = os.RemoveAll(dir)
		})
		if err := s.begin(conn); err != nil {
			s.end()
			return nil, err
		}
		return s, nil
	}
}

// begin starts the process, which gets the connection. It waits until the process is ready.
func (s *crateSession) begin(conn net.Conn) (err error) {
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	s.cmd.ExtraFiles = []*os.File{file}
	if s.accept, err = net.Listen("unix", filepath.Join(s.dir, "accept")); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.stdout = bufio.NewReader(out)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	err = s.cmd.Start()
	// The process has its own descriptors. Nothing here must keep the connection open when it has ended.
	_, _ = file.Close(), conn.Close()
	if err != nil {
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		_ = s.accept.Close()
		close(s.exited)
	}()
	if line, err := s.stdout.ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("the program says %q, %v", line, err)
	}
	return nil
}

// crateSettings returns the arguments of the program for what change sets.
func crateSettings(change theirConfig) (args []string) {
	var c theirSettings
	if change != nil {
		change(&c)
	}
	if c.KeepAliveDisabled {
		args = append(args, "keep-alive=off")
	}
	if c.KeepAliveInterval != 0 {
		args = append(args, fmt.Sprintf("interval=%d", c.KeepAliveInterval.Milliseconds()))
	}
	if c.KeepAliveTimeout != 0 {
		args = append(args, fmt.Sprintf("timeout=%d", c.KeepAliveTimeout.Milliseconds()))
	}
	return args
}

// Open waits while the process has many openings to handle: the queue of its socket is full.
func (s *crateSession) Open() (muxStream, error) {
	for {
		c, err := net.Dial("unix", filepath.Join(s.dir, "open"))
		if errors.Is(err, syscall.EAGAIN) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		return c.(*net.UnixConn), nil
	}
}

func (s *crateSession) Accept() (muxStream, error) {
	c, err := s.accept.Accept()
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// NumStreams returns the number of streams that the program holds, or -1 if it has ended.
func (s *crateSession) NumStreams() int {
	s.asking.Lock()
	defer s.asking.Unlock()
	if _, err := io.WriteString(s.stdin, "\n"); err != nil {
		return -1
	}
	line, err := s.stdout.ReadString('\n')
	n, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || err2 != nil {
		return -1
	}
	return n
}

// Close kills the process: neither crate has another end that it tells its peer of.
func (s *crateSession) Close() error {
	s.end()
	return nil
}

// signal sends a signal to the process, for instance SIGSTOP.
func (s *crateSession) signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }
