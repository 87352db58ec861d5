package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/printer"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", name, diff)
	}
}

// dumped runs the program over the capture, and returns what it prints and its exit code.
func dumped(capture []byte, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(context.Background(), append(args, "-"), bytes.NewReader(capture), &out, &errs)
	return out.String(), errs.String(), code
}

// A pipe is one end of a connection in memory with an address.
type pipe struct {
	net.Conn
	local, remote net.Addr
}

func (p pipe) LocalAddr() net.Addr  { return p.local }
func (p pipe) RemoteAddr() net.Addr { return p.remote }

// A listener has one connection.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *listener) Addr() net.Addr { return clientAddr }

var (
	clientAddr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 40000}
	serverAddr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9000}
)

// conversationOf has two real peers talk through a proxy in a bubble, and returns what the proxy shows, and the capture
// that it writes.
func conversationOf(t *testing.T, talk func(t *testing.T, client, server net.Conn)) (live string, capture []byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out, file bytes.Buffer
		w := bufio.NewWriter(&out)
		text := &printer.Text{W: w}
		writer, err := source.NewWriter(&file)
		if err != nil {
			t.Fatal(err)
		}
		client, clientEnd := net.Pipe()
		server, serverEnd := net.Pipe()
		p := &source.Proxy{
			To: serverAddr.String(), Capture: writer,
			Set: conversation.NewSet(conversation.Options{Handle: text.Handle}),
			Dial: func(context.Context, string, string) (net.Conn, error) {
				return pipe{serverEnd, clientAddr, serverAddr}, nil
			},
			Log: func(err error) { t.Error(err) },
		}
		l := &listener{make(chan net.Conn, 1), make(chan struct{})}
		l.conns <- pipe{clientEnd, serverAddr, clientAddr}
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- p.Serve(ctx, l) }()
		defer func() { // also if talk fails
			cancel()
			client.Close()
			server.Close()
		}()
		talk(t, client, server)
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		w.Flush()
		live, capture = out.String(), file.Bytes()
	})
	return live, capture
}

// pause lets all that is on its way arrive, and time pass.
func pause() {
	synctest.Wait()
	time.Sleep(100 * time.Millisecond)
}

// must fails the test for an error that is not io.EOF.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
