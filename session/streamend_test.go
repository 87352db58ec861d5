package session_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// How a stream ends: each direction by its FIN.

// A new stream is not acknowledged, and carries data in both directions at once.
func TestStreamIsNotAcknowledgedAndCarriesDataAtOnce(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		p.ExpectNothing(t, "SYN is not acknowledged", time.Second)
		if _, err := st.Write([]byte("before any data of yours")); err != nil {
			t.Error(err)
		}
		p.ExpectData(t, "the accepting side may write first", id, []byte("before any data of yours"))
		mine := open(t, s)
		if _, err := mine.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		p.ExpectFrame(t, "SYN is sent", r.syn(mine.ID()))
		p.ExpectData(t, "the data follows SYN", mine.ID(), []byte("hello"))
		p.Send(t, r.psh(mine.ID(), []byte("at once")))
		buf := make([]byte, 7)
		if _, err := io.ReadFull(mine, buf); err != nil || string(buf) != "at once" {
			t.Errorf("read %q, %v", buf, err)
		}
	})
}

// FIN closes one direction: writing goes on.
func TestFINClosesOneDirection(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id), r.fin(id))
		st := accept(t, s)
		wantEOF(t, st)
		data := testutil.Pattern(1).Bytes(9_000)
		for range 2 { // one FIN does not say whether the peer still reads: writing goes on
			if _, err := st.Write(data); err != nil {
				t.Error(err)
			}
			p.ExpectData(t, "writing goes on after the peer's FIN", id, data)
		}
		if err := st.CloseWrite(); err != nil {
			t.Error(err)
		}
		p.ExpectFrame(t, "CloseWrite sends FIN", r.fin(id))
	})
}

// A second FIN says that the peer has closed both directions: Write fails, and data can still be read.
func TestSecondFINClosesBothDirections(t *testing.T) {
	for _, c := range []struct {
		name string
		// with is called between the two FINs.
		with func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer)
	}{
		{"when nothing was written", func(*testing.T, role, *stream.Stream, *testutil.Peer) {}},
		{"as the answer to data", func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
			_, _ = st.Write([]byte("data"))
			p.ExpectData(t, "the data is sent", st.ID(), []byte("data"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				p.Ignore(wire.NOP, wire.UPD)
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("last words")), r.fin(id))
				st := accept(t, s)
				c.with(t, r, st, p)
				p.Send(t, r.fin(id))
				synctest.Wait()
				for range 2 {
					if n, err := st.Write([]byte("x")); n != 0 || !errors.Is(err, stream.ErrPeerClosed) {
						t.Errorf("Write = %d, %v", n, err)
					}
				}
				if got, err := io.ReadAll(st); string(got) != "last words" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				_ = st.Close()
				p.ExpectFrame(t, "Close answers with one FIN", r.fin(id))
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
			})
		})
	}
}

// A second FIN ends a Write that waits.
func TestSecondFINEndsABlockedWrite(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 1000, ReadBuffer: 1000}, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id), r.fin(id))
		st := accept(t, s)
		wrote := testutil.Background(func() (int, error) { return st.Write(make([]byte, 1<<20)) })
		synctest.Wait()
		elapsed := testutil.Clock()
		p.Send(t, r.fin(id))
		res := <-wrote
		testutil.WantErr(t, "Write", res.Err, stream.ErrPeerClosed)
		testutil.WantTime(t, "Write returned", elapsed(), 0)
		if res.Value == 0 || res.Value > 300_000 {
			t.Errorf("Write = %d", res.Value)
		}
	})
}

// closePeerFirst makes the peer send FIN, and then closes the stream.
func closePeerFirst(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
	p.Send(t, r.fin(st.ID()))
	_ = st.Close()
}

// closeThisSideFirst closes the stream, and makes the peer answer the FIN.
func closeThisSideFirst(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
	_ = st.Close()
	p.ExpectFrame(t, "Close sends FIN", r.fin(st.ID()))
	p.Send(t, r.fin(st.ID()))
}

// closeForWritingAndReadEOF ends each direction by its own side, and reads to the end.
func closeForWritingAndReadEOF(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
	_ = st.CloseWrite()
	p.Send(t, r.fin(st.ID()))
	wantEOF(t, st)
}

// closeWithUnreadData closes the stream with unread data before the peer's FIN.
func closeWithUnreadData(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
	p.Send(t, r.psh(st.ID(), make([]byte, 50_000)), r.fin(st.ID()))
	synctest.Wait()
	_ = st.Close()
}

// closeForReadingAndWriting closes both directions one by one, and makes the peer send FIN.
func closeForReadingAndWriting(t *testing.T, r role, st *stream.Stream, p *testutil.Peer) {
	_ = st.CloseRead()
	_ = st.CloseWrite()
	p.Send(t, r.fin(st.ID()))
}

// A session forgets a stream when both directions have ended.
func TestStreamIsForgottenWhenBothDirectionsEnded(t *testing.T) {
	for _, c := range []struct {
		name    string
		closing func(t *testing.T, r role, st *stream.Stream, p *testutil.Peer)
	}{
		{"the peer's FIN, then Close", closePeerFirst},
		{"Close, then the peer's FIN", closeThisSideFirst},
		{"CloseWrite, the peer's FIN, and io.EOF", closeForWritingAndReadEOF},
		{"the peer's FIN, unread data, and Close", closeWithUnreadData},
		{"CloseRead, CloseWrite and the peer's FIN", closeForReadingAndWriting},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				p.Ignore(wire.NOP, wire.UPD)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				if n := s.NumStreams(); n != 1 {
					t.Errorf("%d streams are open, want 1", n)
				}
				c.closing(t, r, st, p)
				time.Sleep(10 * time.Millisecond) // a FIN that nobody waits for may be delayed by a millisecond
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
				if n := s.Stats().Unread; n != 0 {
					t.Errorf("%d bytes are kept", n)
				}
			})
		})
	}
}
