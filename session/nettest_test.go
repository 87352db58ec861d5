package session_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Streams pass golang.org/x/net/nettest over every transport.
func TestStreamsPassNettest(t *testing.T) { passNettest(t, nil) }

func passNettest(t *testing.T, want func(testutil.Transport) bool) {
	for _, tr := range testutil.Transports() {
		if want != nil && !want(tr) {
			continue
		}
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", tr.Name, version), func(t *testing.T) {
				tr.Pair(t) // skips this if there is no such transport here
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					ca, cb := tr.Pair(t)
					a, err := session.Client(ca, &session.Config{Version: version})
					if err != nil {
						return nil, nil, nil, err
					}
					b, err := session.Server(cb, nil)
					if err != nil {
						return nil, nil, nil, err
					}
					s1, err := a.OpenStream(context.Background())
					if err != nil {
						return nil, nil, nil, err
					}
					s2, err := b.AcceptStream(context.Background())
					if err != nil {
						return nil, nil, nil, err
					}
					return s1, s2, func() {
						s1.Close()
						s2.Close()
						a.Close()
						b.Close()
					}, nil
				})
			})
		}
	}
}
