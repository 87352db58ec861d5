package session_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

func TestStreamCloseReturnsPromptlyWithAFullTransportAndFINStillFollowsTheData(t *testing.T) {
	for _, c := range []struct {
		name string
		fin  func(*stream.Stream) error
		want []wire.Command
	}{
		{"Close", (*stream.Stream).Close, []wire.Command{wire.PSH, wire.FIN, wire.FIN}},
		{"CloseWrite", (*stream.Stream).CloseWrite, []wire.Command{wire.PSH, wire.FIN}},
		{"CloseRead and Close", func(st *stream.Stream) error { return errors.Join(st.CloseRead(), st.Close()) },
			[]wire.Command{wire.PSH, wire.FIN, wire.FIN}},
	} {
		for _, size := range []int{100, 100_000} {
			t.Run(fmt.Sprintf("%s/%d bytes a Write", c.name, size), func(t *testing.T) {
				eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
					s, peer := scripted(t, tr, &session.Config{Version: version})
					peer.Ignore(wire.NOP, wire.UPD)
					st := openWide(t, s, peer, version)
					src := newSource(1, size)
					src.fill(t, st)
					elapsed := clock()
					if err := c.fin(st); err != nil {
						t.Fatal(err)
					}
					// Nobody has read meanwhile, so it returned by itself.
					if tr.Bubble {
						wantTime(t, "it returned", elapsed(), 0)
					}
					go s.Close()
					got := readFrames(t, peer)
					if diff := cmp.Diff(c.want, got.commands(st.ID())); diff != "" {
						t.Errorf("frames (-want +got)\n%s", diff)
					}
					data := got.data[st.ID()]
					if err := src.pattern.Check(data, 0); err != nil || int64(len(data)) != src.off {
						t.Errorf("%d bytes arrived, %d were written: %v", len(data), src.off, err)
					}
				})
			})
		}
	}
}

func TestWithAFullTransportNothingButWriteWaits(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		full := openWide(t, c, peer, version)
		newSource(1, 100_000).fill(t, full)
		elapsed := clock()
		var list []*stream.Stream
		for range 500 {
			st := open(t, c)
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			list = append(list, st)
		}
		for _, st := range append(list, full) {
			if err := errors.Join(st.SetDeadline(time.Now()), st.CloseRead(), st.CloseWrite(), st.Close()); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = c.NumStreams(), c.Stats()
		if tr.Bubble {
			wantTime(t, "all calls returned", elapsed(), 0)
		}
		go c.Close()
		peer.Ignore(wire.NOP, wire.UPD)
		got := readFrames(t, peer)
		for _, st := range list {
			// The second FIN says that both directions are closed.
			if diff := cmp.Diff([]wire.Command{wire.SYN, wire.PSH, wire.FIN, wire.FIN}, got.commands(st.ID())); diff != "" {
				t.Fatalf("frames of stream %d (-want +got)\n%s", st.ID(), diff)
			}
		}
	})
}

func TestASessionClosedRightAfterWriteStillDelivers(t *testing.T) {
	for _, c := range []struct {
		streams, size int
		fin           bool // the streams are closed, too
	}{
		{1, 1, false},
		{1, 1, true},
		{1, 1000, false},
		{1, 100_000, true},
		{1, 1 << 20, false},
		{30, 5000, true},
		{30, 40_000, false},
	} {
		for _, side := range []string{"client", "server"} {
			t.Run(fmt.Sprintf("%d streams of %d bytes, FIN %v, by the %s", c.streams, c.size, c.fin, side), func(t *testing.T) {
				eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
					closes, stays := sessions(t, tr, session.Config{Version: version})
					if side == "server" {
						closes, stays = stays, closes
					}
					var out, in []*stream.Stream
					for range c.streams {
						o, i := openPair(t, closes, stays)
						out, in = append(out, o), append(in, i)
					}
					var readers sync.WaitGroup
					for k, st := range in {
						readers.Go(func() {
							v := testutil.Pattern(k).Verifier()
							_, err := io.Copy(v, st)
							if v.Offset() != int64(c.size) {
								t.Errorf("%d of %d bytes arrived: %v", v.Offset(), c.size, err)
							}
							// Without FIN that is io.ErrUnexpectedEOF, or a reset from TCP.
							if c.fin != (err == nil) {
								t.Errorf("the reader: error %v", err)
							}
						})
					}
					for k, st := range out {
						if _, err := st.Write(testutil.Pattern(k).Bytes(c.size)); err != nil {
							t.Error(err)
						}
						if c.fin {
							st.Close()
						}
					}
					wantErr(t, "Close", closes.Close(), nil)
					readers.Wait()
				})
			})
		}
	}
}

