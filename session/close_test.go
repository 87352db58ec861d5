package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// flood makes the peer send NOPs until its transport fails or the test ends.
func flood(t testing.TB, tr testutil.Transport, peer *testutil.Peer, version int) {
	var sending sync.WaitGroup
	sending.Go(func() {
		nops := bytes.Repeat(testutil.NOP(wire.Version(version)).Append(nil), 20_000)
		for {
			if _, err := peer.Conn.Write(nops); err != nil {
				return
			}
			if tr.Bubble {
				time.Sleep(time.Millisecond)
			}
		}
	})
	t.Cleanup(func() {
		peer.Close()
		sending.Wait()
	})
}

// Close returns although the peer sends without end.
func TestSessionCloseReturnsDuringAFlood(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, peer := scriptedOver(t, ca, cb, &session.Config{Version: version, CloseTimeout: time.Second})
		openWide(t, c, peer, version)
		flood(t, tr, peer, version)
		for !tr.Bubble && c.Stats().FramesReceived < 100_000 {
			runtime.Gosched()
		}
		closed := testutil.BackgroundErr(c.Close)
		select {
		case r := <-closed:
			testutil.WantErr(t, "Close", r.Err, unproven(tr))
		case <-time.After(time.Minute):
			t.Error("Close does not return")
		}
	})
}

// Close reads on although the budget was full: a peer that first sends all of its data, and reads then, gets what was
// written.
func TestSessionCloseReadsOnIfTheBudgetWasFull(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, peer := scripted(t, transport("sim"), &session.Config{Version: version, MaxReceiveBuffer: 64 << 10})
		st := openWide(t, c, peer, version)
		var frames []byte
		for range 20 {
			frames = testutil.PSH(wire.Version(version), st.ID(), make([]byte, 10_000)).Append(frames)
		}
		sent := testutil.BackgroundErr(func() error { return second(peer.Conn.Write(frames)) })
		synctest.Wait()
		wantPending(t, "the peer's Write", sent)
		src := newSource(1, 1000)
		src.fill(t, st)

		closed := testutil.BackgroundErr(c.Close)
		testutil.WantErr(t, "the peer's Write", (<-sent).Err, nil)
		if n := len(readFrames(t, peer).data[st.ID()]); int64(n) != src.off {
			t.Errorf("the peer got %d bytes, want %d", n, src.off)
		}
		testutil.WantErr(t, "Close", (<-closed).Err, nil)
	})
}

// Closing a session again does nothing but wait for the first Close, which alone reports its error.
func TestSessionCloseAgainWaitsForTheFirst(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		newSource(1, 1000).fill(t, openWide(t, s, peer, version))
		var all []<-chan testutil.Result[struct{}]
		for range 10 {
			all = append(all, testutil.BackgroundErr(s.Close))
		}
		failed := 0
		for _, c := range all {
			r := <-c
			if r.Err != nil {
				failed++
				testutil.WantErr(t, "Close", r.Err, session.ErrNotFlushed)
			}
			testutil.WantTime(t, "Close returned", r.After, session.DefaultCloseTimeout)
		}
		if failed != 1 {
			t.Errorf("%d of 10 Closes report an error, want the first", failed)
		}
		elapsed := testutil.Clock()
		testutil.WantErr(t, "Close", s.Close(), nil)
		testutil.WantTime(t, "Close returned", elapsed(), 0)
	})
}

// After Close of the session all calls fail with net.ErrClosed, and the peer's session ends with io.EOF.
func TestSessionCloseFailsAllLaterCalls(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := b.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		waiting := open(t, s) // to be accepted by c
		if _, err := waiting.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		testutil.WantErr(t, "Close", c.Close(), nil)

		for name, call := range map[string]func() error{
			"Read":         func() error { _, err := a.Read(make([]byte, 1)); return err },
			"WriteTo":      func() error { _, err := a.WriteTo(io.Discard); return err },
			"Write":        func() error { _, err := a.Write([]byte("x")); return err },
			"a long Write": func() error { _, err := a.Write(make([]byte, 1<<20)); return err },
			"OpenStream":   func() error { _, err := c.OpenStream(context.Background()); return err },
			"Open":         func() error { _, err := c.Open(); return err },
			"AcceptStream": func() error { _, err := c.AcceptStream(context.Background()); return err },
			"Accept":       func() error { _, err := c.Accept(); return err },
			"Err":          func() error { return c.Err() },
		} {
			err := call()
			testutil.WantErr(t, name, err, net.ErrClosed)
			if op, ok := err.(*net.OpError); name != "Err" && (!ok || op.Net != "smux") {
				t.Errorf("%s: %#v is no *net.OpError of smux", name, err)
			}
		}
		testutil.WantErr(t, "Close", c.Close(), nil)
		testutil.WantErr(t, "Shutdown", c.Shutdown(context.Background()), nil)
		if n := c.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		select {
		case <-c.Done():
		default:
			t.Error("Done is not closed")
		}
		a.Close()

		// The peer learns of it at once.
		<-s.Done()
		if !tr.Bubble && testutil.IsReset(s.Err()) {
			return // c's socket was closed with unread data
		}
		testutil.WantErr(t, "the peer's Err", s.Err(), io.EOF)
		if _, err := s.Accept(); err != io.EOF {
			t.Errorf("the peer's Accept: %v, want a bare io.EOF", err)
		}
	})
}

// Both ends may close the session and its streams at the same time, in any order: everything ends.
func TestSessionsClosedAtTheSameTimeBothEnd(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for range 20 {
			c, s := sessions(t, tr, session.Config{Version: version})
			a, b := openPair(t, c, s)
			var all sync.WaitGroup
			for _, call := range []func() error{c.Close, s.Close, a.Close, b.Close, a.CloseWrite, b.CloseRead} {
				all.Go(func() { _ = call() })
			}
			all.Go(func() { _, _ = a.Write(make([]byte, 10_000)) })
			all.Go(func() { _, _ = b.Write([]byte("x")) })
			all.Go(func() { _, _ = io.Copy(io.Discard, a) })
			all.Go(func() { _, _ = io.Copy(io.Discard, b) })
			all.Wait()
			<-c.Done()
			<-s.Done()
			for _, err := range []error{c.Err(), s.Err()} {
				if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
					!testutil.IsReset(err) && !errors.Is(err, io.ErrClosedPipe) &&
					!errors.Is(err, os.ErrClosed) {
					t.Errorf("Err: %v", err)
				}
			}
		}
	})
}
