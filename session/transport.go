package session

import (
	"net"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A transport is how a session uses its connection. There are two: a socket never blocks in a system call,
// and a portable works with any io.ReadWriteCloser. newTransport chooses, once.
type transport interface {
	// read reads until the reader has to wait for something else, or the transport has ended, and returns
	// which of the two. It takes the reader, and gives it back when it returns.
	read() (wait, error)
	// watch ends the session if the transport is closed while nothing is read, where that can be
	// noticed, until stop is called.
	watch() (stop func())
	// readInline reads what has arrived, if nobody else reads and that needs no waiting. It reports whether it
	// has woken a Read. It is called by the holder of the writer role.
	readInline() (woke bool)
	// interrupt tells read that writing has failed: it reads what has arrived, and no more. A transport
	// that cannot read without waiting reads on.
	interrupt()

	// inline reports whether write never waits, so that the caller of Write may call it.
	inline() bool
	// write writes b. An inline transport may write less, if it is full.
	write(b *wire.Batch) (n int, err error)
	// writeSome writes p or a part of it, and waits until the transport has taken at least a byte.
	writeSome(p []byte) (n int, err error)

	// settle waits until the peer's host has what was written, as far as the transport can tell. It
	// reports false if done or timeout came first.
	settle(done <-chan struct{}, timeout <-chan time.Time) bool
}

// onOneHost reports whether both ends of a transport are on this machine, as far as their addresses tell.
func onOneHost(local, remote net.Addr) bool {
	switch r := remote.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		l, ok := local.(*net.TCPAddr)
		return r.IP.IsLoopback() || ok && len(r.IP) > 0 && r.IP.Equal(l.IP)
	}
	return false
}
