package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

const (
	// maxOpen is how many streams are open at the same time.
	maxOpen = 256
	// writeSize is how much a Write sends.
	writeSize = 64 << 10
)

// send runs a client over conn: it sends data on opts.streams streams, checks the data that comes back, and prints what
// it measured. The first error ends it. It closes conn.
func send(ctx context.Context, conn net.Conn, opts options, stdout io.Writer) error {
	fmt.Fprintf(stdout, "sending %d bytes on each of %d streams to %v\n", opts.bytes, opts.streams, conn.RemoteAddr())
	r, err := transfer(ctx, conn, opts, stdout)
	if err != nil {
		return err
	}
	r.bothEnds = opts.bothEnds
	r.print(stdout)
	return nil
}

// transfer is send without the lines it prints. It shows the progress on stdout if that is a terminal.
func transfer(ctx context.Context, conn net.Conn, opts options, stdout io.Writer) (*report, error) {
	sess, err := session.Client(conn, &session.Config{Version: opts.version, CloseTimeout: closeTimeout})
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer sess.Close()

	// When Ctrl-C or the first error ends ctx, the session is closed, which ends
	// every call on its streams.
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := context.AfterFunc(ctx, func() { sess.Close() })
	defer stop()

	m := newMeter(ctx, sess)
	stopProgress := showProgress(stdout, &m.checked, int64(opts.streams)*opts.bytes)

	var streams sync.WaitGroup
	slots := make(chan struct{}, maxOpen)
	for i := 0; i < opts.streams && ctx.Err() == nil; i++ {
		slots <- struct{}{}
		streams.Go(func() {
			defer func() { <-slots }()
			if err := sendOne(ctx, sess, i, opts.bytes, m); err != nil {
				fail(fmt.Errorf("stream %d of %d: %w", i+1, opts.streams, err))
			}
		})
	}
	streams.Wait()
	stopProgress()
	r := m.end()
	r.streams = opts.streams
	return r, context.Cause(ctx)
}

// sendOne opens a stream, sends n bytes on it, and checks the bytes that come back.
func sendOne(ctx context.Context, sess *session.Session, i int, n int64, m *meter) error {
	s, err := sess.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer s.Close()

	// Send and check at the same time: otherwise both ends would wait until the
	// other one reads, once the buffers between them are full.
	sent := make(chan error, 1)
	go func() { sent <- sendData(s, newData(i, n), m) }()
	if err := check(s, newData(i, n), m); err != nil {
		s.Close() // ends Write
		<-sent
		return err
	}
	return <-sent
}

// sendData sends d, and half-closes: the server reads io.EOF, and closes.
func sendData(s *stream.Stream, d *data, m *meter) error {
	begin := time.Now()
	for d.left > 0 {
		if _, err := s.Write(d.next(writeSize)); err != nil {
			return err
		}
	}
	err := s.CloseWrite()
	m.noteSent(time.Since(begin))
	return err
}

// check reads r to its end, and compares what it reads with d.
func check(r io.Reader, d *data, m *meter) error {
	if _, err := io.Copy(&checker{want: d, m: m}, r); err != nil {
		return err
	}
	if d.left > 0 {
		return fmt.Errorf("%d of %d bytes did not come back", d.left, d.length)
	}
	m.noteBack()
	return nil
}

// A checker is a writer that accepts the bytes of want, and fails on any others.
type checker struct {
	want *data
	m    *meter
}

func (c *checker) Write(p []byte) (n int, err error) {
	for n < len(p) {
		want := c.want.next(len(p) - n)
		if len(want) == 0 {
			return n, errors.New("more came back than was sent")
		}
		if string(p[n:n+len(want)]) != string(want) {
			return n, errors.New("what came back is not what was sent")
		}
		n += len(want)
	}
	c.m.checked.Add(int64(n))
	return n, nil
}
