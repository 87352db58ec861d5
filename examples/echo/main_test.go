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
	"runtime"
	"strings"
	"testing"

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

// Without -listen and -connect both ends run, and what was measured is printed.
func TestBothEndsInOneProcess(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // of the second line
	}{
		{"", "100 streams, 104857600 bytes sent, echoed and checked in "},
		{"-version 1 -streams 1 -bytes 1", "1 streams, 1 bytes sent"},
		{"-version 2 -streams 10 -bytes 1000000", "10 streams, 10000000 bytes sent"},
		{"-streams 1000 -bytes 100", "1000 streams, 100000 bytes sent"},
	} {
		if c.args == "" && testing.Short() {
			continue
		}
		stdout, stderr := mustRun(t, t.Context(), exitOK, strings.Fields(c.args)...)
		if !strings.Contains(stdout, "\n"+c.want) || stderr != "" {
			t.Errorf("echo %s: stdout %q, stderr %q, want %s and nothing", c.args, stdout, stderr, c.want)
		}
		for _, line := range []string{"sending ", "rate ", "round trip ", "memory ", "limited by "} {
			if !strings.Contains("\n"+stdout, "\n"+line) {
				t.Errorf("echo %s: no line begins with %q", c.args, line)
			}
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
		if !strings.Contains(stdout, "\n20 streams, 6000000 bytes sent") {
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

// longest is a number of bytes that no test sends to its end.
const longest = "1000000000000"

// Ctrl-C ends a client while data is on its way, with one line.
func TestCtrlCEndsTheClientInTheMiddle(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	addr, wait := serveWith(t, func(s io.ReadWriter) {
		io.ReadFull(s, make([]byte, 1))
		interrupt()
		io.Copy(s, s)
	})
	stdout, stderr := mustRun(t, ctx, exitInterrupted, "-connect", addr, "-bytes", longest)
	wantOneLine(t, stderr, "interrupted")
	if !isStartLine(stdout) {
		t.Errorf("stdout %q", stdout)
	}
	wait()
}

// Ctrl-C ends a server while a client sends.
func TestCtrlCEndsTheServerInTheMiddle(t *testing.T) {
	addr, stop := startServer(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sess, err := session.Client(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close()
	s, err := sess.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := io.Copy(io.Discard, s); err != nil {
		t.Logf("the stream ended with %v", err) // or with io.EOF, as the server has closed it first
	}
}

func isStartLine(stdout string) bool {
	return strings.HasPrefix(stdout, "sending ") && strings.Count(stdout, "\n") == 1
}

// A real Ctrl-C ends the program as the context does.
func TestARealCtrlCPrintsNoStack(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no way to send it to one process")
	}
	cmd := exec.Command(os.Args[0], "-bytes", longest)
	cmd.Env = append(os.Environ(), "ECHO_TEST_MAIN=1")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdout := bufio.NewReader(pipe)
	start, err := stdout.ReadString('\n') // once it runs, it catches signals
	if err != nil {
		t.Errorf("it printed %q, %v", start, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(stdout)
	if !isStartLine(start) || len(rest) > 0 || err != nil {
		t.Errorf("stdout %q and %q, %v", start, rest, err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v, want exit code %d", err, exitInterrupted)
	}
	if stderr.String() != "echo: interrupted\n" {
		t.Errorf("stderr %q", stderr.String())
	}
}

// serveWith serves one connection, and calls echo for each of its streams in turn. wait waits for its end.
func serveWith(t *testing.T, echo func(io.ReadWriter)) (addr string, wait func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer l.Close()
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
			echo(s)
			s.Close()
		}
	}()
	return l.Addr().String(), func() { <-served }
}

// What a server sends back wrongly is found, and said in one line.
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
			addr, wait := serveWith(t, c.echo)
			_, stderr := mustRun(t, t.Context(), exitFailed,
				"-connect", addr, "-streams", "1", "-bytes", "1000")
			wantOneLine(t, stderr, c.want)
			wait()
		})
	}
}
