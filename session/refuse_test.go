package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Refusals of many streams.

// syns returns the bytes of n SYNs of the peer.
func syns(r role, from, n int) (b []byte) {
	for i := range n {
		b = r.syn(r.theirs(from + i)).Append(b)
	}
	return b
}

// wantRefused checks that the peer gets the refusal of each of n streams, and nothing else except NOPs.
func wantRefused(t *testing.T, r role, p *testutil.Peer, from, n int) {
	t.Helper()
	in := bufio.NewReader(p.Conn)
	for i := 0; i < 4*n; {
		b := make([]byte, wire.HeaderSize)
		if _, err := io.ReadFull(in, b); err != nil {
			t.Fatalf("after %d frames: %v", i, err)
		}
		h, err := wire.ParseHeader(b)
		want := r.psh(r.theirs(from+i/4), nil).Header
		if i%4 >= 2 {
			want = r.fin(r.theirs(from + i/4)).Header
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case h == r.nop().Header:
		case h == want:
			i++
		default:
			t.Fatalf("after %d frames: %v, want %v", i, h, want)
		}
	}
	if in.Buffered() > 0 {
		t.Errorf("%d bytes more", in.Buffered())
	}
}

// Each refused stream is told, however many are opened at once and however late the peer reads.
func TestRefusedStreamsAreAllTold(t *testing.T) {
	for _, n := range []int{8_000, 80_000} {
		for _, late := range []time.Duration{0, 29 * time.Second} {
			t.Run(fmt.Sprintf("%d, read after %v", n, late), func(t *testing.T) {
				eachRole(t, func(t *testing.T, r role) {
					// Keep-alive must not take the pause for silence.
					alive := keepalive.Periodic{Interval: time.Second, Timeout: 5 * time.Second}
					s, p := r.startLink(t, simnet.Link{Buffer: 8 << 10, ReadBuffer: 8 << 10}, session.Config{AcceptBacklog: 1, KeepAlive: alive})
					p.Timeout = time.Minute
					p.Send(t, r.syn(r.theirs(0)))
					synctest.Wait()
					heap := heapInUse()
					opened := make(chan struct{})
					go func() {
						defer close(opened)
						p.SendBytes(t, syns(r, 1, n))
					}()
					time.Sleep(late)
					synctest.Wait()
					if more := heapInUse() - heap; more > n*wire.HeaderSize+2<<20 {
						t.Errorf("%d bytes of memory more", more)
					}
					wantRefused(t, r, p, 1, n)
					<-opened
					if got := s.Stats().StreamsRefused; got != uint64(n) {
						t.Errorf("%d streams were refused, want %d", got, n)
					}
					// The session goes on.
					p.Send(t, r.syn(r.theirs(n+1)))
					p.ExpectRefused(t, "every stream beyond the backlog is refused", r.fin(r.theirs(n+1)))
					accept(t, s)
					wantAlive(t, r, s, p, r.theirs(n+2))
				}, "sim")
			})
		}
	}
}

// A peer that opens streams and never reads ends its session after 30 s in which it took nothing.
func TestPeerThatTakesNoRefusalsEndsItsSession(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name string
		take time.Duration // when it takes a little
		want time.Duration
	}{
		{"never", 0, 30 * time.Second},
		{"once", 20 * time.Second, 50 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.startLink(t, simnet.Link{Buffer: 8 << 10, ReadBuffer: 8 << 10}, session.Config{AcceptBacklog: 1, KeepAlive: off})
				p.Ignore()
				elapsed := testutil.Clock()
				go p.Conn.Write(syns(r, 0, n))
				synctest.Wait()
				if got := s.Stats().StreamsRefused; got < 1024 || got > 8_000 {
					t.Errorf("%d streams were refused", got)
				}
				if c.take > 0 {
					time.Sleep(c.take)
					for range 10_000 { // more than a batch
						p.Next(t, "refusals are sent")
					}
				}
				<-s.Done()
				testutil.WantTime(t, "the end", elapsed(), c.want)
				err := s.Err()
				testutil.WantErr(t, "Err", err, session.ErrAnswerTimeout)
				if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("%v is no time-out", err)
				}
				testutil.WantErr(t, "Read", second(accept(t, s).Read(make([]byte, 1))), session.ErrAnswerTimeout)
			}, "sim")
		})
	}
}

// A reader that has found the queue of refusals full goes on if the writer has sent them before it begins to wait.
func TestReaderNeedsNoRoomInAnEmptyQueue(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, _ := r.start(t, session.Config{})
		select {
		case <-s.RoomForAnswers():
		default:
			t.Error("the reader would wait for ever")
		}
	})
}

// Two sessions that refuse each other's streams do not stop each other for ever. Mostly both soon wait for the other
// to read, and end after 30 s. Rarely all streams get through.
func TestSessionsThatFloodEachOtherEnd(t *testing.T) {
	const n = 50_000
	eachVersion(t, func(t *testing.T, version int) {
		ca, cb := testutil.SimPair(t, simnet.Link{Buffer: 1 << 10, ReadBuffer: 1 << 10})
		cfg := &session.Config{Version: version, AcceptBacklog: 1}
		elapsed := testutil.Clock()
		ends := []*session.Session{client(t, ca, cfg), server(t, cb, cfg)}
		var opening sync.WaitGroup
		for _, s := range ends {
			opening.Go(func() {
				for range n {
					st, err := s.OpenStream(t.Context())
					if err != nil {
						break
					}
					st.Close()
				}
				select {
				case <-s.Done():
				case <-time.After(time.Minute):
				}
			})
		}
		opening.Wait()
		if ends[0].Err() == nil && ends[1].Err() == nil {
			for _, s := range ends {
				if got := s.Stats(); got.StreamsAccepted+got.StreamsRefused != n {
					t.Errorf("%d streams arrived, want %d, or the end of the session", got.StreamsAccepted+got.StreamsRefused, n)
				}
			}
			return
		}
		if a, b := ends[0].Err(), ends[1].Err(); !errors.Is(a, session.ErrAnswerTimeout) && !errors.Is(b, session.ErrAnswerTimeout) {
			t.Errorf("they ended with %v and %v", a, b)
		}
		if d := elapsed(); d < 30*time.Second || d > 31*time.Second {
			t.Errorf("they ended after %v", d)
		}
	})
}
