//go:build !race && !emulated

package session_test

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// These tests need ordinary builds: with the race detector sync.Pool drops objects at random.

// wantNoAllocs checks that calls of f allocate nothing in the whole process, which includes both sessions and
// their goroutines.
func wantNoAllocs(t *testing.T, runs int, f func()) {
	t.Helper()
	wantAllocs(t, 0, runs, f)
}

// wantAllocs checks that a call of f allocates want times at most in the whole process.
func wantAllocs(t *testing.T, want float64, runs int, f func()) {
	t.Helper()
	// The garbage collector empties the pools, which is not the subject here.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range runs {
		f() // grows all buffers to their final size
	}
	// On a busy machine a queue may grow longer than before. That ends.
	n := testing.AllocsPerRun(runs, f)
	for range 4 {
		if n <= want {
			return
		}
		n = testing.AllocsPerRun(runs, f)
	}
	t.Errorf("%v allocations each time, want %v", n, want)
}

// A steady flow of Writes and Reads allocates nothing.
func TestSteadyFlowAllocatesNothing(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		for version := 1; version <= 2; version++ {
			for _, size := range []int{1, 64, 1000, 8 << 10, 32760, 128 << 10} {
				t.Run(fmt.Sprintf("%s/v%d/%d bytes", name, version, size), func(t *testing.T) {
					testutil.LeakCheck(t)
					c, s := sessions(t, transport(name), session.Config{Version: version})
					a, b := openPair(t, c, s)
					p, q := make([]byte, size), make([]byte, size)

					// Another goroutine reads, so that the stream never waits for it.
					asked := make(chan struct{})
					read := make(chan error)
					go func() {
						for range asked {
							_, err := io.ReadFull(b, q)
							read <- err
						}
					}()
					defer close(asked)
					wantNoAllocs(t, 100, func() {
						asked <- struct{}{}
						if _, err := a.Write(p); err != nil {
							t.Fatal(err)
						}
						if err := <-read; err != nil {
							t.Fatal(err)
						}
					})
				})
			}
		}
	}
}

// Messages that are sent back and forth allocate nothing.
func TestEchoAllocatesNothing(t *testing.T) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			testutil.LeakCheck(t)
			c, s := sessions(t, transport("tcp"), session.Config{Version: version})
			a, b := openPair(t, c, s)
			go func() {
				buf := make([]byte, 64)
				for {
					if _, err := io.ReadFull(b, buf); err != nil {
						return
					}
					if _, err := b.Write(buf); err != nil {
						return
					}
				}
			}()
			p := make([]byte, 64)
			wantNoAllocs(t, 500, func() {
				if _, err := a.Write(p); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(a, p); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// A call, which opens a stream, sends a message back and forth and closes the stream, allocates three times: a stream
// at each end, and the backlog.
func TestCallAllocatesThreeTimes(t *testing.T) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			testutil.LeakCheck(t)
			c, s := sessions(t, transport("tcp"), session.Config{Version: version})
			go func() {
				buf := make([]byte, 64)
				for {
					st, err := s.AcceptStream(context.Background())
					if err != nil {
						return
					}
					_, _ = io.ReadFull(st, buf)
					_, _ = st.Write(buf)
					_ = st.Close()
				}
			}()
			p := make([]byte, 64)
			wantAllocs(t, 3, 500, func() {
				st := open(t, c)
				if _, err := st.Write(p); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(st, p); err != nil {
					t.Fatal(err)
				}
				_ = st.Close()
			})
		})
	}
}

// ReadFrom and WriteTo allocate nothing.
func TestReadFromAndWriteToAllocateNothing(t *testing.T) {
	const size = 1 << 20
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			testutil.LeakCheck(t)
			c, s := sessions(t, transport("tcp"), session.Config{Version: version})
			a, b := openPair(t, c, s)
			w := &counting{want: size, reached: make(chan struct{})}
			go b.WriteTo(w)
			r := &endless{}
			lr := &io.LimitedReader{R: r}
			wantNoAllocs(t, 20, func() {
				lr.N = size
				if _, err := a.ReadFrom(lr); err != nil {
					t.Fatal(err)
				}
				<-w.reached
			})
			a.Close()
		})
	}
}

// Setting a deadline again allocates nothing.
func TestDeadlineSetAgainAllocatesNothing(t *testing.T) {
	testutil.LeakCheck(t)
	c, s := sessions(t, transport("tcp"), session.Config{})
	a, _ := openPair(t, c, s)
	far := time.Now().Add(time.Hour)
	wantNoAllocs(t, 100, func() {
		if err := a.SetDeadline(far); err != nil {
			t.Fatal(err)
		}
	})
}

// counting is a writer that reports each time it has got want bytes.
type counting struct {
	want, got int
	reached   chan struct{}
}

func (c *counting) Write(p []byte) (int, error) {
	c.got += len(p)
	for c.got >= c.want {
		c.got -= c.want
		c.reached <- struct{}{}
	}
	return len(p), nil
}

// endless is a reader of zeros.
type endless struct{}

func (*endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
