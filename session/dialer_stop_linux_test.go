package session_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// serverProcess is set in the environment of a process that is a server, with the test's name.
const serverProcess = "SMUXKIT_TEST_SERVER"

// startProcess starts a server in a process of its own, and returns its address.
func startProcess(t *testing.T) (p *os.Process, address string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), serverProcess+"=1")
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = stdin.Close()
		_ = c.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return c.Process, strings.TrimSpace(address)
}

// serveProcess is the server. It ends with its standard input.
func serveProcess(t *testing.T, policy keepalive.Policy) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go echoAll(&session.Listener{Listener: tcp, Config: &session.Config{KeepAlive: policy}})
	fmt.Println(tcp.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A server process that is stopped (SIGSTOP) is left when the keep-alive's time-out has passed, although its kernel still
// acknowledges what it gets. One that is killed is left at once.
func TestDialerLeavesAProcessThatHangs(t *testing.T) {
	policy := keepalive.Periodic{Interval: time.Second, Timeout: 3 * time.Second}
	if os.Getenv(serverProcess) != "" {
		serveProcess(t, policy)
		return
	}
	if testing.Short() {
		t.Skip("takes three seconds")
	}
	testutil.LeakCheck(t)
	process, address := startProcess(t)
	var current atomic.Pointer[string]
	current.Store(&address)
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", *current.Load())
		},
		Config: &session.Config{KeepAlive: policy},
	}
	defer d.Close()
	hanging := openOn(t, d)
	echoes(t, hanging)
	// The Dialer has sent a ping, which the server must have answered when it hangs. So does this one.
	if _, err := sessionOf(t, hanging).Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	process, next := startProcess(t)
	current.Store(&next)
	_, err := io.ReadAll(hanging)
	testutil.WantErr(t, "Read", err, session.ErrKeepAlive)
	killed := openOn(t, d)
	echoes(t, killed)

	_, last := startProcess(t)
	current.Store(&last)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(killed); err == nil {
		t.Error("the stream ends without an error")
	}
	echoes(t, openOn(t, d))
	if x := d.Stats(); x.Dials != 3 || x.DialErrors != 0 {
		t.Errorf("Stats: %+v", x)
	}
}
