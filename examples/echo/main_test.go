package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"go.uber.org/goleak"
)

// TestMain lets a test run this binary as the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("ECHO_TEST_MAIN") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// mustRun runs the program to its end and returns what it printed.
func mustRun(t *testing.T, ctx context.Context, wantCode int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, args, &out, &errs); code != wantCode {
		t.Errorf("echo %q: exit code %d, want %d", args, code, wantCode)
	}
	t.Logf("echo %q\n%s%s", args, out.String(), errs.String())
	return out.String(), errs.String()
}

func wantOneLine(t *testing.T, stderr, part string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "echo: ") || !strings.HasSuffix(stderr, "\n") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr %q is not one line that begins with the program's name", stderr)
	}
	if !strings.Contains(stderr, part) {
		t.Errorf("stderr %q does not say %q", stderr, part)
	}
}

func TestBothEndsInOneProcess(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", `^100 streams, 104857600 bytes sent, echoed and checked in .+\n$`},
		{"-version 1 -streams 1 -bytes 1", `^1 streams, 1 bytes sent`},
		{"-version 2 -streams 10 -bytes 1000000", `^10 streams, 10000000 bytes sent`},
		{"-streams 1000 -bytes 100", `^1000 streams, 100000 bytes sent`},
	} {
		stdout, stderr := mustRun(t, t.Context(), exitOK, strings.Fields(c.args)...)
		if !regexp.MustCompile(c.want).MatchString(stdout) || stderr != "" {
			t.Errorf("echo %s: stdout %q, stderr %q, want %s and nothing", c.args, stdout, stderr, c.want)
		}
	}
}

func TestBadFlagsGetOneLine(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-what", "-what"},
		{"hello", `"hello"`},
		{"-version 3", "-version is 3, must be 1 or 2"},
		{"-version 0", "-version is 0, must be 1 or 2"},
		{"-version two", "-version"},
		{"-streams 0", "-streams is 0, must be 1 or more"},
		{"-streams -1", "-streams is -1"},
		{"-bytes 0", "-bytes is 0, must be 1 or more"},
		{"-bytes 1e6", "-bytes"},
		{"-listen 127.0.0.1:0 -connect 127.0.0.1:1", "exclude each other"},
		{"-listen 127.0.0.1:0 -streams 2", "-streams and -bytes are for the client"},
		{"-listen=", "need an address"},
		{"-connect=", "need an address"},
	} {
		stdout, stderr := mustRun(t, t.Context(), exitUsage, strings.Fields(c.args)...)
		wantOneLine(t, stderr, c.want)
		if stdout != "" {
			t.Errorf("echo %s: stdout %q", c.args, stdout)
		}
	}
}

func TestBadAddressesGetOneLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, stderr := mustRun(t, t.Context(), exitFailed, "-listen", l.Addr().String())
	wantOneLine(t, stderr, l.Addr().String())

	_, stderr = mustRun(t, t.Context(), exitFailed, "-listen", "127.0.0.1")
	wantOneLine(t, stderr, "missing port")

	l.Close()
	_, stderr = mustRun(t, t.Context(), exitFailed, "-connect", l.Addr().String())
	wantOneLine(t, stderr, l.Addr().String())
}

func TestHelpGoesToStdout(t *testing.T) {
	stdout, stderr := mustRun(t, t.Context(), exitOK, "-help")
	for _, flag := range []string{"-listen", "-connect", "-version", "-streams", "-bytes"} {
		if !strings.Contains(stdout, flag) {
			t.Errorf("-help does not mention %s", flag)
		}
	}
	if stderr != "" {
		t.Errorf("stderr %q", stderr)
	}
}

// startServer runs the program with -listen and returns its address, and a
// function that ends it as Ctrl-C does.
func startServer(t *testing.T, args ...string) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w, &stderr)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "listening on %s", &addr); scanErr != nil {
		t.Fatalf("the server printed %q, %v, %s", line, err, stderr.String())
	}
	go io.Copy(io.Discard, lines)
	return strings.TrimSuffix(addr, ","), func() {
		t.Helper()
		cancel()
		if code := <-ended; code != exitOK || stderr.Len() > 0 {
			t.Errorf("the server ended with %d and %q, want 0 and nothing", code, stderr.String())
		}
	}
}

