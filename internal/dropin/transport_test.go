package main

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session/smux"
)

// OpenStream waits for a transport that takes nothing for 30 s, as that of the original.
func TestOpenStreamEndsAfter30s(t *testing.T) {
	for name, start := range clients {
		t.Run(name, func(t *testing.T) {
			pooled(t, func(t *testing.T) {
				ca, cb := testutil.SimPair(t, simnet.Link{})
				conn := &stuck{ReadWriteCloser: ca, closed: make(chan struct{})}
				s, err := start(conn, time.Hour, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for err == nil {
					_, err = s.Open()
				}
				if d := time.Since(began); describe(err) != "ErrTimeout" || d != 30*time.Second {
					t.Errorf("Open = %v after %v", err, d)
				}
				_ = s.Close()
				_ = cb.Close()
			})
		})
	}
}

// stuck is a transport whose Write waits until Close.
type stuck struct {
	io.ReadWriteCloser
	closed chan struct{}
}

func (s *stuck) Write([]byte) (int, error) {
	<-s.closed
	return 0, io.ErrClosedPipe
}

func (s *stuck) Close() error {
	close(s.closed)
	return s.ReadWriteCloser.Close()
}

// A transport that may have messages of a limited size gets no Write that is larger than the original's largest, and each
// has whole frames.
func TestTransportWritesAreAtMostAFrame(t *testing.T) {
	for _, size := range []int{1, 100, 1000, 32_767, 32_768, 65_535} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ca, cb := testutil.SimPair(t, simnet.Link{})
				conn := &measuring{ReadWriteCloser: ca}
				cfg := smux.DefaultConfig()
				cfg.MaxFrameSize = size
				c, err := smux.Client(conn, cfg)
				if err != nil {
					t.Fatal(err)
				}
				s, err := smux.Server(cb, nil)
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error)
				const streams = 10
				for range streams {
					go func() {
						st, err := c.OpenStream()
						if err == nil {
							_, err = st.Write(make([]byte, min(300_000, 1000*size)))
						}
						if err == nil {
							err = st.Close()
						}
						done <- err
					}()
					go func() {
						st, err := s.AcceptStream()
						if err == nil {
							_, err = io.Copy(io.Discard, st)
						}
						done <- err
					}()
				}
				for range 2 * streams {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				_, _ = c.Close(), s.Close()
				synctest.Wait()
				limit := max(size+8, 64)
				if size >= 32<<10 {
					limit += 32
				}
				if conn.largest > limit || conn.partial {
					t.Errorf("the largest Write had %d bytes, want at most %d; parts of frames: %v", conn.largest, limit, conn.partial)
				}
			})
		})
	}
}

// measuring notes the size of the largest Write.
type measuring struct {
	io.ReadWriteCloser
	largest int
	partial bool // some Write did not have whole frames
}

func (m *measuring) Write(p []byte) (int, error) {
	m.largest = max(m.largest, len(p))
	rest := p
	for len(rest) >= 8 {
		n := 8 + int(rest[2]) + int(rest[3])<<8
		m.partial = m.partial || n > len(rest)
		rest = rest[min(n, len(rest)):]
	}
	m.partial = m.partial || len(rest) > 0
	return m.ReadWriteCloser.Write(p)
}
