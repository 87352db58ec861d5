package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// Close of a stream.

// Close, CloseWrite and CloseRead of a stream return at once with a full transport. FIN is sent after the data.
func TestStreamCloseReturnsWithAFullTransport(t *testing.T) {
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
					elapsed := testutil.Clock()
					if err := c.fin(st); err != nil {
						t.Fatal(err)
					}
					// Nothing was read meanwhile, so the call did not wait for the transport.
					if tr.Bubble {
						testutil.WantTime(t, "it returned", elapsed(), 0)
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

// With a full transport no call waits except a large Write.
func TestFullTransportBlocksNothingButWrite(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		full := openWide(t, c, peer, version)
		newSource(1, 100_000).fill(t, full)
		elapsed := testutil.Clock()
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
			testutil.WantTime(t, "all calls returned", elapsed(), 0)
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

// After Close of a stream its calls fail with net.ErrClosed, and unread data is gone. The peer reads io.EOF.
func TestStreamCloseEndsReadsAndWrites(t *testing.T) {
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
			testutil.WantErr(t, "Close", a.Close(), nil)
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
			testutil.WantErr(t, name, err, net.ErrClosed)
			if op := new(net.OpError); !errors.As(err, &op) || op.Net != "smux" || op.Addr == nil {
				t.Errorf("%s: %#v is no *net.OpError of smux", name, err)
			}
		}
		testutil.WantErr(t, "CloseWrite", a.CloseWrite(), nil)
		testutil.WantErr(t, "CloseRead", a.CloseRead(), nil)
		if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the peer's Read = %d, %v", n, err)
		}
	})
}

// Close of a stream fails if the session ended before everything written was sent.
func TestStreamCloseFailsIfTheSessionEndedBeforeSending(t *testing.T) {
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
		testutil.WantErr(t, "Close of a stream with unsent data", full.Close(), broken)
		testutil.WantErr(t, "Close of one without", idle.Close(), nil)
	})
}

// A stream that both sides close with full windows ends. Neither FIN can be sent before the data in front of it,
// so each side has to make room for data that nobody reads.
func TestStreamClosedByBothSidesWithFullWindowsEnds(t *testing.T) {
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
			testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
		}
		testutil.WantErr(t, "Close", a.Close(), nil)
		testutil.WantErr(t, "Close", b.Close(), nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if c, s := c.NumStreams(), s.NumStreams(); c != 0 || s != 0 {
			t.Errorf("%d and %d streams are left", c, s)
		}
	})
}
