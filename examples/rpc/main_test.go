package main

import (
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

func TestBothEndsCallEachOther(t *testing.T) {
	for _, c := range []struct {
		transport string
		pair      func(testing.TB) (net.Conn, net.Conn)
	}{
		{"pipe", testutil.PipePair},
		{"tcp", testutil.TCPPair},
	} {
		t.Run(c.transport, func(t *testing.T) {
			testutil.LeakCheck(t)
			office, worker := c.pair(t)
			job, result, err := run(office, worker)
			if err != nil {
				t.Fatal(err)
			}
			if job != "hello, worker 1" || result != "HELLO, WORKER 1" {
				t.Errorf("job %q, result %q", job, result)
			}
		})
	}
}
