package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Wrong flags exit with code 2 and one line; -help prints what each flag does.
func TestUsage(t *testing.T) {
	for _, args := range []string{
		"", "-listen :9000", "-to host:1", "-listen :9000 -to host:1 file", "-listen :9000 -to host:1 -raw", "-w out file",
		"-stream x file", "-stream 4294967296 file", "-port 70000 file", "-conn -1 file", "-top -1 file", "-summary -data file",
		"-time local file", "-raw -port 1 file", "-nothing", "-listen= -to=",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &errs); code != 2 || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%q: exit code %d, %q, %q", args, code, &out, &errs)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-help"}, nil, &out, &errs); code != 0 || errs.Len() > 0 || !strings.Contains(out.String(), "-summary") {
		t.Errorf("-help: exit code %d, %q, %q", code, &out, &errs)
	}
	if code := run(t.Context(), []string{filepath.Join(t.TempDir(), "none")}, nil, &out, &errs); code != 1 {
		t.Errorf("a file that does not exist: exit code %d", code)
	}
}

// Data is printed with -data, and not without.
func TestDataIsShownOnRequestAlone(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1), psh(1, "a secret"))
	c.close()
	capture := raw(t, s.packets())
	for args, want := range map[string]string{
		"": "", "-json": "", "-summary": "", "-json -summary": "",
		"-data": "a secret", "-data -json": `"data":"YSBzZWNyZXQ="`,
	} {
		got, _, code := dumped(capture, strings.Fields(args)...)
		if code != 0 || strings.Contains(got, "secret") != (want == "a secret") || !strings.Contains(got, want) {
			t.Errorf("%q: exit code %d, %s", args, code, got)
		}
	}
}

// The bytes of one direction are decoded without a capture, from a file or from the standard input. A cut or a frame
// that breaks the protocol exits with 1.
func TestRawDumpIsDecoded(t *testing.T) {
	dump := join(syn(1), psh(1, "hello"), fin(1), frame(wire.FIN, 0xffffffff, ""))
	want := `       - #1   stdin > (the other side)
       0 #1 > SYN stream 1
       8 #1 > PSH stream 1, length 5, room 262139
      21 #1 > FIN stream 1
      29 #1 > FIN id 0xffffffff: signal drain: open no more streams here
       - #1   end
`
	got, stderr, code := dumped(dump, "-raw")
	if diff := cmp.Diff(want, got); diff != "" || code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s(-want +got):\n%s", code, stderr, diff)
	}
	name := filepath.Join(t.TempDir(), "dump")
	must(t, os.WriteFile(name, dump, 0o600))
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-raw", "-time=none", name}, nil, &out, &errs); code != 0 || strings.Count(out.String(), "\n") != 6 {
		t.Errorf("exit code %d, %s%s", code, &errs, &out)
	}
	for name, test := range map[string]struct{ dump, want string }{
		"cut header":  {string(dump[:12]), "within a header, of which 4 of 8 bytes have arrived"},
		"cut payload": {string(dump[:18]), "within a PSH of stream 1, of which 2 of 5 bytes have arrived"},
		"violation":   {string(dump) + "\x02\x03\x00\x00\x01\x00\x00\x00", wire.ErrNOPStreamID.Error()},
		"not smux":    {"HTTP/1.1 200 OK\r\n", "(HTTP)"},
		"empty":       {"", ""},
	} {
		got, stderr, code := dumped([]byte(test.dump), "-raw")
		if code != 1 || !strings.Contains(got, test.want) || stderr == "" {
			t.Errorf("%s: exit code %d, %s%s, want %q", name, code, stderr, got, test.want)
		}
	}
	// The answers of a server: streams that it has not opened.
	got, _, code = dumped(join(upd(1, 0, 262144), psh(1, "x"), fin(1), fin(0xfffffffe)), "-raw", "-time=none")
	if code != 0 || !strings.Contains(got, "signal drain") {
		t.Errorf("exit code %d: %s", code, got)
	}
}

