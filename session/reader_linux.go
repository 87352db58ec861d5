//go:build !386

package session

import (
	"io"
	"net"
)

// runRaw reads from a socket until its end. It waits for data without holding a
// buffer, and reads large payloads straight to where they are wanted.
func (r *reader) runRaw() error {
	var end error
	readable := func(fd uintptr) (done bool) {
		for {
			if end = r.parse(); end != nil {
				return true
			}
			if r.s.ended() {
				// Closing the socket waits for this function to return, and a peer that
				// keeps sending would never let it.
				end = net.ErrClosed
				return true
			}
			direct, staged := r.targets(true)
			n, wouldBlock, err := tryRead(fd, direct, staged)
			if n > 0 {
				r.s.received(n)
			}
			if end = r.filled(n); end != nil {
				return true
			}
			switch {
			case wouldBlock:
				if end = r.s.out.failure(); end != nil {
					return true // and what the peer had sent has been read
				}
				r.rest()
				return false
			case err != nil:
				end = err
				return true
			case n == 0:
				end = io.EOF
				return true
			}
		}
	}
	for {
		err := r.s.raw.rc.Read(readable)
		if end != nil {
			return end
		}
		if err != nil && r.s.out.failure() == nil {
			return err
		}
		// Writing has failed and woken this side by a read deadline: look at
		// what has come once more.
		if err := r.s.clearReadDeadline(); err != nil {
			return err
		}
	}
}
