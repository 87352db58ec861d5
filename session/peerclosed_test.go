package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Write fails once the peer has said, in one of two ways, that it has closed both directions. It does not fail for
// a peer that has said less.
func TestWriteFailsOncePeerIsKnownToHaveClosed(t *testing.T) {
	for _, c := range []struct {
		name string
		// do is what the peer does with the stream.
		do   func(t *testing.T, peer *testutil.Peer, v wire.Version, st *stream.Stream)
		want error
	}{
		{"a second FIN", func(t *testing.T, peer *testutil.Peer, v wire.Version, st *stream.Stream) {
			peer.Send(t, testutil.FIN(v, st.ID()), testutil.FIN(v, st.ID()))
		}, stream.ErrPeerClosed},
		{"a second FIN later", func(t *testing.T, peer *testutil.Peer, v wire.Version, st *stream.Stream) {
			peer.Send(t, testutil.FIN(v, st.ID()))
			time.Sleep(time.Hour)
			peer.Send(t, testutil.FIN(v, st.ID()))
		}, stream.ErrPeerClosed},
		{"a FIN that answers PSH", func(t *testing.T, peer *testutil.Peer, v wire.Version, st *stream.Stream) {
			peer.Send(t, testutil.FIN(v, st.ID()))
			if _, err := st.Write([]byte("are you there?")); err != nil {
				t.Error(err) // nothing is known yet
			}
			peer.ExpectData(t, "data is sent before the peer closes", st.ID(), []byte("are you there?"))
			peer.Send(t, testutil.FIN(v, st.ID()))
		}, stream.ErrPeerClosed},
		{"one FIN is a half-close", func(t *testing.T, peer *testutil.Peer, v wire.Version, st *stream.Stream) {
			peer.Send(t, testutil.FIN(v, st.ID()))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
				st := openWide(t, s, peer, version)
				v := wire.Version(version)
				peer.Send(t, testutil.PSH(v, st.ID(), []byte("the end")))
				c.do(t, peer, v, st)
				synctest.Wait()
				// Twice: only the first Write may be too early to fail.
				for _, p := range [][]byte{[]byte("hello"), nil} {
					_, err := st.Write(p)
					testutil.WantErr(t, "Write", err, c.want)
					if op := new(net.OpError); c.want != nil && (!errors.As(err, &op) || op.Op != "write") {
						t.Errorf("%#v is no *net.OpError of a write", err)
					}
				}
				if _, err := st.ReadFrom(testutil.Pattern(1).Reader(10)); !errors.Is(err, c.want) {
					t.Errorf("ReadFrom: %v, want %v", err, c.want)
				}
				// Data that the peer sent before can be read.
				if got, err := io.ReadAll(st); string(got) != "the end" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				st.Close()
				go s.Close()
				got := readFrames(t, peer)
				if list := got.commands(st.ID()); len(list) == 0 || list[len(list)-1] != wire.FIN {
					t.Errorf("the stream was closed, and what it sent is %v", list)
				}
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
			})
		})
	}
}

// Toward another session, Writes fail soon after the peer has closed the stream.
func TestWriteToAClosedPeerFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		close func(st *stream.Stream) error
	}{
		{"Close", (*stream.Stream).Close},
		{"CloseWrite and Close", func(st *stream.Stream) error { return errors.Join(st.CloseWrite(), st.Close()) }},
	} {
		for _, size := range []int{10, 5000, 100_000} {
			t.Run(fmt.Sprintf("%s/%d bytes a Write", c.name, size), func(t *testing.T) {
				eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
					a, b := sessions(t, tr, session.Config{Version: version})
					out, in := openPair(t, a, b)
					other, otherIn := openPair(t, a, b)
					// Some of this is unread when the peer closes.
					writing := testutil.Background(func() (int, error) {
						total := 0
						for {
							n, err := out.Write(make([]byte, size))
							total += n
							if err != nil {
								return total, err
							}
							if tr.Bubble {
								time.Sleep(time.Millisecond)
							}
						}
					})
					if _, err := io.ReadFull(in, make([]byte, 10)); err != nil {
						t.Fatal(err)
					}
					testutil.WantErr(t, "Close", c.close(in), nil)
					select {
					case r := <-writing:
						testutil.WantErr(t, "Write", r.Err, stream.ErrPeerClosed)
					case <-time.After(time.Minute):
						t.Fatal("Write goes on waiting for a stream that the peer has closed")
					}
					// Other streams go on.
					go other.Write([]byte("hello"))
					if _, err := io.ReadFull(otherIn, make([]byte, 5)); err != nil {
						t.Error(err)
					}
					out.Close()
				})
			})
		}
	}
}

