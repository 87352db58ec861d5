package session_test

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// FIN never overtakes data of its own stream.
func TestFINNeverOvertakesDataOfItsStream(t *testing.T) {
	const streams = 12
	for _, c := range []struct {
		name string
		fin  func(*stream.Stream) error
		fins []wire.Command
	}{
		{"Close", (*stream.Stream).Close, []wire.Command{wire.FIN, wire.FIN}},
		{"CloseWrite", (*stream.Stream).CloseWrite, []wire.Command{wire.FIN}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version})
				peer.Ignore(wire.NOP, wire.UPD)
				// Some streams find the transport free, most find it full.
				var list []*stream.Stream
				var sizes []int
				for i := range streams {
					st := open(t, s)
					size := 4000 * i
					for left := size; left > 0; left -= 4000 {
						if _, err := st.Write(testutil.Pattern(i).Bytes(size)[size-left:][:4000]); err != nil {
							t.Fatal(err)
						}
					}
					if err := c.fin(st); err != nil {
						t.Fatal(err)
					}
					list, sizes = append(list, st), append(sizes, size)
				}
				go s.Close()
				got := readFrames(t, peer)
				for i, st := range list {
					want := []wire.Command{wire.SYN, wire.PSH}
					if sizes[i] == 0 {
						want = []wire.Command{wire.SYN}
					}
					want = append(want, c.fins...)
					if diff := cmp.Diff(want, got.commands(st.ID())); diff != "" {
						t.Errorf("stream %d (-want +got)\n%s", st.ID(), diff)
					}
					data := got.data[st.ID()]
					if err := testutil.Pattern(i).Check(data, 0); err != nil || len(data) != sizes[i] {
						t.Errorf("stream %d: %d of %d bytes came before FIN: %v", st.ID(), len(data), sizes[i], err)
					}
				}
			})
		})
	}
}

// FIN waits while data of its stream waits for the peer's window.
func TestFINWaitsForDataThatWaitsForTheWindow(t *testing.T) {
	for _, c := range []struct {
		name string
		fin  func(*stream.Stream) error
		then testutil.Frame // after FIN
	}{
		{"Close", (*stream.Stream).Close, testutil.FIN(wire.V2, 1)},
		{"CloseWrite", (*stream.Stream).CloseWrite, testutil.UPD(wire.V2, 1, 0, 262144)}, // it reads on
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const first, rest = 262144, 40000
				ca, cb := testutil.SimPair(t, simnet.Link{})
				s := client(t, ca, &session.Config{Version: 2, KeepAlive: off})
				peer := testutil.NewPeer(t, cb)
				peer.Ignore(wire.NOP)
				st := open(t, s)
				src := newSource(1, 4096)
				for src.off < first+rest {
					if _, err := src.write(st); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.fin(st); err != nil {
					t.Fatal(err)
				}
				peer.ExpectFrame(t, "SYN is first", testutil.SYN(wire.V2, st.ID()))
				expectPattern(t, "the first window is used", peer, st.ID(), 1, 0, first)
				peer.ExpectNothing(t, "data and FIN wait for the window", time.Hour)
				peer.Send(t, testutil.UPD(wire.V2, st.ID(), first, 10000))
				expectPattern(t, "an update of 10,000 bytes lets them go", peer, st.ID(), 1, first, first+10000)
				peer.ExpectNothing(t, "the rest and FIN wait for the window", time.Hour)
				peer.Send(t, testutil.UPD(wire.V2, st.ID(), first+10000, 1<<20))
				expectPattern(t, "a large update lets the rest go", peer, st.ID(), 1, first+10000, int(src.off))
				peer.ExpectFrame(t, "FIN follows the last data", testutil.FIN(wire.V2, st.ID()))
				peer.ExpectFrame(t, "one frame follows FIN", c.then)
				peer.ExpectNothing(t, "nothing else is sent", time.Hour)
			})
		})
	}
}

// onDemand is a keep-alive policy that probes when due is set.
type onDemand struct{ due atomic.Bool }

func (p *onDemand) Next(keepalive.Activity) (keepalive.Action, time.Duration) {
	if p.due.Swap(false) {
		return keepalive.Probe, time.Second
	}
	return keepalive.None, time.Second
}