// flood has the peer send NOPs without end, until its transport fails or the test ends.
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

func TestSessionCloseReturnsHoweverMuchThePeerSends(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, peer := scriptedOver(t, ca, cb, &session.Config{Version: version, CloseTimeout: time.Second})
		openWide(t, c, peer, version)
		flood(t, tr, peer, version)
		for !tr.Bubble && c.Stats().FramesReceived < 100_000 {
			runtime.Gosched()
		}
		closed := background(func() (struct{}, error) { return struct{}{}, c.Close() })
		select {
		case r := <-closed:
			wantErr(t, "Close", r.err, nil)
		case <-time.After(time.Minute):
			t.Error("Close does not return")
		}
	})
}

// A TCP socket that is closed with data unread sends a reset, and what its peer's host has not
// acknowledged by then is lost. On systems other than Linux, so is what the peer has not read.
func TestASessionClosedRightAfterWriteStillDeliversWithUnreadDataInItsTransport(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable %v", portable), func(t *testing.T) {
			deliverWithUnreadData(t, &session.Config{Portable: portable, CloseTimeout: time.Minute})
		})
	}
}

func deliverWithUnreadData(t *testing.T, common *session.Config) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		cfg := *common
		cfg.Version = version
		ca, cb := tr.Pair(t)
		if s, ok := ca.(*net.TCPConn); ok {
			// The kernel is to hold much for the peer that its host does not take yet.
			if err := s.SetWriteBuffer(256 << 10); err != nil {
				t.Fatal(err)
			}
		}
		c, peer := scriptedOver(t, ca, cb, &cfg)
		st := openWide(t, c, peer, version)
		flood(t, tr, peer, version)
		// And it reads nothing until the session is being closed.
		src := newSource(1, 20_000)
		src.fill(t, st)
		closed := background(func() (struct{}, error) { return struct{}{}, c.Close() })
		settle(tr)

		v := testutil.Pattern(1).Verifier()
		for v.Offset() < src.off {
			// So slowly that the kernel holds much when the session has nothing left.
			time.Sleep(time.Millisecond)
			f, err := peer.TryNext(peer.Timeout)
			if err != nil {
				t.Fatalf("%d of %d bytes arrived: %v", v.Offset(), src.off, err)
			}
			if f.Command == wire.PSH {
				if _, err := v.Write(f.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		peer.ExpectEnd(t)
		peer.Close()
		wantErr(t, "Close", (<-closed).err, nil)
	})
}

// The peer is writing, too, when the session is closed. Its writes fail then; what was sent to
// it before is read all the same, however long its reader takes.
func TestASessionClosedRightAfterWriteStillDeliversToAPeerThatWrites(t *testing.T) {
	const size = 300_000
	for _, pause := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprintf("read at once every %v", pause), func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 64 << 10, CloseTimeout: time.Minute})
				out, in := openPair(t, c, s)
				var writer sync.WaitGroup
				writer.Go(func() {
					for {
						if _, err := in.Write([]byte("and another thing")); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
				writer.Go(func() {
					if _, err := out.Write(testutil.Pattern(1).Bytes(size)); err != nil {
						t.Errorf("Write: %v", err)
					}
					wantErr(t, "CloseWrite", out.CloseWrite(), nil)
					wantErr(t, "Close", c.Close(), nil)
				})
				v := testutil.Pattern(1).Verifier()
				buf := make([]byte, 10_000)
				for {
					time.Sleep(pause)
					n, err := in.Read(buf)
					if _, err := v.Write(buf[:n]); err != nil {
						t.Fatal(err)
					}
					if err != nil {
						wantErr(t, "Read", err, io.EOF)
						break
					}
				}
				if v.Offset() != size {
					t.Errorf("%d of %d bytes arrived", v.Offset(), size)
				}
				in.Close()
				writer.Wait()
			})
		})
	}
}

