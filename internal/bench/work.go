package main

import (
	"io"
	"net"
	"sync"
)

// The work that rows measure: each is a pair of functions, one for the end that
// dials and opens streams, one for the end that accepts them.

const messageSize = 64 // of a request and of its echo

// A message whose first byte is keep asks serve to leave the stream open and
// unattended after the echo.
const keep = 'k'

// openStreams opens a stream into each element of streams, with one echo on each,
// so that the other end has accepted them all, in this order.
func openStreams(m mux, streams []net.Conn, message []byte) {
	for i := range streams {
		s, err := m.Open()
		check(err)
		check(echo(s, message))
		streams[i] = s
	}
}

// acceptStreams is the other end of openStreams.
func acceptStreams(m mux, streams []net.Conn) {
	message := make([]byte, messageSize)
	for i := range streams {
		s, err := m.Accept()
		check(err)
		check(answer(s, message))
		streams[i] = s
	}
}

// echo sends message and waits for it to come back.
func echo(s net.Conn, message []byte) error {
	if _, err := s.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(s, message)
	return err
}

// answer is the other end of echo.
func answer(s net.Conn, message []byte) error {
	if _, err := io.ReadFull(s, message); err != nil {
		return err
	}
	_, err := s.Write(message)
	return err
}

// serve answers on every stream that arrives, each with a goroutine of its own,
// until Accept fails. It returns the streams it was asked to keep.
func serve(m mux) (kept []net.Conn) {
	var mu sync.Mutex // guards kept
	for {
		s, err := m.Accept()
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			return kept
		}
		go func() {
			message := messages.Get().(*[messageSize]byte)
			defer messages.Put(message)
			for {
				if _, err := io.ReadFull(s, message[:]); err != nil {
					break
				}
				keeps := message[0] == keep
				if keeps { // before the echo: then the other end knows that it counts
					mu.Lock()
					kept = append(kept, s)
					mu.Unlock()
				}
				if _, err := s.Write(message[:]); err != nil {
					break
				}
				if keeps {
					return
				}
			}
			s.Close()
		}()
	}
}

// messages spares serve an allocation per stream, which would count as the peer's.
var messages = sync.Pool{New: func() any { return new([messageSize]byte) }}

// acceptEchoes is the accepting end of the rows that measure at the dialing end.
func acceptEchoes(e *end) figures {
	go serve(e.acceptSession())
	e.attend()
	return nil
}
