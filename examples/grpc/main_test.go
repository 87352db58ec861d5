package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client's calls are all answered, although the server restarts again and again.
func TestServerRestartsLoseNoCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	done := make(chan error, 1)
	go func() {
		n, err := call(context.Background(), address, 500)
		if n != 500 && err == nil {
			err = fmt.Errorf("%d calls were answered", n)
		}
		done <- err
	}()
	for restart := 0; ; restart++ {
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- serve(ctx, l) }()
		last := restart == 3
		if last {
			if err := <-done; err != nil {
				t.Error(err)
			}
		} else if n, err := call(context.Background(), address, 10); n != 10 || err != nil {
			t.Errorf("%d calls were answered, %v", n, err)
		}
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if last {
			return
		}
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
	}
}

// The flags are explained, and bad ones are refused.
func TestRunExplainsItsFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-connect address"},
		{"", 2, "give either -listen or -connect"},
		{"-listen x -connect y", 2, "give either -listen or -connect"},
		{"-x", 2, "not defined"},
		{"-listen 127.0.0.1:-1", 1, "invalid port"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("grpc %s: code %d, %s", c.args, code, out.String())
		}
	}
}
