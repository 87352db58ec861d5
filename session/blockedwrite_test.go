package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// What ends a Write that waits.

// A Write that waits for the transport or for its window ends at once when its stream or session is closed or
// fails, and exactly at its deadline.
func TestBlockedWriteEnds(t *testing.T) {
	broken := errors.New("cable cut")
	type ends struct {
		c    *session.Session
		st   *stream.Stream
		link *simnet.Conn // the peer's end
		peer *testutil.Peer

		version wire.Version
	}
	blocks := []struct {
		name     string
		versions []int
		window   uint32
		stall    bool
	}{
		{"the transport is full", []int{1, 2}, 1 << 30, true},
		{"the window is full", []int{2}, 100_000, false},
		{"both are", []int{2}, 100_000, true},
	}
	endings := []struct {
		name string
		end  func(t *testing.T, e ends)
		err  error
		at   time.Duration
	}{
		{"a deadline", func(t *testing.T, e ends) { e.st.SetWriteDeadline(time.Now().Add(time.Hour)) }, os.ErrDeadlineExceeded, time.Hour},
		{"a deadline for both", func(t *testing.T, e ends) { e.st.SetDeadline(time.Now().Add(time.Minute)) }, os.ErrDeadlineExceeded, time.Minute},
		{"a deadline in the past", func(t *testing.T, e ends) { e.st.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, 0},
		{"a deadline moved forward", func(t *testing.T, e ends) {
			e.st.SetWriteDeadline(time.Now().Add(time.Hour))
			time.Sleep(time.Minute)
			e.st.SetWriteDeadline(time.Now().Add(time.Second))
		}, os.ErrDeadlineExceeded, time.Minute + time.Second},
		{"a deadline moved back", func(t *testing.T, e ends) {
			e.st.SetWriteDeadline(time.Now().Add(time.Minute))
			time.Sleep(time.Minute - 1)
			e.st.SetWriteDeadline(time.Now().Add(time.Hour))
		}, os.ErrDeadlineExceeded, time.Minute - 1 + time.Hour},
		{"Close", func(t *testing.T, e ends) { e.st.Close() }, net.ErrClosed, 0},
		{"CloseWrite", func(t *testing.T, e ends) { e.st.CloseWrite() }, net.ErrClosed, 0},
		{"Close of the session", func(t *testing.T, e ends) { go e.c.Close() }, net.ErrClosed, 0},
		{"the transport breaks", func(t *testing.T, e ends) { e.link.Break(broken) }, broken, 0},
		{"the peer closes the transport", func(t *testing.T, e ends) {
			e.link.Out().Unstall()
			e.peer.Close()
		}, syscall.EPIPE, 0},
		{"the peer closes the stream in both directions", func(t *testing.T, e ends) {
			fin := testutil.FIN(e.version, e.st.ID())
			e.peer.Send(t, fin, fin)
		}, stream.ErrPeerClosed, 0},
		{"the peer breaks the protocol", func(t *testing.T, e ends) {
			e.peer.SendBytes(t, []byte("GET / HTTP/1.1\r\n"))
		}, wire.ErrVersion, 0},
	}
	for _, b := range blocks {
		for _, v := range b.versions {
			for _, size := range []int{4000, 1 << 20} {
				for _, e := range endings {
					t.Run(fmt.Sprintf("%s/v%d/%d bytes/%s", b.name, v, size, e.name), func(t *testing.T) {
						bubble(t, func(t *testing.T) {
							local, remote := testutil.SimPair(t, simnet.Link{})
							c := client(t, local, &session.Config{Version: v, KeepAlive: off})
							peer := testutil.NewPeer(t, remote)
							st := open(t, c)
							if v == 2 {
								peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, b.window))
							}
							synctest.Wait()
							if b.stall {
								local.Out().Stall()
							}
							blocked := testutil.Background(func() (int, error) {
								for {
									if n, err := st.Write(make([]byte, size)); err != nil {
										return n, err
									}
								}
							})
							synctest.Wait()
							e.end(t, ends{c, st, remote, peer, wire.Version(v)})
							r := <-blocked
							if e.err == syscall.EPIPE && errors.Is(r.Err, io.ErrUnexpectedEOF) {
								r.Err = e.err // the session may find either first
							}
							testutil.WantErr(t, "Write", r.Err, e.err)
							testutil.WantTime(t, "Write ended", r.After, e.at)
							var op *net.OpError
							if !errors.As(r.Err, &op) && e.err != syscall.EPIPE || op != nil && (op.Op != "write" || op.Net != "smux") {
								t.Errorf("%#v is no *net.OpError of a write", r.Err)
							}
						})
					})
				}
			}
		}
	}
}

// A Write that waits for another Write of its stream ends for the same reasons, and has written nothing.
func TestWriteBehindAnotherEndsLikeAnyOther(t *testing.T) {
	for _, ending := range writeEndings {
		t.Run(ending.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				c, peer := scripted(t, transport("sim"), &session.Config{Version: version})
				st := openWide(t, c, peer, version)
				first := testutil.Background(func() (int, error) { return st.Write(make([]byte, 1<<20)) })
				synctest.Wait()
				var others []<-chan testutil.Result[int]
				for _, size := range []int{1, 8 << 10, 1 << 20} {
					others = append(others, testutil.Background(func() (int, error) { return st.Write(make([]byte, size)) }))
				}
				synctest.Wait()
				ending.end(t, c, st)
				r := <-first
				testutil.WantErr(t, "the first Write", r.Err, ending.err)
				total := r.Value
				for _, o := range others {
					r := <-o
					testutil.WantErr(t, "a Write that waits", r.Err, ending.err)
					if r.Value != 0 {
						t.Errorf("a Write that waited for its turn wrote %d bytes", r.Value)
					}
				}
				go c.Close()
				if n := len(readFrames(t, peer).data[st.ID()]); n != total {
					t.Errorf("the Writes counted %d bytes, the peer got %d", total, n)
				}
			})
		})
	}
}

// A Write that waits for the transport goes on when the transport does, and writes everything.
func TestBlockedWriteGoesOnWithTheTransport(t *testing.T) {
	const pattern, size = testutil.Pattern(3), 1 << 20
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, c, peer, version)
		blocked := testutil.Background(func() (int, error) { return st.Write(pattern.Bytes(size)) })
		time.Sleep(9 * time.Second)
		select {
		case r := <-blocked:
			t.Fatalf("Write of %d bytes to a transport that nobody reads = %d, %v", size, r.Value, r.Err)
		default:
		}
		go func() {
			time.Sleep(time.Second)
			c.Close()
		}()
		if err := pattern.Check(readFrames(t, peer).data[st.ID()], 0); err != nil {
			t.Error(err)
		}
		r := <-blocked
		testutil.WantErr(t, "Write", r.Err, nil)
		if r.Value != size {
			t.Errorf("Write = %d, want %d", r.Value, size)
		}
	})
}
