//go:build !386 && !portable

package session

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// gather sets TCP_CORK of the socket below a TLS connection, and clears it.
func TestGatherSetsAndClearsTCPCork(t *testing.T) {
	tcp, _ := testutil.TCPPair(t)
	below := socketBelow(tls.Client(tcp, &tls.Config{InsecureSkipVerify: true}))
	corked := func() bool {
		rc, err := tcp.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var v int
		var failed error
		if err := rc.Control(func(fd uintptr) { v, failed = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK) }); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		return v != 0
	}
	for _, on := range []bool{true, false, true, false} {
		if below.gather(on); corked() != on {
			t.Errorf("after gather(%v), TCP_CORK is %v", on, corked())
		}
	}
	_ = tcp.Close()
	below.gather(true) // does nothing
}
