package session

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/stream"
)

// A session gives memory back once after frames of streams have arrived: when none came between two times at which the
// policy was asked. NOPs and signals do not count.
func TestQuietSessionIsReleasedOnceAfterUse(t *testing.T) {
	s := new(Session)
	k := &keepaliveTimer{s: s}
	for i, step := range []struct {
		frames, nops int
		want         bool
	}{{0, 0, false}, {2, 2, false}, {3, 0, false}, {4, 1, false}, {0, 0, true}, {0, 0, false}, {1, 0, false}, {2, 2, true}, {1, 1, false}} {
		s.stats.framesReceived.Add(uint64(step.frames))
		for range step.nops {
			k.handleNOP()
		}
		if got := k.becameQuiet(); got != step.want {
			t.Errorf("%d: released: %v, want %v", i, got, step.want)
		}
	}
	s.stats.framesReceived.Add(1)
	k.becameQuiet()
	k.stop()
	if k.becameQuiet() {
		t.Error("released after the end of the session")
	}
}

// A session that was used gives its timer of frames that may wait back when it is quiet, whether a stream is open or not,
// and works on: the next SYN is sent within a millisecond, and data passes.
func TestReleasedSessionWorksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, err := Client(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		s, err := Server(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.CloseNow()
		var last *stream.Stream
		for _, quiet := range []time.Duration{0, 3 * keepalive.DefaultInterval, 3 * keepalive.DefaultInterval} {
			time.Sleep(quiet)
			synctest.Wait()
			if hasLazy(c) {
				t.Errorf("there is a timer after %v", quiet)
			}
			begin := time.Now()
			opened, accepted := pairOf(t, c, s)
			if took := time.Since(begin); took > maxLazyDelay {
				t.Errorf("SYN took %v after %v of quiet", took, quiet)
			}
			if !hasLazy(c) {
				t.Error("there is no timer after SYN: the test proves nothing")
			}
			passes(t, opened, accepted)
			passes(t, accepted, opened)
			if last != nil {
				last.Close()
			}
			last = opened
		}
	})
}

func hasLazy(s *Session) bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.lazy != nil
}

// pairOf opens a stream and waits until the other side has accepted it.
func pairOf(t *testing.T, c, s *Session) (opened, accepted *stream.Stream) {
	t.Helper()
	opened, err := c.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = s.AcceptStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// passes checks that data passes from one stream to the other.
func passes(t *testing.T, from, to *stream.Stream) {
	t.Helper()
	if _, err := from.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8)
	if n, err := to.Read(p); string(p[:n]) != "data" || err != nil {
		t.Fatalf("Read = %q, %v", p[:n], err)
	}
}
