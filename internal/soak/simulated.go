package main

import (
	"io"
	"net"
	"syscall"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/wire"
)

// A simulation makes the two ends of a transport from those of a simulated network. limits are the MaxWriteSize of both ends.
type simulation func(conns [2]*simnet.Conn, limits [2]int) [2]io.ReadWriteCloser

// simulations are the transports in memory that can be held.
var simulations = map[string]simulation{
	"sim": func(c [2]*simnet.Conn, _ [2]int) [2]io.ReadWriteCloser { return [2]io.ReadWriteCloser{c[0], c[1]} },
	"bare": func(c [2]*simnet.Conn, _ [2]int) [2]io.ReadWriteCloser {
		return [2]io.ReadWriteCloser{simnet.Bare(c[0]), simnet.Bare(c[1])}
	},
	// Close throws away what has not arrived, and the peer is not told.
	"forgetful": func(c [2]*simnet.Conn, _ [2]int) [2]io.ReadWriteCloser {
		return [2]io.ReadWriteCloser{simnet.Datagrams(c[0]), simnet.Datagrams(c[1])}
	},
	// A Write of more than the limit fails, and one Read returns bytes of one Write only.
	"messages": func(c [2]*simnet.Conn, limits [2]int) [2]io.ReadWriteCloser {
		return [2]io.ReadWriteCloser{limited(c[0], limits[0]), limited(c[1], limits[1])}
	},
	"forgetful messages": func(c [2]*simnet.Conn, limits [2]int) [2]io.ReadWriteCloser {
		return [2]io.ReadWriteCloser{limited(simnet.Datagrams(c[0]), limits[0]), limited(simnet.Datagrams(c[1]), limits[1])}
	},
}

// limited makes a Write of more than limit bytes fail. Without a limit, a session writes no more than a full batch.
func limited(c net.Conn, limit int) net.Conn {
	if limit == 0 {
		limit = wire.BatchSize
	}
	return simnet.Messages(c, limit, nil)
}

// forgets reports whether the peer is not told that one end of the transport was closed.
func forgets(transport string) bool {
	return transport == "forgetful" || transport == "forgetful messages"
}

// newSimulated makes a transport in memory.
func newSimulated(of simulation, limits [2]int) *link {
	a, b := simnet.Pair(simnet.Link{})
	l := &link{ends: of([2]*simnet.Conn{a, b}, limits)}
	l.hold = func() { a.Out().Stall(); b.Out().Stall() }
	l.release = func() { a.Out().Unstall(); b.Out().Unstall() }
	l.cut = func(d draw) {
		if d.chance(0.5) {
			a.Break(pick(d, nil, error(syscall.ECONNRESET)))
			return
		}
		a.Out().Cut(simnet.Cut{
			After: a.Out().Counters().Delivered + d.upTo(1<<20),
			Err:   pick(d, nil, error(syscall.ECONNRESET)),
		})
		time.AfterFunc(100*time.Millisecond, func() { a.Break(nil) }) // if fewer bytes come
	}
	l.close = func() { l.release(); a.Close(); b.Close() }
	return l
}