// A Write that waits for the peer's window fails when the peer closes the stream, although it has sent nothing
// that the peer could answer.
func TestWriteThatWaitsForAWindowFailsWhenPeerCloses(t *testing.T) {
	for _, closes := range []string{"the accepting side", "the opening side"} {
		t.Run(closes, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, _ int) {
				c, s := sessions(t, tr, session.Config{Version: 2, KeepAlive: off})
				out, in := openPair(t, c, s)
				if closes == "the opening side" {
					out, in = in, out
				}
				writing := testutil.Background(func() (int, error) { return out.Write(make([]byte, 1<<20)) })
				time.Sleep(time.Hour)
				wantPending(t, "Write", writing)
				in.Close()
				r := <-writing
				testutil.WantErr(t, "Write", r.Err, stream.ErrPeerClosed)
				if r.After > time.Hour+time.Millisecond {
					t.Errorf("Write returned %v after Close, want at most a millisecond", r.After-time.Hour)
				}
			})
		})
	}
}

// A Write whose data arrives between Close and its FIN, which waits for the transport, fails as well.
func TestWriteThatFilledItsWindowDuringFINFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		close func(st *stream.Stream) error
	}{
		{"Close", (*stream.Stream).Close},
		{"CloseWrite and Close", func(st *stream.Stream) error { return errors.Join(st.CloseWrite(), st.Close()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ca, cb := testutil.SimPair(t, simnet.Link{Buffer: 1})
				c1 := client(t, ca, &session.Config{Version: 2, KeepAlive: off})
				c2 := server(t, cb, &session.Config{Version: 2, KeepAlive: off})
				out, in := openPair(t, c1, c2)
				synctest.Wait()
				cb.Out().Stall()
				// This side's writer is blocked.
				go in.Write(make([]byte, 10))
				synctest.Wait()
				testutil.WantErr(t, "Close", c.close(in), nil)
				writing := testutil.Background(func() (int, error) { return out.Write(make([]byte, 1<<20)) })
				time.Sleep(time.Second)
				wantPending(t, "Write", writing)
				cb.Out().Unstall()
				time.Sleep(time.Second)
				select {
				case r := <-writing:
					testutil.WantErr(t, "Write", r.Err, stream.ErrPeerClosed)
				default:
					t.Error("Write goes on waiting for a stream that the peer has closed")
				}
			})
		})
	}
}

// Read and Write of a stream that the peer refuses fail with ErrRefused.
func TestRefusedStreamFailsReadAndWrite(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, AcceptBacklog: 1})
		_ = open(t, c) // takes the only place
		st := open(t, c)
		for {
			if _, err := st.Write(make([]byte, 5000)); err != nil {
				testutil.WantErr(t, "Write", err, stream.ErrRefused)
				break
			}
			if tr.Bubble {
				time.Sleep(time.Millisecond)
			}
		}
		n, err := st.Read(make([]byte, 1))
		if testutil.WantErr(t, "Read", err, stream.ErrRefused); n > 0 {
			t.Errorf("read %d bytes", n)
		}
		if n := s.Stats().StreamsRefused; n != 1 {
			t.Errorf("%d streams were refused", n)
		}
	})
}

// An application that has closed a stream for writing may take any time to read the answer, even if the peer has
// closed the stream since and its last bytes wait for room.
func TestHalfClosedStreamIsReadAfterAnyPause(t *testing.T) {
	const size = 350_000 // more than the window
	for _, pause := range []time.Duration{7 * time.Second, 25 * time.Hour} {
		t.Run(pause.String(), func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, c, s)
				if _, err := a.Write([]byte("request")); err != nil {
					t.Fatal(err)
				}
				a.CloseWrite()
				if _, err := io.ReadAll(b); err != nil {
					t.Fatal(err)
				}
				if n, err := testutil.Pattern(1).Send(b, size, 1000); err != nil {
					t.Fatal(n, err)
				}
				testutil.WantErr(t, "Close", b.Close(), nil)
				time.Sleep(pause)
				testutil.WantErr(t, "reading", testutil.Pattern(1).Receive(a, size), nil)
				for _, end := range []*session.Session{c, s} {
					for end.NumStreams() > 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		})
	}
}