// UPD, NOP and SYN are sent before data that waits for the transport.
func TestUPDAndNOPAndSYNGoBeforeData(t *testing.T) {
	const bulk = 2 << 20
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		var policy onDemand
		c, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: &policy})
		v := wire.Version(version)
		out := openWide(t, c, peer, version)
		in := openWide(t, c, peer, version)
		peer.Send(t, slices.Repeat([]testutil.Frame{testutil.PSH(v, in.ID(), make([]byte, 50_000))}, 5)...)
		testutil.Background(func() (int, error) { return out.Write(make([]byte, bulk)) })
		synctest.Wait()

		// The transport is full, and much data waits for it. Now the other frames are due.
		if _, err := io.ReadFull(in, make([]byte, 250_000)); err != nil {
			t.Fatal(err)
		}
		opened := open(t, c)
		policy.due.Store(true)
		time.Sleep(2 * time.Second)

		go func() {
			time.Sleep(time.Second)
			c.Close()
		}()
		peer.Ignore()
		want := map[wire.Command]uint32{wire.SYN: opened.ID(), wire.NOP: 0}
		if version == 2 {
			want[wire.UPD] = in.ID()
		}
		before := 0 // bytes of data
		for len(want) > 0 {
			f := peer.Next(t, "UPD, NOP and SYN are sent")
			if f.Command == wire.PSH {
				before += len(f.Data)
			} else if id, ok := want[f.Command]; ok && id == f.StreamID {
				delete(want, f.Command)
			}
			if before > bulk/4 {
				t.Fatalf("%d bytes of data came, and of these frames none: %v", before, want)
			}
		}
		readFrames(t, peer)
	})
}

// On a socket SYN is sent before data, too. The kernel holds data that was sent before, so it takes more data to
// see this.
func TestSYNGoesBeforeDataOnASocket(t *testing.T) {
	const bulk = 16 << 20
	eachTransport(t, func(tr testutil.Transport) bool { return !tr.Bubble }, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		out := openWide(t, c, peer, version)
		newSource(1, 1<<20).fill(t, out)
		testutil.Background(func() (int, error) { return out.Write(make([]byte, bulk)) })
		opened := open(t, c)
		if _, err := opened.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		before := 0
		for {
			f := peer.Next(t, "SYN is sent")
			before += len(f.Data)
			if f.StreamID == opened.ID() {
				if f.Command != wire.SYN {
					t.Errorf("%v came before SYN", f)
				}
				break
			}
		}
		if before > bulk/2 {
			t.Errorf("%d bytes of data came before SYN", before)
		}
	})
}

// A SYN waits for the first Write and is sent together with its data.
func TestSYNWaitsForTheFirstWriteAndGoesWithIt(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		if tr.Name == "pipe" {
			return // it does not tell how often it was written to
		}
		ca, cb := testutil.SimPair(t, simnet.Link{})
		var conn io.ReadWriteCloser = ca
		if tr.Name == "bare" {
			conn = simnet.Bare(ca)
		}
		c := client(t, conn, &session.Config{Version: version, KeepAlive: off})
		peer := testutil.NewPeer(t, cb)
		peer.Ignore(wire.NOP)
		peer.EchoSignals(true)
		synctest.Wait()
		writes := ca.Out().Counters().Writes
		st := open(t, c)
		time.Sleep(time.Millisecond - 1)
		if n := ca.Out().Counters().Writes; n != writes {
			t.Errorf("OpenStream alone has written to the transport %d times", n-writes)
		}
		st.Write([]byte("hello"))
		synctest.Wait()
		if n := ca.Out().Counters().Writes; n != writes+1 {
			t.Errorf("SYN and the first data took %d writes to the transport, want 1", n-writes)
		}
		peer.ExpectFrame(t, "SYN is sent with the first Write", testutil.SYN(wire.Version(version), st.ID()))
		peer.ExpectData(t, "the data of the Write follows SYN", st.ID(), []byte("hello"))
		peer.ExpectNothing(t, "nothing else is sent", time.Hour)
	})
}