// TLS hides the socket, which is closed with data unread all the same.
func TestASessionOverTLSClosedRightAfterWriteStillDeliversToAPeerThatWrites(t *testing.T) {
	testutil.LeakCheck(t)
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	const size = 300_000
	for i := range 10 {
		ca, cb := testutil.TCPPair(t)
		cfg := &session.Config{Version: 1 + i%2, CloseTimeout: time.Minute}
		c := client(t, tls.Client(ca, &tls.Config{RootCAs: roots, ServerName: "example.com"}), cfg)
		s := server(t, tls.Server(cb, &tls.Config{Certificates: certified.TLS.Certificates}), cfg)
		out, in := openPair(t, c, s)
		var writer sync.WaitGroup
		writer.Go(func() {
			for p := make([]byte, 10_000); ; {
				if _, err := in.Write(p); err != nil {
					return
				}
			}
		})
		writer.Go(func() {
			if _, err := out.Write(testutil.Pattern(1).Bytes(size)); err != nil {
				t.Errorf("Write: %v", err)
			}
			wantErr(t, "CloseWrite", out.CloseWrite(), nil)
			wantErr(t, "Close", c.Close(), nil)
		})
		if err := testutil.Pattern(1).Receive(in, size); err != nil {
			t.Error(err)
		}
		in.Close()
		writer.Wait()
	}
}

func TestDataWrittenBeforeSessionCloseIsFlushedForAtMostCloseTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{
		{"the default", 0, 5 * time.Second},
		{"an hour", time.Hour, time.Hour},
		{"a nanosecond", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: c.timeout, KeepAlive: off})
				st := openWide(t, s, peer, version)
				newSource(1, 1000).fill(t, st)
				elapsed := clock()
				wantErr(t, "Close", s.Close(), session.ErrNotFlushed)
				wantTime(t, "Close returned", elapsed(), c.want)
				wantErr(t, "Err", s.Err(), net.ErrClosed)
			})
		})
	}
	t.Run("on a socket", func(t *testing.T) {
		eachTransport(t, func(tr testutil.Transport) bool { return !tr.Bubble }, func(t *testing.T, tr testutil.Transport, version int) {
			s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: 20 * time.Millisecond})
			src := newSource(1, 1<<20)
			src.patience = 200 * time.Millisecond
			src.fill(t, openWide(t, s, peer, version))
			elapsed := clock()
			wantErr(t, "Close", s.Close(), session.ErrNotFlushed)
			if d := elapsed(); d < 20*time.Millisecond {
				t.Errorf("Close returned after %v", d)
			}
		})
	})
	t.Run("with a window that stays full", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			ca, cb := testutil.SimPair(t, simnet.Link{})
			s := client(t, ca, &session.Config{Version: 2, KeepAlive: off})
			peer := testutil.NewPeer(t, cb)
			peer.Timeout = time.Hour
			st := open(t, s)
			src := newSource(1, 1000)
			src.fill(t, st)
			elapsed := clock()
			closed := background(func() (struct{}, error) { return struct{}{}, s.Close() })
			got := readFrames(t, peer)
			wantErr(t, "Close", (<-closed).err, session.ErrNotFlushed)
			wantTime(t, "Close returned", elapsed(), session.DefaultCloseTimeout)
			if n := len(got.data[st.ID()]); n != 262144 {
				t.Errorf("%d bytes were sent", n)
			}
		})
	})
	t.Run("with a window that opens", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			ca, cb := testutil.SimPair(t, simnet.Link{})
			s := client(t, ca, &session.Config{Version: 2, KeepAlive: off})
			peer := testutil.NewPeer(t, cb)
			peer.Timeout = time.Hour
			st := open(t, s)
			src := newSource(1, 1000)
			src.fill(t, st)
			elapsed := clock()
			closed := background(func() (struct{}, error) { return struct{}{}, s.Close() })
			time.Sleep(time.Second)
			peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, 1<<20))
			got := readFrames(t, peer)
			wantErr(t, "Close", (<-closed).err, nil)
			wantTime(t, "Close returned", elapsed(), time.Second)
			if n := int64(len(got.data[st.ID()])); n != src.off {
				t.Errorf("%d of %d bytes were sent", n, src.off)
			}
		})
	})
}

