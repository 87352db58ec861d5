package stream_test

import (
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Streams work under any session that follows the rules of Link, not only under this module's.

// Streams pass nettest under a session that is not this module's.
func TestStreamsOfAForeignSessionPassNettest(t *testing.T) {
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		for _, gather := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/gathering %v", v, gather), func(t *testing.T) {
				testutil.LeakCheck(t)
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					a, b, cut := join(v, 1000, gather)
					return a, b, func() {
						a.Close()
						b.Close()
						cut()
					}, nil
				})
			})
		}
	}
}

// Under such a session they carry every byte in both directions.
func TestStreamsOfAForeignSessionCarryEveryByte(t *testing.T) {
	const size = 1 << 20
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		for _, maxFrame := range []int{1, 100, 32760, wire.MaxPayload} {
			for _, gather := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%d bytes a frame/gathering %v", v, maxFrame, gather), func(t *testing.T) {
					testutil.LeakCheck(t)
					a, b, cut := join(v, maxFrame, gather)
					defer cut()
					n := int64(min(size, 3000*maxFrame))
					errs := make(chan error, 4)
					for i, s := range []*stream.Stream{a, b} {
						go func() {
							_, err := testutil.Pattern(i).Send(s, n, 300+i*60_000)
							s.CloseWrite()
							errs <- err
						}()
						go func() { errs <- testutil.Pattern(1-i).Receive(s, n) }()
					}
					for range cap(errs) {
						if err := <-errs; err != nil {
							t.Error(err)
						}
					}
					if _, err := a.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("Read at the end: %v, want a bare io.EOF", err)
					}
				})
			}
		}
	}
}
