package relay

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// Between two sockets of which one is a TCP connection, package net moves the data, which the system may do by itself.
// Between others, and while a limit on idle time is set, Join copies.
func TestJoinLeavesSocketsToTheSystem(t *testing.T) {
	pairs := map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": testutil.TCPPair, "unix": testutil.UnixPair, "pipe": testutil.PipePair}
	for _, tt := range []struct {
		a, b    string
		opts    *Options
		spliced bool
	}{
		{"tcp", "tcp", nil, true},
		{"tcp", "unix", nil, true},
		{"unix", "tcp", nil, true},
		{"unix", "unix", nil, false},
		{"tcp", "pipe", nil, false},
		{"tcp", "tcp", &Options{IdleTimeout: 1 << 40}, false},
	} {
		t.Run(tt.a+" "+tt.b, func(t *testing.T) {
			theirA, a := pairs[tt.a](t)
			theirB, b := pairs[tt.b](t)
			j := newJoin(a, b, tt.opts)
			done := make(chan struct{})
			go func() {
				defer close(done)
				j.run(context.Background())
			}()
			for _, ends := range [][2]net.Conn{{theirA, theirB}, {theirB, theirA}} {
				if _, err := ends[0].Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(ends[1], make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []*direction{&j.ab, &j.ba} {
				d.mu.Lock()
				if d.isSpliced != tt.spliced {
					t.Errorf("spliced: %v, want %v", d.isSpliced, tt.spliced)
				}
				d.mu.Unlock()
			}
			_, _ = theirA.Close(), theirB.Close()
			<-done
		})
	}
}