// The usual end of a conversation: the peer closes its side as soon as it has read all.
func TestCloseSucceedsIfThePeerClosesWhenItHasReadEverything(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, c, peer, version)
		src := newSource(1, 1000)
		src.fill(t, st)
		st.Close()
		closed := background(func() (struct{}, error) { return struct{}{}, c.Close() })
		settle(tr)
		for peer.Next(t).Command != wire.FIN {
		}
		peer.Next(t) // the second FIN
		peer.Close()
		wantErr(t, "Close", (<-closed).err, nil)
	})
}

// However the flush ends, Close tells the truth about it.
func TestCloseFailsIfNotEverythingWrittenWasSent(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		size int // of what is written to a full transport
		end  func(peer *simnet.Conn)
	}{
		{"the transport breaks, the writer holds it all", 100, func(peer *simnet.Conn) { peer.Break(broken) }},
		{"the transport breaks, much is in line", 60_000, func(peer *simnet.Conn) { peer.Break(broken) }},
		{"the peer closes the transport, the writer holds it all", 100, func(peer *simnet.Conn) { peer.Close() }},
		{"the peer closes the transport, much is in line", 60_000, func(peer *simnet.Conn) { peer.Close() }},
		{"the peer breaks the protocol", 100, func(peer *simnet.Conn) { peer.Write([]byte("GET / HTTP/1.1\r\n")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, tr := range []string{"sim", "bare"} {
				t.Run(tr, func(t *testing.T) {
					eachVersion(t, func(t *testing.T, version int) {
						a, b := testutil.SimPair(t, simnet.Link{Buffer: 50})
						var conn io.ReadWriteCloser = a
						if tr == "bare" {
							conn = simnet.Bare(a)
						}
						s := client(t, conn, &session.Config{Version: version, CloseTimeout: time.Hour, KeepAlive: off})
						st := open(t, s)
						synctest.Wait()
						a.Out().Stall()
						for left := c.size; left > 0; left -= 100 {
							if _, err := st.Write(make([]byte, 100)); err != nil {
								t.Fatal(err)
							}
						}
						synctest.Wait()
						closed := background(func() (struct{}, error) { return struct{}{}, s.Close() })
						synctest.Wait()
						elapsed := clock()
						c.end(b)
						r := <-closed
						wantErr(t, "Close", r.err, session.ErrNotFlushed)
						wantTime(t, "Close returned", elapsed(), 0)
						wantErr(t, "Err", s.Err(), net.ErrClosed)
					})
				})
			}
		})
	}
}

