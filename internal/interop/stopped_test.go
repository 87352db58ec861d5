//go:build unix && !self

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// peerProcess says, in the environment, which peer the test's process is to be instead of a test.
const peerProcess = "SMUXKIT_INTEROP_PEER"

// A peer whose process is stopped sends nothing, while its kernel acknowledges everything. It is found after Timeout if it
// has sent NOPs, as the original does, or has answered a ping, as ours does.
func TestStoppedProcessIsGivenUp(t *testing.T) {
	checkGoroutines(t)
	for _, peer := range []string{"theirs", "ours"} {
		t.Run(peer, func(t *testing.T) {
			process, addr := startPeer(t, peer)
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			known := make(chan struct{})
			s, err := session.Client(conn, &session.Config{
				Version:   1,
				KeepAlive: &tellsWhenKnown{keepalive.Periodic{Interval: interval, Timeout: timeout}, known},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			watch(t, conn)
			st, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "ours", st.(muxStream), []byte("echo"))
			if _, err := io.ReadFull(st, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			<-known
			if err := process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			if err := s.Err(); !errors.Is(err, session.ErrKeepAlive) {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

// tellsWhenKnown is a policy that closes known when it is known that the peer sends NOPs, or that it answers pings.
type tellsWhenKnown struct {
	keepalive.Periodic
	known chan struct{}
}

func (p *tellsWhenKnown) Next(a keepalive.Activity) (keepalive.Action, time.Duration) {
	if p.known != nil && (a.LastNOP > 0 || a.LastEcho > 0) {
		close(p.known)
		p.known = nil
	}
	return p.Periodic.Next(a)
}

// startPeer starts a process that is a server of ours or theirs, and returns it with its address. The server echoes the
// first bytes of one stream. The process is killed when the test ends.
func startPeer(t *testing.T, peer string) (*os.Process, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPeerProcess$")
	cmd.Env = append(os.Environ(), peerProcess+"="+peer)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(addr)
}

// TestPeerProcess is the process that startPeer starts. It is no test.
func TestPeerProcess(t *testing.T) {
	peer := os.Getenv(peerProcess)
	if peer == "" {
		t.Skip("it is a part of TestStoppedProcessIsGivenUp")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var s muxSession
	if peer == "ours" {
		// It sends no NOPs, and answers pings.
		s, err = newOurs(conn, false, ourConfig{Version: 1, NoKeepAlive: true})
	} else {
		s, err = newest.start(conn, false, 1, theirKeepAlive(interval, never))
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.CopyN(st, st, 4)
	_, _ = s.Accept() // until the process is killed
}
