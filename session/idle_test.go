package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// idlePair returns two sessions over a simulated link. The client has cfg.
func idlePair(t *testing.T, version int, cfg session.Config) (c, s *session.Session) {
	cfg.Version = version
	return sessionsOver(t, simnet.Link{Delay: time.Millisecond}, &cfg, &session.Config{Version: version})
}

// Config.StreamIdleTimeout closes streams that are idle, and no others. Their calls fail with a time-out. Half a round
// trip later the peer reads io.EOF, its Writes fail, and its Done is closed.
func TestStreamIdleTimeoutClosesIdleStreamsAlone(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := idlePair(t, version, session.Config{StreamIdleTimeout: time.Minute})
		idle, peers := openPair(t, c, s)
		busy, busyPeers := openPair(t, c, s)
		unread, unreadPeers := openPair(t, c, s)
		if _, err := unreadPeers.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		elapsed := testutil.Clock()
		reading := testutil.Background(func() (int, error) { return idle.Read(make([]byte, 1)) })
		peerReading := testutil.BackgroundErr(func() error { return second(peers.Read(make([]byte, 1))) })
		peerDone := testutil.BackgroundErr(func() error { <-peers.Done(); return nil })
		for range 12 {
			time.Sleep(10 * time.Second)
			sendMessage(t, busyPeers, busy, 1)
		}
		r := <-reading
		testutil.WantErr(t, "the blocked Read", r.Err, stream.ErrIdleTimeout)
		if r.After < time.Minute || r.After > 75*time.Second {
			t.Errorf("Read failed after %v", r.After)
		}
		testutil.WantErr(t, "Write", second(idle.Write([]byte("x"))), stream.ErrIdleTimeout)
		peerRead := <-peerReading
		testutil.WantErr(t, "the peer's Read", peerRead.Err, io.EOF)
		wantSoon(t, "the peer's Read", peerRead.After-r.After, time.Millisecond)
		wantSoon(t, "the peer's Done", (<-peerDone).After-r.After, time.Millisecond)
		wantEOF(t, peers)
		testutil.WantErr(t, "the peer's Write", second(peers.Write([]byte("x"))), stream.ErrPeerClosed)
		if got, err := unread.Read(make([]byte, 10)); got != 6 || err != nil {
			t.Errorf("the stream with unread data: Read = %d, %v after %v", got, err, elapsed())
		}
		sendMessage(t, busy, busyPeers, 1)
		if n := c.NumStreams(); n != 2 {
			t.Errorf("%d streams are open", n)
		}
	})
}

// A stream that waits to be accepted is closed, too.
func TestStreamIdleTimeoutClosesAStreamThatWaits(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := idlePair(t, version, session.Config{StreamIdleTimeout: time.Minute})
		theirs := open(t, s)
		time.Sleep(2 * time.Minute)
		wantEOF(t, theirs)
		st := accept(t, c)
		testutil.WantErr(t, "Read", second(st.Read(make([]byte, 1))), stream.ErrIdleTimeout)
	})
}

// SetIdleTimeout works without Config.StreamIdleTimeout, also with a shorter time than the one before.
func TestSetIdleTimeoutNeedsNoConfig(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := idlePair(t, version, session.Config{})
		long, _ := openPair(t, c, s)
		short, _ := openPair(t, c, s)
		never, _ := openPair(t, c, s)
		for st, d := range map[*stream.Stream]time.Duration{long: time.Hour, short: time.Second} {
			if err := st.SetIdleTimeout(d); err != nil {
				t.Fatal(err)
			}
		}
		elapsed := testutil.Clock()
		<-short.Done()
		if d := elapsed(); d < time.Second || d > 1250*time.Millisecond {
			t.Errorf("the short one was closed after %v", d)
		}
		<-long.Done()
		if d := elapsed(); d < time.Hour || d > 75*time.Minute {
			t.Errorf("the long one was closed after %v", d)
		}
		time.Sleep(10 * time.Hour)
		if err := never.SetIdleTimeout(0); err != nil {
			t.Errorf("the third one is closed: %v", err)
		}
		c.Close()
		testutil.WantErr(t, "SetIdleTimeout after the session's end", never.SetIdleTimeout(time.Second), nil)
	})
}