// Applications close streams while the session is being closed.
func TestAStreamThatIsClosedDuringSessionCloseDoesNotHoldItUp(t *testing.T) {
	for _, c := range []struct {
		name string
		fin  func(*stream.Stream) error
	}{
		{"Close", (*stream.Stream).Close},
		{"CloseWrite", (*stream.Stream).CloseWrite},
		{"CloseRead", (*stream.Stream).CloseRead},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, CloseTimeout: time.Hour, KeepAlive: off})
				busy := openWide(t, s, peer, version)
				idle := openWide(t, s, peer, version)
				src := newSource(1, 1000)
				src.fill(t, busy)
				elapsed := clock()
				closed := background(func() (struct{}, error) { return struct{}{}, s.Close() })
				synctest.Wait()
				for _, st := range []*stream.Stream{idle, busy} {
					if err := c.fin(st); err != nil {
						t.Error(err)
					}
				}
				got := readFrames(t, peer)
				wantErr(t, "Close", (<-closed).err, nil)
				wantTime(t, "Close returned", elapsed(), 0)
				if n := int64(len(got.data[busy.ID()])); n != src.off {
					t.Errorf("%d of %d bytes were sent", n, src.off)
				}
			})
		})
	}
}

func TestClosingAgainDoesNothingAndWaitsForTheFirst(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		newSource(1, 1000).fill(t, openWide(t, s, peer, version))
		var all []<-chan result[struct{}]
		for range 10 {
			all = append(all, background(func() (struct{}, error) { return struct{}{}, s.Close() }))
		}
		failed := 0
		for _, c := range all {
			r := <-c
			if r.err != nil {
				failed++
				wantErr(t, "Close", r.err, session.ErrNotFlushed)
			}
			wantTime(t, "Close returned", r.at, session.DefaultCloseTimeout)
		}
		if failed != 1 {
			t.Errorf("%d of 10 Closes report an error, want the first", failed)
		}
		elapsed := clock()
		wantErr(t, "Close", s.Close(), nil)
		wantTime(t, "Close returned", elapsed(), 0)
	})
}

func TestAfterSessionCloseNoCallSucceeds(t *testing.T) {
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
		wantErr(t, "Close", c.Close(), nil)

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
			wantErr(t, name, err, net.ErrClosed)
			if op, ok := err.(*net.OpError); name != "Err" && (!ok || op.Net != "smux") {
				t.Errorf("%s: %#v is no *net.OpError of smux", name, err)
			}
		}
		wantErr(t, "Close", c.Close(), nil)
		wantErr(t, "Shutdown", c.Shutdown(context.Background()), nil)
		if n := c.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		select {
		case <-c.Done():
		default:
			t.Error("Done is not closed")
		}
		a.Close()

		// The peer learns it at once.
		<-s.Done()
		if !tr.Bubble && errors.Is(s.Err(), syscall.ECONNRESET) {
			return // a socket that had received something, which c had not read yet
		}
		wantErr(t, "the peer's Err", s.Err(), io.EOF)
		if _, err := s.Accept(); err != io.EOF {
			t.Errorf("the peer's Accept: %v, want a bare io.EOF", err)
		}
	})
}

func TestStreamCloseEndsReadsAndWritesAndForgetsWhatIsUnread(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := b.Write(make([]byte, 50_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantErr(t, "Close", a.Close(), nil)
		}
		for name, call := range map[string]func() error{
			"Read":             func() error { _, err := a.Read(make([]byte, 1)); return err },
			"Read of nothing":  func() error { _, err := a.Read(nil); return err },
			"WriteTo":          func() error { _, err := a.WriteTo(io.Discard); return err },
			"Write":            func() error { _, err := a.Write([]byte("x")); return err },
			"Write of nothing": func() error { _, err := a.Write(nil); return err },
			"ReadFrom":         func() error { _, err := a.ReadFrom(testutil.Pattern(1).Reader(1)); return err },
			"SetDeadline":      func() error { return a.SetDeadline(time.Now()) },
			"SetReadDeadline":  func() error { return a.SetReadDeadline(time.Now()) },
			"SetWriteDeadline": func() error { return a.SetWriteDeadline(time.Time{}) },
		} {
			err := call()
			wantErr(t, name, err, net.ErrClosed)
			if op := new(net.OpError); !errors.As(err, &op) || op.Net != "smux" || op.Addr == nil {
				t.Errorf("%s: %#v is no *net.OpError of smux", name, err)
			}
		}
		wantErr(t, "CloseWrite", a.CloseWrite(), nil)
		wantErr(t, "CloseRead", a.CloseRead(), nil)
		if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the peer's Read = %d, %v", n, err)
		}
	})
}