func TestTheTwoEndsRunApart(t *testing.T) {
	addr, stop := startServer(t)
	for _, version := range []string{"1", "2"} { // one server for both
		stdout, _ := mustRun(t, t.Context(), exitOK,
			"-connect", addr, "-version", version, "-streams", "20", "-bytes", "300000")
		if !strings.HasPrefix(stdout, "20 streams, 6000000 bytes sent") {
			t.Errorf("version %s: stdout %q", version, stdout)
		}
	}
	stop()
}

func TestAServerOfOneVersionRefusesTheOther(t *testing.T) {
	addr, stop := startServer(t, "-version", "1")
	mustRun(t, t.Context(), exitOK, "-connect", addr, "-version", "1", "-streams", "1", "-bytes", "1")
	_, stderr := mustRun(t, t.Context(), exitFailed, "-connect", addr, "-version", "2", "-streams", "1", "-bytes", "1")
	wantOneLine(t, stderr, "stream 1 of 1: ")
	stop()
}

func TestCtrlCEndsBothEndsInTheMiddle(t *testing.T) {
	addr, stop := startServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stdout, stderr := mustRun(t, ctx, exitInterrupted, "-connect", addr, "-bytes", "1000000000000")
	wantOneLine(t, stderr, "interrupted")
	if stdout != "" {
		t.Errorf("stdout %q", stdout)
	}

	// And the server while a client is connected.
	clientEnded := make(chan struct{})
	go func() {
		defer close(clientEnded)
		mustRun(t, t.Context(), exitFailed, "-connect", addr, "-bytes", "1000000000000")
	}()
	time.Sleep(200 * time.Millisecond)
	stop()
	<-clientEnded
}

func TestARealCtrlCPrintsNoStack(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no way to send it to one process")
	}
	// A signal that comes before the program waits for it ends it in another way; then it gets longer.
	for wait := 250 * time.Millisecond; ; wait *= 2 {
		cmd := exec.Command(os.Args[0], "-bytes", "1000000000000")
		cmd.Env = append(os.Environ(), "ECHO_TEST_MAIN=1")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		code := cmd.ProcessState.ExitCode()
		if code == -1 && wait < time.Minute {
			continue
		}
		if code != exitInterrupted {
			t.Errorf("exit code %d, want %d", code, exitInterrupted)
		}
		if stdout.String() != "" || stderr.String() != "echo: interrupted\n" {
			t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
		}
		return
	}
}

func TestWhatAServerGetsWrongIsFound(t *testing.T) {
	for _, c := range []struct {
		name string
		echo func(io.ReadWriter)
		want string
	}{
		{"a byte is changed", func(s io.ReadWriter) {
			b, _ := io.ReadAll(s)
			b[len(b)/2] ^= 1
			s.Write(b)
		}, "what came back is not what was sent"},
		{"a byte is missing", func(s io.ReadWriter) {
			b, _ := io.ReadAll(s)
			s.Write(b[:len(b)-1])
		}, "1 of 1000 bytes did not come back"},
		{"a byte is added", func(s io.ReadWriter) {
			b, _ := io.ReadAll(s)
			s.Write(append(b, 0))
		}, "more came back than was sent"},
		{"nothing comes back", func(s io.ReadWriter) {
			io.Copy(io.Discard, s)
		}, "1000 of 1000 bytes did not come back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				sess, err := session.Server(conn, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer sess.Close()
				for {
					s, err := sess.Accept()
					if err != nil {
						return
					}
					c.echo(s)
					s.Close()
				}
			}()
			_, stderr := mustRun(t, t.Context(), exitFailed,
				"-connect", l.Addr().String(), "-streams", "1", "-bytes", "1000")
			wantOneLine(t, stderr, c.want)
			<-served
		})
	}
}
