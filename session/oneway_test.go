package session_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// CloseRead and CloseWrite of a stream: the other direction goes on.

// CloseRead discards what has arrived and what arrives later. The peer is not told and goes on.
func TestCloseReadDiscardsDataAndThePeerGoesOn(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		data := testutil.Pattern(6).Bytes(100_000)
		p.Send(t, append([]testutil.Frame{r.syn(id)}, r.pshs(id, data)...)...)
		st := accept(t, s)
		blocked := acceptReading(t, r, s, p)
		synctest.Wait()
		if err := st.CloseRead(); err != nil {
			t.Error(err)
		}
		if _, err := st.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		// In version 2 the peer's window has to move, although nobody reads.
		p.Send(t, r.pshs(id, data)...)
		synctest.Wait()
		if n := s.Stats().Unread; n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
		if _, err := st.Write([]byte("still here")); err != nil {
			t.Error(err)
		}
		p.ExpectData(t, "writing goes on after CloseRead", id, []byte("still here"))
		if err := blocked.CloseRead(); err != nil {
			t.Error(err)
		}
		p.ExpectNothing(t, "the peer is not told of CloseRead", time.Second)
	})
}

// acceptReading accepts the peer's second stream and starts a Read that waits on it.
func acceptReading(t *testing.T, r role, s *session.Session, p *testutil.Peer) *stream.Stream {
	p.Send(t, r.syn(r.theirs(1)))
	st := accept(t, s)
	read := testutil.Background(func() (int, error) { return st.Read(make([]byte, 10)) })
	t.Cleanup(func() {
		if res := <-read; res.Value != 0 || !errors.Is(res.Err, net.ErrClosed) {
			t.Errorf("the blocked Read = %d, %v", res.Value, res.Err)
		}
	})
	return st
}

// After CloseRead a sender of version 2 goes on without end.
func TestCloseReadDoesNotStopASenderOfVersion2(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, s := sessions(t, transport("sim"), session.Config{Version: 2})
		a, b := openPair(t, c, s)
		if err := b.CloseRead(); err != nil {
			t.Fatal(err)
		}
		if n, err := testutil.Pattern(0).Send(a, 5<<20, 50_000); err != nil {
			t.Errorf("%d bytes sent: %v", n, err)
		}
	})
}

// CloseWrite ends writing, and reading goes on.
func TestCloseWriteEndsWritingAndReadingGoesOn(t *testing.T) {
	const size = 100_000
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := a.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			testutil.WantErr(t, "CloseWrite", a.CloseWrite(), nil)
		}
		_, err := a.Write([]byte("more"))
		testutil.WantErr(t, "Write", err, net.ErrClosed)
		_, err = a.ReadFrom(testutil.Pattern(1).Reader(1))
		testutil.WantErr(t, "ReadFrom", err, net.ErrClosed)

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
		testutil.WantErr(t, "Close", a.Close(), nil)
	})
}

// CloseRead ends reading, and writing goes on.
func TestCloseReadEndsReadingAndWritingGoesOn(t *testing.T) {
	// More than a window, and more than the budget.
	const size = 1 << 20
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 512 << 10})
		a, b := openPair(t, c, s)
		blocked := testutil.Background(func() (int, error) { return a.Read(make([]byte, 1)) })
		settle(tr)
		for range 2 {
			testutil.WantErr(t, "CloseRead", a.CloseRead(), nil)
		}
		r := <-blocked
		testutil.WantErr(t, "the blocked Read", r.Err, net.ErrClosed)
		_, err := a.Read(nil)
		testutil.WantErr(t, "Read", err, net.ErrClosed)
		_, err = a.WriteTo(io.Discard)
		testutil.WantErr(t, "WriteTo", err, net.ErrClosed)

		go func() {
			if _, err := testutil.Pattern(1).Send(a, size, 50_000); err != nil {
				t.Error(err)
			}
			a.CloseWrite()
		}()
		// Data of the peer is taken and discarded.
		if _, err := testutil.Pattern(2).Send(b, size, 50_000); err != nil {
			t.Error(err)
		}
		b.CloseWrite()
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
	})
}