func TestCloseWriteEndsWritingAndReadingGoesOn(t *testing.T) {
	const size = 100_000
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := a.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantErr(t, "CloseWrite", a.CloseWrite(), nil)
		}
		_, err := a.Write([]byte("more"))
		wantErr(t, "Write", err, net.ErrClosed)
		_, err = a.ReadFrom(testutil.Pattern(1).Reader(1))
		wantErr(t, "ReadFrom", err, net.ErrClosed)

		request, err := io.ReadAll(b)
		if string(request) != "request" || err != nil {
			t.Errorf("the peer has read %q, %v", request, err)
		}
		go func() {
			if _, err := testutil.Pattern(1).Send(b, size, 1000); err != nil {
				t.Error(err)
			}
			b.Close()
		}()
		if err := testutil.Pattern(1).Receive(a, size); err != nil {
			t.Error(err)
		}
		wantErr(t, "Close", a.Close(), nil)
	})
}

func TestCloseReadEndsReadingAndWritingGoesOn(t *testing.T) {
	// More than a window, and more than the budget.
	const size = 1 << 20
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 512 << 10})
		a, b := openPair(t, c, s)
		blocked := background(func() (int, error) { return a.Read(make([]byte, 1)) })
		settle(tr)
		for range 2 {
			wantErr(t, "CloseRead", a.CloseRead(), nil)
		}
		r := <-blocked
		wantErr(t, "the blocked Read", r.err, net.ErrClosed)
		_, err := a.Read(nil)
		wantErr(t, "Read", err, net.ErrClosed)
		_, err = a.WriteTo(io.Discard)
		wantErr(t, "WriteTo", err, net.ErrClosed)

		go func() {
			if _, err := testutil.Pattern(1).Send(a, size, 50_000); err != nil {
				t.Error(err)
			}
			a.CloseWrite()
		}()
		// What the peer writes is taken and thrown away.
		if _, err := testutil.Pattern(2).Send(b, size, 50_000); err != nil {
			t.Error(err)
		}
		b.CloseWrite()
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamCloseFailsIfTheSessionEndedBeforeWhatWasWrittenWasSent(t *testing.T) {
	broken := errors.New("cable cut")
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize})
		c := client(t, a, &session.Config{Version: version, KeepAlive: off})
		full, idle := open(t, c), open(t, c)
		if _, err := idle.Write([]byte("sent")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.Out().Stall()
		newSource(1, 1000).fill(t, full)
		b.Break(broken)
		<-c.Done()
		wantErr(t, "Close of a stream with unsent data", full.Close(), broken)
		wantErr(t, "Close of one without", idle.Close(), nil)
	})
}

// Whoever closes what, and in whatever order, everything ends.
func TestSessionsThatCloseAtTheSameTimeBothEnd(t *testing.T) {
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
					!errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrClosedPipe) &&
					!errors.Is(err, os.ErrClosed) {
					t.Errorf("Err: %v", err)
				}
			}
		}
	})
}

// Neither side's FIN can go out before the data in front of it, for which the other side has to make
// room, though nobody there reads any more.
func TestAStreamThatBothSidesCloseWithFullWindowsEnds(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		if version == 1 {
			return // has no windows
		}
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		a, b := openPair(t, c, s)
		for _, st := range []*stream.Stream{a, b} {
			st.SetWriteDeadline(time.Now().Add(time.Second))
			var err error
			for n := 0; err == nil && n < 1<<20; n += 1000 {
				_, err = st.Write(make([]byte, 1000))
			}
			wantErr(t, "Write", err, os.ErrDeadlineExceeded)
		}
		wantErr(t, "Close", a.Close(), nil)
		wantErr(t, "Close", b.Close(), nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if c, s := c.NumStreams(), s.NumStreams(); c != 0 || s != 0 {
			t.Errorf("%d and %d streams are left", c, s)
		}
	})
}
