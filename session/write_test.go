package session_test

import (
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// writeEndings are the ways in which this side ends a blocked Write, with the error that Write returns.
var writeEndings = []struct {
	name string
	end  func(t testing.TB, c *session.Session, st *stream.Stream)
	err  error
}{
	{"by its deadline", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Error(err)
		}
	}, os.ErrDeadlineExceeded},
	{"by a deadline in the past", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	}, os.ErrDeadlineExceeded},
	{"by Close", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}, net.ErrClosed},
	{"by CloseWrite", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.CloseWrite(); err != nil {
			t.Error(err)
		}
	}, net.ErrClosed},
	{"by Close of the session", func(t testing.TB, c *session.Session, st *stream.Stream) {
		go c.Close()
	}, net.ErrClosed},
}

// Write counts a byte only if it will reach the transport. Here the transport is full, blocked Writes are ended,
// their buffer is overwritten at once, and then the transport takes data again.
func TestWriteCountsOnlyWhatReachesTheTransport(t *testing.T) {
	const pattern = testutil.Pattern(0xA)
	for _, ending := range writeEndings {
		t.Run(ending.name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				for _, size := range []int{1000, 40_000, 200_000} {
					c, peer := scripted(t, tr, &session.Config{Version: version})
					st := openWide(t, c, peer, version)
					src := newSource(pattern, size)
					src.fill(t, st)

					blocked := testutil.Background(func() (int64, error) {
						for {
							if _, err := src.write(st); err != nil {
								return src.off, err
							}
						}
					})
					settle(tr)
					ending.end(t, c, st)
					r := <-blocked
					testutil.WantErr(t, "Write", r.Err, ending.err)

					// The transport takes data again. Everything is sent before the session ends.
					closed := testutil.BackgroundErr(c.Close)
					got := readFrames(t, peer)
					if ending.name != "by Close of the session" {
						testutil.WantErr(t, "Close", (<-closed).Err, nil)
					}
					data := got.data[st.ID()]
					if err := pattern.Check(data, 0); err != nil {
						t.Errorf("%d bytes a Write: %v", size, err)
					}
					if int64(len(data)) != r.Value {
						t.Errorf("%d bytes a Write: Write counted %d bytes, the peer got %d", size, r.Value, len(data))
					}
				}
			})
		})
	}
}

// The caller may reuse its buffer as soon as Write returns.
func TestWriteLeavesItsBufferToTheCaller(t *testing.T) {
	const pattern, total = testutil.Pattern(7), 256 << 10
	for _, size := range []int{1, 1025, 5000, 32760, 40_000, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				n := int64(min(total, 1000*size))
				c, s := sessions(t, tr, session.Config{Version: version})
				out, in := openPair(t, c, s)
				go func() {
					if _, err := pattern.Send(out, n, size); err != nil {
						t.Error(err)
					}
					out.Close()
				}()
				if err := pattern.Receive(in, n); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A Write of no bytes sends nothing and does not wait. It reports a deadline that has passed, and Close.
func TestWriteOfNothingSendsNothingAndNeverWaits(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		st := openWide(t, c, peer, version)
		for _, p := range [][]byte{nil, {}} {
			if n, err := st.Write(p); n != 0 || err != nil {
				t.Errorf("Write(%#v) = %d, %v", p, n, err)
			}
		}
		peer.ExpectNothing(t, "a Write of nothing sends nothing", time.Minute)

		newSource(1, 64<<10).fill(t, st)
		elapsed := testutil.Clock()
		if n, err := st.Write(nil); n != 0 || err != nil {
			t.Errorf("Write(nil) with a full transport = %d, %v", n, err)
		}
		testutil.WantTime(t, "Write(nil) returned", elapsed(), 0)

		st.SetWriteDeadline(time.Unix(1, 0))
		_, err := st.Write(nil)
		testutil.WantErr(t, "Write(nil) after its deadline", err, os.ErrDeadlineExceeded)
		st.Close()
		_, err = st.Write(nil)
		testutil.WantErr(t, "Write(nil) after Close", err, net.ErrClosed)
	})
}

// A transport without deadlines works the same and costs one goroutine more.
func TestTransportWithoutDeadlinesCostsOneGoroutine(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, peer := scripted(t, transport("bare"), &session.Config{Version: version, KeepAlive: off})
		st := openWide(t, c, peer, version)
		// All of these calls wait at once for a transport that nobody reads.
		const callers = 5
		done := make(chan error, callers)
		for range callers {
			go func() {
				_, err := st.Write(make([]byte, 1<<20))
				done <- err
			}()
		}
		synctest.Wait()
		if n := goroutines("smuxkit/session.("); n != 2 {
			t.Errorf("the session has %d goroutines, want 2: the reader and the writer", n)
		}
		st.SetWriteDeadline(time.Now().Add(time.Second))
		for range callers {
			testutil.WantErr(t, "Write", <-done, os.ErrDeadlineExceeded)
		}
		go c.Close()
		readFrames(t, peer)
		synctest.Wait()
		if n := goroutines("smuxkit/session.("); n != 0 {
			t.Errorf("the session has %d goroutines after its end", n)
		}
	})
}
