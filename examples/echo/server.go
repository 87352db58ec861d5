package main

import (
	"context"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// closeTimeout is how long the end after Ctrl-C may take if the peer reads nothing.
const closeTimeout = time.Second

// drainTimeout is how long the server waits for open streams after Ctrl-C.
const drainTimeout = time.Second

// serve echoes on all streams of all connections that l accepts. When ctx ends, it
// drains and returns nil.
func serve(ctx context.Context, l net.Listener, version int, log *log.Logger) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()

	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		clients.Go(func() {
			log.Printf("%v: connected", conn.RemoteAddr())
			err := serveClient(ctx, conn, version)
			if err == io.EOF || ctx.Err() != nil {
				log.Printf("%v: disconnected", conn.RemoteAddr())
			} else {
				log.Printf("%v: disconnected: %v", conn.RemoteAddr(), err)
			}
		})
	}
}

// serveClient echoes on all streams of one connection, and closes it. It returns the
// reason for the end: io.EOF if the client has closed the connection.
func serveClient(ctx context.Context, conn net.Conn, version int) error {
	// With Version 0 a server takes the version of its client.
	sess, err := session.Server(conn, &session.Config{Version: version, CloseTimeout: closeTimeout})
	if err != nil {
		conn.Close()
		return err
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	defer sess.Close() // ends the calls on its streams
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		sess.Shutdown(drain) // the client opens no more streams; those that are open go on
		sess.Close()
	})
	defer stop()

	for {
		s, err := sess.AcceptStream(context.Background())
		if err != nil {
			return err
		}
		streams.Go(func() { echo(s) })
	}
}

// echo sends back the data that arrives, until the client half-closes. It ignores
// errors: the client reports them.
func echo(s *stream.Stream) {
	defer s.Close()
	io.Copy(s, s)
}
