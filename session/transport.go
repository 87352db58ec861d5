package session

import (
	"net"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A transport is how a session uses its connection. There are two kinds: a socket never blocks in a system call, and
// a portable works with any io.ReadWriteCloser. newTransport chooses one.
type transport interface {
	// read reads, and hands the data to the session's reader, until the reader has to wait for something other than
	// data or the transport has ended. It returns what the reader waits for, or why the transport has ended. The
	// reader belongs to read until read returns.
	read() (wait, error)
	// watch notices if the transport is closed while the reader pauses, and ends the session then, until stop is
	// called. A transport that cannot notice it does nothing.
	watch() (stop func())
	// readInline reads what has arrived, unless that needs waiting or somebody else is reading. It reports
	// whether it has woken a Read of a stream. The holder of the writer role calls it.
	readInline() (woke bool)
	// renew makes read return waitRenewal if it waits for data. A transport that cannot wake it does nothing.
	renew()
	// interrupt makes read return once it has read what has arrived, because writing has failed. A transport
	// that cannot read without waiting does nothing.
	interrupt()

	// hasUnread reports whether bytes have arrived that were not read yet, as far as the transport can tell.
	hasUnread() bool

	// inline reports whether write never waits. Then callers of Write may call it.
	inline() bool
	// write writes b. A transport that is inline writes only a part if it is full.
	write(b *wire.Batch) (n int, err error)
	// writeSome writes p or a part of it. It waits until the transport has taken at least one byte.
	writeSome(p []byte) (n int, err error)

	// unacknowledged returns how many of the bytes written the peer's host has not acknowledged. known says that
	// the transport can tell.
	unacknowledged() (n int, known bool)
	// pathRTT returns the round trip to the peer's host without queues, or 0 if it is unknown. It waits for nothing and
	// calls nothing of the user's.
	pathRTT() time.Duration
	// awaitDelivery waits until the peer's host has what was written, as far as the transport can tell. It
	// reports false if done or timeout came first and data may be lost.
	awaitDelivery(done <-chan struct{}, timeout <-chan time.Time) bool
}

// onOneHost reports whether both ends of a transport are on this machine, judged by their addresses.
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