// A session without open streams ends after Config.IdleTimeout, with ErrIdleTimeout. Keep-alive does not prevent it.
func TestIdleTimeoutEndsASessionWithoutStreams(t *testing.T) {
	for _, used := range []bool{false, true} {
		eachVersion(t, func(t *testing.T, version int) {
			c, s := idlePair(t, version, session.Config{IdleTimeout: time.Minute, KeepAlive: keepalive.Periodic{Interval: time.Second}})
			accepting := testutil.Background(s.Accept)
			ours := testutil.Background(c.Accept)
			if used {
				a := open(t, c)
				time.Sleep(time.Hour)
				if err := c.Err(); err != nil {
					t.Fatalf("ended while a stream was open: %v", err)
				}
				b := (<-accepting).Value
				accepting = testutil.Background(s.Accept)
				a.Close()
				b.Close()
			}
			elapsed := testutil.Clock()
			<-c.Done()
			if d := elapsed(); d < time.Minute || d > 76*time.Second {
				t.Errorf("ended after %v", d)
			}
			wantEnded(t, c, session.ErrIdleTimeout)
			testutil.WantErr(t, "our Accept", (<-ours).Err, session.ErrIdleTimeout)
			testutil.WantErr(t, "OpenStream", second(c.OpenStream(context.Background())), session.ErrIdleTimeout)
			testutil.WantErr(t, "the peer's Accept", (<-accepting).Err, io.EOF)
			testutil.WantErr(t, "the peer's OpenStream", second(s.OpenStream(context.Background())), session.ErrPeerShutdown)
			if ne := net.Error(nil); !errors.As(c.Err(), &ne) || !ne.Timeout() {
				t.Errorf("%v is no time-out", c.Err())
			}
		})
	}
}

// A stream that the peer opens while the session begins to end is accepted, and the session stays until it has ended.
func TestIdleTimeoutLosesNoStream(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		cfg := session.Config{Version: version, IdleTimeout: time.Minute, KeepAlive: keepalive.Off{}}
		c, s := sessionsOver(t, simnet.Link{Delay: 100 * time.Millisecond}, &cfg, &session.Config{Version: version, KeepAlive: keepalive.Off{}})
		served := testutil.Background(func() (int, error) {
			n := 0
			for {
				st, err := c.AcceptStream(context.Background())
				if err != nil {
					return n, err
				}
				n++
				io.Copy(st, st)
				st.Close()
			}
		})
		answered, hit := 0, false
		for gap := 59 * time.Second; ; gap += 50 * time.Millisecond {
			time.Sleep(gap)
			st, err := s.OpenStream(context.Background())
			if err != nil {
				testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
				break
			}
			if _, err := st.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			st.CloseWrite()
			if got, err := io.ReadAll(st); string(got) != "hello" || err != nil {
				t.Fatalf("after %d answers: read %q, %v", answered, got, err)
			}
			answered++
			mine, err := c.OpenStream(context.Background())
			if hit = hit || errors.Is(err, session.ErrShutdown); err == nil {
				mine.Close()
				accept(t, s).Close()
			}
			st.Close()
		}
		if !hit {
			t.Error("no stream came while the session began to end")
		}
		r := <-served
		testutil.WantErr(t, "AcceptStream", r.Err, session.ErrIdleTimeout)
		if r.Value != answered || answered == 0 {
			t.Errorf("%d streams were accepted, and %d answered", r.Value, answered)
		}
	})
}

// Close and the end of the session stop the watch, at any time of it.
func TestIdleTimeoutGivesWayToClose(t *testing.T) {
	for _, after := range []time.Duration{0, time.Minute - 1, time.Minute, time.Minute + time.Millisecond} {
		bubble(t, func(t *testing.T) {
			c, s := idlePair(t, 2, session.Config{IdleTimeout: time.Minute, StreamIdleTimeout: time.Minute})
			time.Sleep(after)
			if after == 0 {
				openPair(t, c, s)
			}
			c.Close()
			synctest.Wait()
			if err := c.Err(); err != net.ErrClosed && !errors.Is(err, session.ErrIdleTimeout) {
				t.Errorf("after %v: %v", after, err)
			}
		})
	}
}
