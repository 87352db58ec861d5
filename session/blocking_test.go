package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A place is where a call blocks: a session whose transport is full, and a stream with nothing to read. It has
// what ends the call.
type place struct {
	s      *session.Session
	st     *stream.Stream
	conn   *simnet.Conn // the session's end of the transport
	peer   *testutil.Peer
	remote *simnet.Conn // the peer's end
	v      wire.Version
	cancel context.CancelFunc
}

// An ending is an event that ends a blocked call, with the error of the call and the time until it returns.
type ending struct {
	name string
	end  func(t *testing.T, p place)
	err  map[string]error // by the kind of call
	at   time.Duration
}

// The kinds of calls.
const (
	reads     = "reads"     // Read, WriteTo
	writes    = "writes"    // Write, ReadFrom
	contexts  = "contexts"  // AcceptStream, OpenStream
	shutdowns = "shutdowns" // Shutdown
)

// sessionEnds returns the errors of calls when the session ends. Shutdown waits for that, so it succeeds.
func sessionEnds(err error) map[string]error {
	return map[string]error{reads: err, writes: err, contexts: err, shutdowns: nil}
}

var blockingCalls = []struct {
	name, kind string
	call       func(ctx context.Context, p place) error
}{
	{"Read", reads, func(_ context.Context, p place) error { _, err := p.st.Read(make([]byte, 100)); return err }},
	{"WriteTo", reads, func(_ context.Context, p place) error { _, err := p.st.WriteTo(io.Discard); return err }},
	{"io.Copy from it", reads, func(_ context.Context, p place) error { _, err := io.Copy(io.Discard, p.st); return err }},
	{"many small Writes", writes, func(_ context.Context, p place) error {
		for {
			if _, err := p.st.Write(make([]byte, 100)); err != nil {
				return err
			}
		}
	}},
	{"Write", writes, func(_ context.Context, p place) error { _, err := p.st.Write(make([]byte, 1<<20)); return err }},
	{"ReadFrom", writes, func(_ context.Context, p place) error {
		_, err := p.st.ReadFrom(testutil.Pattern(1).Reader(1 << 20))
		return err
	}},
	{"AcceptStream", contexts, func(ctx context.Context, p place) error { _, err := p.s.AcceptStream(ctx); return err }},
	{"OpenStream", contexts, func(ctx context.Context, p place) error {
		for {
			if _, err := p.s.OpenStream(ctx); err != nil {
				return err
			}
		}
	}},
	{"Shutdown", shutdowns, func(ctx context.Context, p place) error { return p.s.Shutdown(ctx) }},
}

// Every blocking call ends at every event that should end it.
func TestBlockingCallEnds(t *testing.T) {
	vanish := keepalive.Periodic{Interval: time.Second, Timeout: 5 * time.Second}
	ignored := errors.New("not ended by this")
	only := func(kind string, err error) map[string]error {
		m := sessionEnds(ignored)
		m[shutdowns] = ignored
		m[kind] = err
		return m
	}
	endings := []ending{
		{"at its deadline", func(t *testing.T, p place) {
			p.st.SetDeadline(time.Now().Add(time.Second))
			time.AfterFunc(time.Second, p.cancel)
		}, map[string]error{reads: os.ErrDeadlineExceeded, writes: os.ErrDeadlineExceeded, contexts: context.Canceled, shutdowns: context.Canceled}, time.Second},
		{"at the stream's Close", func(t *testing.T, p place) { p.st.Close() },
			map[string]error{reads: net.ErrClosed, writes: net.ErrClosed, contexts: ignored, shutdowns: ignored}, 0},
		{"at CloseRead", func(t *testing.T, p place) { p.st.CloseRead() }, only(reads, net.ErrClosed), 0},
		{"at CloseWrite", func(t *testing.T, p place) { p.st.CloseWrite() }, only(writes, net.ErrClosed), 0},
		{"at the peer's half-close", func(t *testing.T, p place) { p.peer.Send(t, testutil.FIN(p.v, p.st.ID())) }, only(reads, io.EOF), 0},
		{"when the transport breaks", func(t *testing.T, p place) { p.remote.Break(errCut) }, sessionEnds(errCut), 0},
		{"when the peer breaks the protocol", func(t *testing.T, p place) { p.peer.SendBytes(t, []byte("GET / HTTP/1.1\r\n")) }, sessionEnds(wire.ErrVersion), 0},
		{"when the peer has vanished", func(t *testing.T, p place) {}, sessionEnds(session.ErrKeepAlive), 5 * time.Second},
		{"at the session's Close", func(t *testing.T, p place) { go p.s.Close() },
			map[string]error{reads: net.ErrClosed, writes: net.ErrClosed, contexts: net.ErrClosed, shutdowns: ignored}, 0},
		{"at the session's Close, which flushes", func(t *testing.T, p place) {
			go p.s.Close()
			synctest.Wait()
			p.conn.Out().Unstall()
			go func() {
				_, _ = io.Copy(io.Discard, p.remote)
				p.remote.Close()
			}()
		},
			map[string]error{reads: net.ErrClosed, writes: net.ErrClosed, contexts: net.ErrClosed, shutdowns: nil}, 0},
	}
	for _, call := range blockingCalls {
		for _, e := range endings {
			want := e.err[call.kind]
			if want == ignored {
				continue
			}
			t.Run(call.name+"/"+e.name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					cfg := &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Hour}
					if e.name == "when the peer has vanished" {
						cfg.KeepAlive = vanish
					}
					conn, remote := testutil.SimPair(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize})
					s := client(t, conn, cfg)
					peer := testutil.NewPeer(t, remote)
					peer.Ignore(wire.NOP)
					st := openWide(t, s, peer, version)
					synctest.Wait()
					conn.Out().Stall()
					start := testutil.Clock()
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					p := place{s, st, conn, peer, remote, wire.Version(version), cancel}
					// Each call is made twice.
					var blocked []<-chan testutil.Result[struct{}]
					for range 2 {
						blocked = append(blocked, testutil.BackgroundErr(func() error { return call.call(ctx, p) }))
					}
					synctest.Wait()
					e.end(t, p)
					for _, b := range blocked {
						r := <-b
						if want == io.EOF && call.name != "Read" {
							want = nil // io.Copy returns nil at io.EOF
						}
						testutil.WantErr(t, call.name, r.Err, want)
						// Keep-alive counts from the last frame that was received: an UPD, or none.
						if d := start() - e.at; cfg.KeepAlive == off && d != 0 || d.Abs() > 2*time.Millisecond {
							t.Errorf("%s returned after %v, want %v", call.name, start(), e.at)
						}
					}
				})
			})
		}
	}
}

