//go:build !386 && !portable

package session_test

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A goroutine that sends reads what has arrived if the reader goroutine does not get to run.

// starve calls session.Starve. The reader goroutine runs again after feed, or at the end of the test.
func starve(t *testing.T, s *session.Session) (look, called func() bool, feed func()) {
	look, called, feed = session.Starve(s)
	feed = sync.OnceFunc(feed)
	t.Cleanup(feed)
	return look, called, feed
}

// until calls look until wanted reports true.
func until(t *testing.T, look, wanted func() bool) {
	t.Helper()
	for start := time.Now(); !wanted(); runtime.Gosched() {
		if look(); time.Since(start) > time.Minute {
			t.Fatal("look does not lead to it within a minute")
		}
	}
}

// A sender reads what has arrived if the reader goroutine does not run.
func TestInlineReadTakesWhatArrived(t *testing.T) {
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		c, p := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, c, p, version)
		v := wire.Version(version)
		for _, size := range []int{1, 100, 9000, 32760, wire.MaxPayload} {
			for range 3 {
				look, _, feed := starve(t, c)
				want := testutil.Pattern(size).Bytes(size)
				got := testutil.Background(func() ([]byte, error) {
					b := make([]byte, size)
					_, err := io.ReadFull(st, b)
					return b, err
				})
				go p.Send(t, testutil.PSH(v, st.ID(), want))
				until(t, look, func() bool { return len(got) > 0 })
				if r := <-got; r.Err != nil || string(r.Value) != string(want) {
					t.Errorf("%d bytes: read others, error %v", size, r.Err)
				}
				feed()
			}
		}
		go p.Send(t, testutil.PSH(v, st.ID(), []byte("after that")))
		b := make([]byte, 10)
		if _, err := io.ReadFull(st, b); err != nil || string(b) != "after that" {
			t.Errorf("Read = %q, %v", b, err)
		}
	})
}

// A sender that reads inline leaves the end of the transport to the reader goroutine.
func TestInlineReadLeavesTheEndToTheReader(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, p *testutil.Peer, id uint32)
		only string // this transport
		want error
	}{
		{name: "closed", do: func(t *testing.T, p *testutil.Peer, _ uint32) { p.Close() }, want: io.EOF},
		{name: "closed in a frame", do: func(t *testing.T, p *testutil.Peer, id uint32) {
			p.SendBytes(t, []byte{1, 2, 3})
			p.Close()
		}, want: io.ErrUnexpectedEOF},
		{name: "reset", do: func(t *testing.T, p *testutil.Peer, _ uint32) {
			p.Conn.(interface{ SetLinger(int) error }).SetLinger(0)
			p.Close()
		}, only: "tcp", want: syscall.ECONNRESET},
		{name: "no protocol", do: func(t *testing.T, p *testutil.Peer, _ uint32) {
			p.SendBytes(t, []byte("GET / HTTP/1.1\r\n"))
		}, want: wire.ErrVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
				if tt.only != "" && tt.only != tr.Name {
					return
				}
				c, p := scripted(t, tr, &session.Config{Version: version})
				st := openWide(t, c, p, version)
				look, called, feed := starve(t, c)
				tt.do(t, p, st.ID())
				until(t, look, called)
				look() // has nothing more to find
				feed()
				<-c.Done()
				if err := c.Err(); !errors.Is(err, tt.want) {
					t.Errorf("Err = %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// A sender that reads inline leaves data that finds no room to the reader goroutine.
func TestInlineReadLeavesDataWithoutRoomToTheReader(t *testing.T) {
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		if version == 2 {
			return // there windows make room
		}
		const budget, size = 300_000, 2_000_000
		c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: budget})
		a, b := openPair(t, c, s)
		look, called, feed := starve(t, s)
		other := open(t, c)
		sent := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(1).Send(a, size/2, 50_000)
			a.Close()
			return n, err
		})
		sentToo := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(2).Send(other, size/2, 50_000)
			other.Close()
			return n, err
		})
		until(t, look, called)
		feed()
		accepted := accept(t, s)
		if unread := s.Stats().Unread; unread > budget+wire.MaxPayload {
			t.Errorf("%d bytes are unread", unread)
		}
		read := testutil.Background(func() (int, error) { return 0, testutil.Pattern(1).Receive(b, size/2) })
		testutil.WantErr(t, "reading the other", testutil.Pattern(2).Receive(accepted, size/2), nil)
		testutil.WantErr(t, "reading", (<-read).Err, nil)
		testutil.WantErr(t, "Write", (<-sent).Err, nil)
		testutil.WantErr(t, "Write to the other", (<-sentToo).Err, nil)
	})
}

// Streams pass nettest when every batch reads inline, often while the reader goroutine is about to read.
func TestInlineReadAtEveryBatchPassesNettest(t *testing.T) {
	defer session.ReadInlineAfter(-time.Hour)()
	passNettest(t, sockets)
}