// A SYN is sent after a millisecond, or at the first Read or Write.
func TestSYNIsSentWithinAMillisecondOrAtARead(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(*stream.Stream)
		at   time.Duration
	}{
		{"nothing", func(*stream.Stream) {}, time.Millisecond},
		{"a Read", func(st *stream.Stream) { st.Read(make([]byte, 1)) }, 0},
		{"WriteTo", func(st *stream.Stream) { st.WriteTo(io.Discard) }, 0},
		{"a Read with a deadline", func(st *stream.Stream) {
			st.SetReadDeadline(time.Now().Add(time.Microsecond))
			st.Read(make([]byte, 1))
		}, 0},
		{"a Read a little later", func(st *stream.Stream) {
			time.Sleep(300 * time.Microsecond)
			st.Read(make([]byte, 1))
		}, 300 * time.Microsecond},
		{"a large Write", func(st *stream.Stream) { st.Write(make([]byte, 100_000)) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				ca, cb := tr.Pair(t)
				s := client(t, ca, &session.Config{Version: version, KeepAlive: off})
				peer := testutil.NewPeer(t, cb)
				peer.EchoSignals(true)
				peer.ExpectFrame(t, "a client begins with a NOP", testutil.NOP(wire.Version(version)))
				synctest.Wait()
				elapsed := testutil.Clock()
				st := open(t, s)
				var then sync.WaitGroup
				defer then.Wait()
				defer st.Close()
				then.Go(func() { c.then(st) })
				peer.ExpectFrame(t, "SYN is sent", testutil.SYN(wire.Version(version), st.ID()))
				testutil.WantTime(t, "SYN came", elapsed(), c.at)
			})
		})
	}
}

// The SYNs of streams that are opened one after the other share one write to the transport, after a millisecond. The 65th
// has all of them sent at once.
func TestSYNsOfManyStreamsShareOneWrite(t *testing.T) {
	for _, tt := range []struct {
		streams int
		at      time.Duration
	}{{64, time.Millisecond}, {65, 0}} {
		eachVersion(t, func(t *testing.T, version int) {
			ca, cb := testutil.SimPair(t, simnet.Link{})
			c := client(t, ca, &session.Config{Version: version, KeepAlive: off})
			peer := testutil.NewPeer(t, cb)
			peer.EchoSignals(true)
			peer.ExpectFrame(t, "a client begins with a NOP", testutil.NOP(wire.Version(version)))
			for range 2 { // the count begins anew
				time.Sleep(time.Second)
				elapsed, writes := testutil.Clock(), ca.Out().Counters().Writes
				for range tt.streams {
					open(t, c)
				}
				for syns := 0; syns < tt.streams; { // in version 2, some have a window update behind them
					if f := peer.Next(t, "a SYN is sent"); f.Command == wire.SYN {
						syns++
					}
				}
				testutil.WantTime(t, fmt.Sprintf("%d SYNs came", tt.streams), elapsed(), tt.at)
				if n := ca.Out().Counters().Writes - writes; n != 1 {
					t.Errorf("%d SYNs took %d writes", tt.streams, n)
				}
			}
		})
	}
}

// A session that was quiet sends a Write at once: it does not wait for more data.
func TestWriteAfterAReadIsSentAtOnce(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		a, b := openPair(t, c, s)
		elapsed := testutil.Clock()
		buf := make([]byte, 64)
		for i := range 100 {
			for _, dir := range [][2]*stream.Stream{{a, b}, {b, a}} {
				if _, err := fmt.Fprintf(dir[0], "message %3d", i); err != nil {
					t.Fatal(err)
				}
				if n, err := dir[1].Read(buf); err != nil || string(buf[:n]) != fmt.Sprintf("message %3d", i) {
					t.Fatalf("Read = %q, %v", buf[:n], err)
				}
			}
		}
		testutil.WantTime(t, "200 messages arrived", elapsed(), 0)
	})
}

// expectPattern reads PSH frames of stream id, and no others, until they have brought the bytes of a Pattern from
// offset from to offset to.
func expectPattern(t testing.TB, claim string, peer *testutil.Peer, id uint32, pattern testutil.Pattern, from, to int) {
	t.Helper()
	for from < to {
		f := peer.Next(t, claim)
		if f.Command != wire.PSH || f.StreamID != id || from+len(f.Data) > to {
			t.Fatalf("%s: got %v, want data of stream %d, at most %d bytes", claim, f, id, to-from)
		}
		if err := pattern.Check(f.Data, int64(from)); err != nil {
			t.Fatalf("%s: %v", claim, err)
		}
		from += len(f.Data)
	}
}
