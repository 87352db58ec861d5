package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// The client's requests are all answered, although the server restarts again and again.
func TestServerRestartsLoseNoRequest(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	const restarts, requests = 10, 500
	done := make(chan struct{})
	var client sync.WaitGroup
	client.Go(func() {
		defer close(done)
		for range restarts { // so that each restart has requests in flight
			if n, err := get(context.Background(), address, requests/restarts); n != requests/restarts || err != nil {
				t.Errorf("%d requests were answered, %v", n, err)
			}
		}
	})
	for restart := 0; ; restart++ {
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- serve(ctx, l) }()
		if restart < restarts {
			if n, err := get(context.Background(), address, 10); n != 10 || err != nil {
				t.Errorf("%d requests were answered, %v", n, err)
			}
		} else {
			<-done
		}
		stop()
		testutil.WantErr(t, "serve", <-served, nil)
		if restart == restarts {
			break
		}
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
	}
	client.Wait()
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
			t.Errorf("web %s: code %d, %s", c.args, code, out.String())
		}
	}
}
