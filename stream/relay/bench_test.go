package relay_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// BenchmarkJoin sends through a relay from one socket to another, and from a socket to a stream and back: with Join, and
// with io.Copy.
func BenchmarkJoin(b *testing.B) {
	for _, stage := range []string{"socket", "stream"} {
		for _, with := range []string{"Join", "Copy"} {
			b.Run(stage+"/"+with, func(b *testing.B) {
				var wg sync.WaitGroup
				join := func(x, y net.Conn) {
					if with == "Join" {
						wg.Go(func() { relay.Join(context.Background(), x, y, nil) })
						return
					}
					for _, way := range [][2]net.Conn{{x, y}, {y, x}} {
						wg.Go(func() {
							io.Copy(way[0], way[1])
							way[0].(interface{ CloseWrite() error }).CloseWrite()
						})
					}
				}
				client, in := testutil.TCPPair(b)
				out, server := testutil.TCPPair(b)
				if stage == "socket" {
					join(in, out)
				} else {
					ca, cb := testutil.TCPPair(b)
					c, _ := session.Client(ca, nil)
					s, _ := session.Server(cb, nil)
					defer c.Close()
					defer s.Close()
					st, _ := c.OpenStream(b.Context())
					join(in, st)
					far, _ := s.AcceptStream(b.Context())
					join(far, out)
				}
				const size = 64 << 10
				b.SetBytes(size)
				wg.Go(func() {
					io.Copy(io.Discard, server)
					server.Close()
				})
				p := make([]byte, size)
				for b.Loop() {
					client.Write(p)
				}
				client.(*net.TCPConn).CloseWrite()
				io.ReadAll(client)
				client.Close()
				wg.Wait()
			})
		}
	}
}
