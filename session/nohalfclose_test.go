package session_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// With NoHalfClose, a Write that waits for a full transport, or in version 2 for the window, fails as soon as the peer's
// FIN arrives. What the peer sent before can be read. CloseWrite is not supported.
func TestNoHalfClosePeersFINEndsWrites(t *testing.T) {
	for _, wide := range []bool{true, false} {
		t.Run(map[bool]string{true: "the transport is full", false: "the window is full"}[wide], func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				v := wire.Version(version)
				s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off, NoHalfClose: true})
				st := openWide(t, s, peer, version)
				if !wide && version == 2 {
					peer.Send(t, testutil.UPD(v, st.ID(), 0, 0))
				}
				writing := testutil.Background(func() (int, error) { return st.Write(make([]byte, 1<<20)) })
				time.Sleep(time.Second)
				wantPending(t, "Write", writing)
				testutil.WantErr(t, "CloseWrite", st.CloseWrite(), errors.ErrUnsupported)
				time.Sleep(time.Hour)
				wantPending(t, "Write", writing)
				peer.Send(t, testutil.PSH(v, st.ID(), []byte("the end")), testutil.FIN(v, st.ID()))
				synctest.Wait()
				<-st.Done()
				// A Write whose buffer the transport is writing waits for that.
				go io.Copy(io.Discard, peer.Conn)
				testutil.WantErr(t, "Write", wait(t, "Write", writing, time.Hour+time.Second), stream.ErrPeerClosed)
				_, err := st.Write([]byte("x"))
				testutil.WantErr(t, "a later Write", err, stream.ErrPeerClosed)
				if got, err := io.ReadAll(st); string(got) != "the end" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				st.Close()
				synctest.Wait()
				time.Sleep(time.Second)
				if n := s.NumStreams(); n != 0 {
					t.Errorf("%d streams are open", n)
				}
			})
		})
	}
}

// Without NoHalfClose, one FIN says nothing of the other direction. In version 1 Writes go on. In version 2 they end when
// the window has been full for LingerTimeout without an update.
func TestWriteAfterOneFINEndsByLingerInVersion2Alone(t *testing.T) {
	const linger = 10 * time.Second
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		v := wire.Version(version)
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off, LingerTimeout: linger})
		st := open(t, s)
		peer.ExpectFrame(t, "OpenStream sends SYN", testutil.SYN(v, st.ID()))
		peer.Send(t, testutil.FIN(v, st.ID()))
		go io.Copy(io.Discard, peer.Conn)
		writing := testutil.Background(func() (n int64, err error) {
			for range 1000 {
				k, err := st.Write(make([]byte, 1000))
				if n += int64(k); err != nil {
					return n, err
				}
			}
			return n, nil
		})
		time.Sleep(time.Hour)
		r := <-writing
		if version == 1 {
			testutil.WantErr(t, "Write", r.Err, nil)
			return
		}
		testutil.WantErr(t, "Write", r.Err, stream.ErrPeerClosed)
		testutil.WantTime(t, "Write returned", r.After, linger)
		<-st.Done()
		if n := s.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		testutil.WantErr(t, "Close", st.Close(), stream.ErrPeerClosed)
	})
}

// A session of this package that has half-closed a stream may take any time to read it: its peer's Write goes on waiting
// for longer than LingerTimeout.
func TestHalfClosedReaderIsNotGivenUp(t *testing.T) {
	const size = 1 << 20
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off, LingerTimeout: time.Second})
		a, b := openPair(t, c, s)
		a.CloseWrite()
		if _, err := io.ReadAll(b); err != nil {
			t.Fatal(err)
		}
		sent := testutil.Background(func() (int64, error) { return testutil.Pattern(1).Send(b, size, 50_000) })
		time.Sleep(24 * time.Hour)
		go func() {
			<-sent
			b.Close()
		}()
		testutil.WantErr(t, "reading", testutil.Pattern(1).Receive(a, size), nil)
	})
}