// Each line of -json is an object with the documented names.
func TestJSONHasAnObjectInEachLine(t *testing.T) {
	capture := raw(t, helloPackets(t))
	got, _, code := dumped(capture, "-json")
	var lines []map[string]any
	for line := range strings.Lines(got) {
		var o map[string]any
		must(t, json.Unmarshal([]byte(line), &o))
		lines = append(lines, o)
	}
	if code != 0 || len(lines) != 8 {
		t.Fatalf("exit code %d, %d lines", code, len(lines))
	}
	want := map[string]any{
		"time": "2026-01-02T03:04:05.003Z", "event": "frame", "conn": 1.0, "from": "10.0.0.2:9000", "to": "10.0.0.1:40001",
		"offset": 0.0, "version": 2.0, "command": "UPD", "stream": 1.0, "length": 8.0, "consumed": 5.0, "window": 262144.0, "room": 262144.0,
	}
	if diff := cmp.Diff(want, lines[3]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, _, _ = dumped(capture, "-json", "-summary")
	var o struct {
		Opened  [2]int
		Closed  int
		Client  string
		Streams []struct{ Directions [2]struct{ Bytes int } }
	}
	must(t, json.Unmarshal([]byte(got), &o))
	if o.Opened != [2]int{1, 0} || o.Closed != 1 || o.Client != "10.0.0.1:40001" || len(o.Streams) != 1 || o.Streams[0].Directions[1].Bytes != 5 {
		t.Errorf("%+v of %s", o, got)
	}
}

// The summary has the streams that were blocked for longest, up to -top.
func TestSummaryHasTheWorstStreams(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	for n := range uint32(20) {
		c.frames(toServer, syn(2*n+1), psh(2*n+1, strings.Repeat("x", int(n))), fin(2*n+1))
		c.frames(toClient, fin(2*n+1))
	}
	c.close()
	got, _, code := dumped(raw(t, s.packets()), "-summary", "-top", "2")
	if one, _, _ := dumped(raw(t, s.packets()), "-summary", "-top", "2", "-stream", "3"); strings.Count(one, "stream ") != 1 || !strings.Contains(one, "stream 3:") {
		t.Errorf("with -stream 3: %s", one)
	}
	if code != 0 || strings.Count(got, "stream ") != 2 || !strings.Contains(got, "stream 37") || !strings.Contains(got, "stream 39") ||
		!strings.Contains(got, "opened 20, < opened 0; 20 closed") {
		t.Errorf("exit code %d: %s", code, got)
	}
}

// A lockedBuffer is a bytes.Buffer for several goroutines. It tells of its first line.
type lockedBuffer struct {
	mu   sync.Mutex // guards buf
	buf  bytes.Buffer
	line chan string // gets the first line
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() == 0 && b.line != nil {
		b.line <- string(p)
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The proxy passes what two sessions say over TCP, shows it, and writes it to a capture that shows the same. Ctrl-C ends
// it with code 0.
func TestProxyShowsWhatPasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s, err := session.Server(conn, nil)
		if err != nil {
			return
		}
		defer s.Close()
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			io.Copy(st, st)
			st.Close()
		}
	}()

	file := filepath.Join(t.TempDir(), "capture.pcap")
	ctx, cancel := context.WithCancel(t.Context())
	var out lockedBuffer
	errs := lockedBuffer{line: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", "127.0.0.1:0", "-to", l.Addr().String(), "-w", file, "-time", "none"}, nil, &out, &errs)
	}()
	addr := strings.Fields(<-errs.line)[1]

	conn, err := net.Dial("tcp", addr)
	must(t, err)
	s, err := session.Client(conn, nil)
	must(t, err)
	st, err := s.OpenStream(t.Context())
	must(t, err)
	_, err = st.Write([]byte("hello"))
	must(t, err)
	must(t, st.CloseWrite())
	if answer, err := io.ReadAll(st); string(answer) != "hello" || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	must(t, s.Close())
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d, %s", c, errs.String())
	}
	for _, want := range []string{"#1 > SYN stream 1\n", "#1 > PSH stream 1, length 5, room 262139\n", "#1 < PSH stream 1, length 5, room 262139\n", "#1   end\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the output:\n%s", want, out.String())
		}
	}
	capture, err := os.ReadFile(file)
	must(t, err)
	if got, stderr, _ := dumped(capture, "-time", "none"); sorted(got) != sorted(out.String()) {
		t.Errorf("the capture has\n%s\n%s", got, stderr)
	}
}

// sorted returns the lines that are frames of the client: their order does not depend on the other direction.
func sorted(text string) string {
	var frames strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#1 > ") && !strings.Contains(line, "note:") {
			line, _, _ = strings.Cut(line, ":")
			frames.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	return frames.String()
}

// A proxy whose target does not answer resets the connection, says so, and goes on.
func TestProxyWithoutTargetSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	to := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	errs := lockedBuffer{line: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", "127.0.0.1:0", "-to", to}, nil, io.Discard, &errs)
	}()
	addr := strings.Fields(<-errs.line)[1]
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			continue // it was reset so soon
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("Read of the connection succeeds")
		}
		conn.Close()
	}
	cancel()
	if c := <-code; c != 0 || strings.Count(errs.String(), "connect") < 2 {
		t.Errorf("exit code %d, %s", c, errs.String())
	}
}

// Progress is shown on a terminal alone.
func TestProgressNeedsATerminal(t *testing.T) {
	var w bytes.Buffer
	r := strings.NewReader("x")
	if got, stop := withProgress(&w, r, 1<<40); got != io.Reader(r) {
		t.Error("progress is shown to a buffer")
		stop()
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	defer f.Close()
	if got, stop := withProgress(f, r, 1<<40); got != io.Reader(r) {
		t.Error("progress is shown to a file")
		stop()
	}
}

// Ctrl-C while a capture is read exits with 130.
func TestInterruptedCaptureExitsWith130(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1))
	for range 2000 {
		c.frames(toServer, psh(1, "x"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"-"}, bytes.NewReader(s.file.Bytes()), &out, &errs); code != 130 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit code %d, %s", code, &errs)
	}
}
