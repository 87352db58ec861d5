package simnet_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// After Close the peer reads the rest, and then io.EOF.
func TestPeerReadsTheRestAndThenEOF(t *testing.T) {
	for name, c := range map[string]struct {
		link simnet.Link
		want time.Duration
	}{
		"at once":            {simnet.Link{}, 0},
		"after the delay":    {simnet.Link{Delay: 100 * ms}, 100 * ms},
		"after what is left": {simnet.Link{Rate: 1000, Delay: 100 * ms}, 600 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, c.link)
				elapsed := testutil.Clock()
				mustWrite(t, a, count(500))
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				testutil.WantTime(t, "Close returned", elapsed(), 0)
				got, err := io.ReadAll(b)
				if string(got) != string(count(500)) || err != nil {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
				testutil.WantTime(t, "EOF came", elapsed(), c.want)
				n, err := b.Read(make([]byte, 1))
				if n != 0 || err != io.EOF {
					t.Errorf("Read again = %d, %v, want the bare io.EOF", n, err)
				}
			})
		})
	}
}

// A reader that comes long after Close gets everything that was written before it.
func TestLateReaderGetsEverythingWrittenBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1e6, Buffer: 1000, ReadBuffer: 10})
		mustWrite(t, a, count(1000))
		a.Close()
		time.Sleep(time.Hour)
		got, err := io.ReadAll(b)
		if string(got) != string(count(1000)) || err != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// A Write fails from one Delay after the peer's Close on.
func TestWriteFailsOneDelayAfterThePeerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 100 * ms})
		b.Close()
		time.Sleep(100*ms - 1)
		mustWrite(t, a, count(1)) // it cannot know yet
		time.Sleep(time.Nanosecond)
		_, err := a.Write(count(1))
		testutil.WantErr(t, "Write", err, syscall.EPIPE)
		testutil.WantErr(t, "CloseWrite", a.CloseWrite(), syscall.EPIPE)
	})
}

// A blocked Write fails when the peer closes.
func TestBlockedWriteFailsWhenThePeerCloses(t *testing.T) {
	for name, link := range map[string]simnet.Link{
		"a full window":   {Delay: 100 * ms, Rate: 1000, Buffer: 10, ReadBuffer: 10},
		"a slow link":     {Delay: 100 * ms, Rate: 1, Buffer: 10},
		"without a delay": {Buffer: 10, ReadBuffer: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, link)
				elapsed := testutil.Clock()
				time.AfterFunc(10*time.Second, func() { b.Close() })
				n, err := a.Write(count(20000))
				if n == 0 || n == 20000 {
					t.Errorf("Write = %d", n)
				}
				testutil.WantErr(t, "Write", err, syscall.EPIPE)
				testutil.WantTime(t, "Write returned", elapsed(), 10*time.Second+link.Delay)
			})
		})
	}
}

// Close ends the calls that are blocked on its end.
func TestCloseEndsBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Buffer: 10, ReadBuffer: 10})
		results := make(chan error, 4)
		for range 2 {
			go func() {
				_, err := a.Read(make([]byte, 1))
				results <- err
			}()
			go func() {
				_, err := a.Write(make([]byte, 100))
				results <- err
			}()
		}
		synctest.Wait()
		a.Close()
		for range 4 {
			testutil.WantErr(t, "a blocked call", <-results, net.ErrClosed)
		}
	})
}

// All calls fail on a closed end.
func TestClosedEndFailsAllCalls(t *testing.T) {
	a, _ := pair(t, simnet.Link{})
	a.Close()
	for name, call := range map[string]func() error{
		"Read":             func() error { _, err := a.Read(make([]byte, 1)); return err },
		"Read of nothing":  func() error { _, err := a.Read(nil); return err },
		"Write":            func() error { _, err := a.Write([]byte{1}); return err },
		"Write of nothing": func() error { _, err := a.Write(nil); return err },
		"Close":            a.Close,
		"CloseWrite":       a.CloseWrite,
		"SetDeadline":      func() error { return a.SetDeadline(time.Time{}) },
		"SetReadDeadline":  func() error { return a.SetReadDeadline(time.Time{}) },
		"SetWriteDeadline": func() error { return a.SetWriteDeadline(time.Time{}) },
	} {
		testutil.WantErr(t, name, call(), net.ErrClosed)
	}
}

// CloseWrite ends one direction, and the other goes on.
func TestCloseWriteEndsOneDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms})
		mustWrite(t, a, count(5))
		if err := a.CloseWrite(); err != nil {
			t.Error(err)
		}
		_, err := a.Write(count(1))
		testutil.WantErr(t, "Write after CloseWrite", err, syscall.EPIPE)
		got, err := io.ReadAll(b)
		if len(got) != 5 || err != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		mustWrite(t, b, count(7))
		mustRead(t, a, count(7))
	})
}

// CloseWrite ends a blocked Write, which counts what the peer gets.
func TestCloseWriteEndsABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Buffer: 10, ReadBuffer: 10})
		result := make(chan int)
		go func() {
			n, err := a.Write(count(100))
			testutil.WantErr(t, "Write", err, syscall.EPIPE)
			result <- n
		}()
		synctest.Wait()
		if err := a.CloseWrite(); err != nil {
			t.Error(err)
		}
		n := <-result
		got, err := io.ReadAll(b)
		if len(got) != n || err != nil {
			t.Errorf("read %d bytes, %v, but Write counted %d", len(got), err, n)
		}
	})
}

// Both ends may close with data in flight, which is dropped.
func TestBothEndsMayCloseWithDataInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Delay: 10 * ms})
		mustWrite(t, a, count(100))
		mustWrite(t, b, count(100))
		a.Close()
		b.Close()
		time.Sleep(time.Hour)
		if c := a.Out().Counters(); c.Unsent+c.InFlight+c.Unread != 0 {
			t.Errorf("the pair still holds bytes: %+v", c)
		}
	})
}

// Errors are those of package net.
func TestErrorsAreThoseOfNet(t *testing.T) {
	a, b := pair(t, simnet.Link{})
	if err := a.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := a.Read(make([]byte, 1))
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("%v is no time-out", err)
	}
	if got, want := err.Error(), "read simnet a->b: i/o timeout"; got != want {
		t.Errorf("the message is %q, want %q", got, want)
	}
	b.Close()
	_, err = b.Write(count(1))
	if got, want := err.Error(), "write simnet b->a: use of closed network connection"; got != want {
		t.Errorf("the message is %q, want %q", got, want)
	}
	if a.LocalAddr().String() != "a" || a.RemoteAddr().String() != "b" || b.LocalAddr().Network() != "simnet" {
		t.Error("the addresses are wrong")
	}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	a, b = pair(t, simnet.Link{})
	a.Break(reset)
	if _, err := b.Read(make([]byte, 1)); err != reset {
		t.Errorf("a *net.OpError of the test's own came back as %v", err)
	}
}
