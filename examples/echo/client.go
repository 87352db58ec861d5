package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// maxOpen is how many streams are open at the same time.
const maxOpen = 256

// send runs a client over conn: it sends data on opts.streams streams, and checks
// the data that comes back. The first error ends it. It closes conn.
func send(ctx context.Context, conn net.Conn, opts options, stdout io.Writer) error {
	sess, err := session.Client(conn, &session.Config{Version: opts.version, CloseTimeout: closeTimeout})
	if err != nil {
		conn.Close()
		return err
	}
	defer sess.Close()

	// When Ctrl-C or the first error ends ctx, the session is closed, which ends
	// every call on its streams.
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := context.AfterFunc(ctx, func() { sess.Close() })
	defer stop()

	start := time.Now()
	var checked atomic.Int64 // bytes
	stopProgress := showProgress(stdout, &checked, int64(opts.streams)*opts.bytes)

	var streams sync.WaitGroup
	slots := make(chan struct{}, maxOpen)
	for i := 0; i < opts.streams && ctx.Err() == nil; i++ {
		slots <- struct{}{}
		streams.Go(func() {
			defer func() { <-slots }()
			if err := sendOne(ctx, sess, i, opts.bytes, &checked); err != nil {
				fail(fmt.Errorf("stream %d of %d: %w", i+1, opts.streams, err))
			}
		})
	}
	streams.Wait()
	stopProgress()
	if err := context.Cause(ctx); err != nil {
		return err
	}

	took := time.Since(start)
	fmt.Fprintf(stdout, "%d streams, %d bytes sent, echoed and checked in %v (%.0f MB/s each way)\n",
		opts.streams, checked.Load(), took.Round(time.Millisecond), float64(checked.Load())/1e6/took.Seconds())
	return nil
}

// sendOne opens a stream, sends n bytes on it, and checks the bytes that come back.
func sendOne(ctx context.Context, sess *session.Session, i int, n int64, checked *atomic.Int64) error {
	s, err := sess.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer s.Close()

	// Send and check at the same time: otherwise both ends would wait until the
	// other one reads, once the buffers between them are full.
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(s, data(i, n))
		if err == nil {
			err = s.CloseWrite() // the server reads io.EOF, and closes
		}
		sent <- err
	}()
	if err := check(s, i, n, checked); err != nil {
		s.Close() // ends io.Copy
		<-sent
		return err
	}
	return <-sent
}

// check reads stream i to its end, and compares the data with what was sent.
func check(r io.Reader, i int, n int64, checked *atomic.Int64) error {
	got, err := io.Copy(&checker{want: data(i, n), checked: checked}, r)
	if err != nil {
		return err
	}
	if got < n {
		return fmt.Errorf("%d of %d bytes did not come back", n-got, n)
	}
	return nil
}

// A checker is a writer that accepts the bytes of want, and fails on any others.
type checker struct {
	want    io.Reader
	buf     []byte
	checked *atomic.Int64
}

func (c *checker) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := io.ReadFull(c.want, c.buf[:len(p)])
	if err != nil {
		return 0, errors.New("more came back than was sent")
	}
	if !bytes.Equal(p, c.buf[:n]) {
		return 0, errors.New("what came back is not what was sent")
	}
	c.checked.Add(int64(n))
	return n, nil
}

// data returns the n bytes that are sent on stream i. They are random, different for
// each stream, and the same for each call.
func data(i int, n int64) io.Reader {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i))
	return io.LimitReader(rand.NewChaCha8(seed), n)
}