// Each call that blocks returns when the thing it waits for arrives.
func TestBlockingCallReturnsWithWhatItWaitsFor(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		a, b := openPair(t, c, s)
		read := testutil.Background(func() (string, error) {
			buf := make([]byte, 100)
			n, err := a.Read(buf)
			return string(buf[:n]), err
		})
		write := testutil.Background(func() (int, error) { return a.Write(make([]byte, 3<<20)) })
		accept := testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(context.Background()) })
		down := shutdown(c, context.Background())
		time.Sleep(time.Minute)
		wantPending(t, "Read", read)
		wantPending(t, "AcceptStream", accept)
		wantPending(t, "Shutdown", down)
		if version == 2 {
			wantPending(t, "Write", write)
		}

		if _, err := b.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if r := <-read; r.Value != "hello" || r.Err != nil {
			t.Errorf("Read = %q, %v", r.Value, r.Err)
		}
		if n, err := io.ReadFull(b, make([]byte, 3<<20)); err != nil {
			t.Errorf("%d bytes arrived: %v", n, err)
		}
		if r := <-write; r.Value != 3<<20 || r.Err != nil {
			t.Errorf("Write = %v, %v", r.Value, r.Err)
		}
		if _, err := c.OpenStream(context.Background()); !errors.Is(err, session.ErrShutdown) {
			t.Errorf("OpenStream: %v", err)
		}
		a.Close()
		if r := <-down; r.Err != nil {
			t.Errorf("Shutdown: %v", r.Err)
		}
		if r := <-accept; r.Err != io.EOF {
			t.Errorf("AcceptStream: %v", r.Err)
		}
	})
}

// When the session ends, all calls that are blocked on it at the same time return.
func TestSessionEndReachesAllBlockedCallsAtOnce(t *testing.T) {
	const streams = 50
	eachVersion(t, func(t *testing.T, version int) {
		conn, remote := testutil.SimPair(t, simnet.Link{Buffer: narrowSize, ReadBuffer: narrowSize})
		s := client(t, conn, &session.Config{Version: version, KeepAlive: off})
		peer := testutil.NewPeer(t, remote)
		peer.Ignore(wire.NOP)
		type call = <-chan testutil.Result[struct{}]
		calls := map[string]call{}
		var list []*stream.Stream
		for range streams {
			list = append(list, open(t, s))
		}
		for i, st := range list {
			p := place{s: s, st: st}
			for _, c := range blockingCalls {
				if c.kind == shutdowns && i > 0 || c.name == "OpenStream" {
					continue
				}
				calls[fmt.Sprintf("%s %d", c.name, i)] = testutil.Background(func() (struct{}, error) {
					return struct{}{}, c.call(context.Background(), p)
				})
			}
		}
		time.Sleep(time.Hour)
		for name, c := range calls {
			wantPending(t, name, c)
		}
		remote.Break(errCut)
		for name, c := range calls {
			r := <-c
			want := errCut
			if name == "Shutdown 0" {
				want = nil
			}
			testutil.WantErr(t, name, r.Err, want)
			testutil.WantTime(t, name+" returned", r.After, time.Hour)
		}
		select {
		case <-s.Done():
		default:
			t.Error("Done is not closed")
		}
		testutil.WantErr(t, "Err", s.Err(), errCut)
	})
}
