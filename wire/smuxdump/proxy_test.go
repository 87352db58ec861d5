package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The time in which the receiver takes nothing from the proxy is the transport's, and so is a pause within a frame.
func TestProxyTimesAReceiverThatTakesNothing(t *testing.T) {
	live, _ := conversationOf(t, func(t *testing.T, client, server net.Conn) {
		_, err := client.Write(join(syn(1), psh(1, "hello")))
		must(t, err)
		time.Sleep(2 * time.Second)
		_, err = io.ReadFull(server, make([]byte, 21))
		must(t, err)
		pause()
		f := psh(1, "in two pieces")
		go io.Copy(io.Discard, server)
		_, err = client.Write(f[:10])
		must(t, err)
		time.Sleep(3 * time.Second)
		_, err = client.Write(f[10:])
		must(t, err)
		client.Close()
	})
	for _, want := range []string{
		"stream 1 was blocked for 2s by the transport: the receiver took no data\n",
		"stream 1 was blocked for 3s by the transport: it stopped within a frame\n",
		"PSH stream 1, length 13, room 262126, took 3s\n",
	} {
		if !strings.Contains(live, want) {
			t.Errorf("%q is not in the output:\n%s", want, live)
		}
	}
}

// A direction whose end is a half-close passes on, and the other one goes on.
func TestProxyPassesHalfCloseOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request, _ := io.ReadAll(conn) // to the half-close
		conn.Write(request)
	}()
	ctx, cancel := context.WithCancel(t.Context())
	errs := lockedBuffer{line: make(chan string, 1)}
	var out lockedBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", "127.0.0.1:0", "-to", l.Addr().String(), "-time", "none"}, nil, &out, &errs)
	}()
	conn, err := net.Dial("tcp", strings.Fields(<-errs.line)[1])
	must(t, err)
	defer conn.Close()
	sent := join(syn(1), psh(1, "x"))
	_, err = conn.Write(sent)
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	if answer, err := io.ReadAll(conn); string(answer) != string(sent) || err != nil {
		t.Errorf("the answer is %x, %v", answer, err)
	}
	cancel()
	// The answer is what a server must not send: a SYN of the client's id. The exit code tells.
	if c := <-code; c != 1 || !strings.Contains(out.String(), "#1 < SYN stream 1, length 0, PROBLEM: SYN with an id that is the other side's to open") {
		t.Errorf("exit code %d, %s", c, out.String())
	}
}

// On demand, as root: tcpdump captures what passes over the loopback interface, and the capture shows what the proxy did.
//
//	SMUXDUMP_TCPDUMP=1 go test -run TestRealCaptureIsShown .
func TestRealCaptureIsShown(t *testing.T) {
	if os.Getenv("SMUXDUMP_TCPDUMP") == "" {
		t.Skip("runs with SMUXDUMP_TCPDUMP=1, as root, where tcpdump is installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	file := filepath.Join(t.TempDir(), "capture.pcap")
	tcpdump := exec.CommandContext(t.Context(), "tcpdump", "-i", "lo", "-s", "0", "-U", "-w", "-", "tcp", "port", port)
	pipe, err := tcpdump.StdoutPipe()
	must(t, err)
	must(t, tcpdump.Start())
	header := make([]byte, 24) // comes when tcpdump captures
	_, err = io.ReadFull(pipe, header)
	must(t, err)

	go func() {
		conn, err := l.Accept()
		if err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	sent := join(syn(1), psh(1, "hello"))
	_, err = conn.Write(sent)
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, len(sent)))
	must(t, err)
	conn.Close()

	out, err := os.Create(file)
	must(t, err)
	_, err = out.Write(header)
	must(t, err)
	_, err = io.CopyN(out, pipe, 400) // some packets; the rest may be cut
	must(t, err)
	must(t, out.Close())
	must(t, tcpdump.Process.Kill())
	_ = tcpdump.Wait() // it was killed
	capture, err := os.ReadFile(file)
	must(t, err)
	if got, stderr, _ := dumped(capture, "-time", "none"); !strings.Contains(got, "#1 > PSH stream 1, length 5, room 262139\n") {
		t.Errorf("%s%s", stderr, got)
	}
}
