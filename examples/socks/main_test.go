package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// newServer starts both ends and returns the address of the SOCKS5 server, and that of a target that answers a request
// when it has read it whole.
func newServer(t *testing.T) (socks string, target *net.TCPAddr) {
	t.Helper()
	testutil.LeakCheck(t)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	echo, farEnd, nearEnd := listen(t), listen(t), listen(t)
	wg.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				request, _ := io.ReadAll(c)
				fmt.Fprintf(c, "answer to %s", request)
			})
		}
	})
	wg.Go(func() { far(ctx, farEnd) })
	wg.Go(func() { near(ctx, nearEnd, farEnd.Addr().String()) })
	return nearEnd.Addr().String(), echo.Addr().(*net.TCPAddr)
}

// connectTo makes a SOCKS5 request with the address, and returns the connection and the reply.
func connectTo(t *testing.T, socks string, address []byte) (conn *net.TCPConn, reply byte) {
	t.Helper()
	c, err := net.Dial("tcp", socks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(append([]byte{5, 2, 0, 2, 5, 1, 0}, address...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2+10)
	if _, err := io.ReadFull(c, answer); err != nil || !bytes.HasPrefix(answer, []byte{5, 0, 5}) {
		t.Fatalf("answered by % x, %v", answer, err)
	}
	return c.(*net.TCPConn), answer[3]
}

func port(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

// A request reaches its target, by address or name, and the answer comes back after a half-close.
func TestConnectionsReachTheirTargets(t *testing.T) {
	socks, target := newServer(t)
	var wg sync.WaitGroup
	for _, address := range [][]byte{
		append([]byte{1}, target.IP.To4()...),
		append([]byte{3, 9}, "127.0.0.1"...),
		append([]byte{4}, target.IP.To16()...),
	} {
		wg.Go(func() {
			c, reply := connectTo(t, socks, append(address, port(target.Port)...))
			if reply != 0 {
				t.Errorf("% x: reply %d", address, reply)
				return
			}
			request := strings.Repeat("request", 10_000)
			io.WriteString(c, request)
			c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "answer to "+request || err != nil {
				t.Errorf("% x: got %d bytes, %v", address, len(got), err)
			}
		})
	}
	wg.Wait()
}

// The reply says that a target cannot be reached.
func TestATargetThatCannotBeReachedIsReported(t *testing.T) {
	socks, target := newServer(t)
	l := listen(t)
	closed := l.Addr().(*net.TCPAddr).Port
	l.Close()
	c, reply := connectTo(t, socks, append(append([]byte{1}, target.IP.To4()...), port(closed)...))
	if reply != 4 {
		t.Errorf("reply %d, want 4", reply)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

// What is no SOCKS5 request ends its own connection.
func TestOtherProtocolsEndTheirConnection(t *testing.T) {
	socks, target := newServer(t)
	c, err := net.Dial("tcp", socks)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\n")
	io.ReadAll(c) // ends, perhaps with a reset
	if _, reply := connectTo(t, socks, append(append([]byte{1}, target.IP.To4()...), port(target.Port)...)); reply != 0 {
		t.Errorf("reply %d", reply)
	}
}

// The flags are explained, and bad ones are refused.
func TestRunExplainsItsFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-via address"},
		{"", 2, "give either -serve, or"},
		{"-serve x -via y", 2, "give either -serve, or"},
		{"-x", 2, "not defined"},
		{"-serve x:-1", 1, "invalid port"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("socks %s: code %d, %s", c.args, code, out.String())
		}
	}
}
