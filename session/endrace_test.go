package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Streams that end while their session ends, some of which wait to be accepted, are counted once, and traced once.
func TestStreamsEndOnceWhileTheSessionEnds(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				endAtRandom(t, version, rand.New(rand.NewPCG(seed, uint64(version))))
			})
		})
	}
}

func endAtRandom(t *testing.T, version int, rnd *rand.Rand) {
	var mu sync.Mutex
	begun, ended := make(map[string]int), make(map[string]int)
	note := func(m map[string]int) func(s *session.Session, id uint32) {
		return func(s *session.Session, id uint32) {
			mu.Lock()
			defer mu.Unlock()
			m[fmt.Sprintf("%p %d", s, id)]++
		}
	}
	begins, ends := note(begun), note(ended)
	trace := &session.Trace{
		StreamOpened:   func(s *session.Session, st *stream.Stream) { begins(s, st.ID()) },
		StreamAccepted: func(s *session.Session, st *stream.Stream) { begins(s, st.ID()) },
		StreamClosed:   func(s *session.Session, e session.StreamEnd) { ends(s, e.Stream.ID()) },
	}
	config := func() *session.Config {
		return &session.Config{Version: version, KeepAlive: off, Trace: trace, CloseTimeout: time.Second}
	}
	a, b := testutil.SimPair(t, simnet.Link{Delay: 10 * time.Microsecond})
	c, s := client(t, a, config()), server(t, b, config())
	var running sync.WaitGroup
	late := make(chan stream.Notifier, 1000)
	use := func(st *stream.Stream) {
		late <- stream.NotifierOf(st)
		_, _ = st.Write(make([]byte, 100))
		_ = st.Close()
	}
	for _, x := range []*session.Session{c, s} {
		for range 40 {
			pause := time.Duration(rnd.IntN(60)) * time.Microsecond
			running.Go(func() {
				if st, err := x.OpenStream(context.Background()); err == nil {
					time.Sleep(pause)
					use(st)
				}
			})
		}
		running.Go(func() {
			for range 20 { // the others wait in the backlog
				st, err := x.AcceptStream(context.Background())
				if err != nil {
					return
				}
				running.Go(func() { use(st) })
			}
		})
	}
	end := rnd.IntN(4)
	time.Sleep(time.Duration(rnd.IntN(80)) * time.Microsecond)
	switch end {
	case 0:
		_ = c.CloseNow()
	case 1:
		_ = c.Close()
	case 2:
		_ = a.Close()
	case 3:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
		_ = c.Shutdown(ctx)
		cancel()
		_ = c.CloseNow()
	}
	_ = s.CloseNow()
	running.Wait()
	synctest.Wait()
	closed := [...]session.ClosedStreams{c.Stats().StreamsClosed, s.Stats().StreamsClosed}
	close(late)
	for n := range late {
		n.Finished() // a stream that has ended before its session may say so when the session has removed it
	}
	synctest.Wait()
	if now := [...]session.ClosedStreams{c.Stats().StreamsClosed, s.Stats().StreamsClosed}; now != closed {
		t.Errorf("streams are counted once more: %+v, then %+v", closed, now)
	}
	for _, x := range []*session.Session{c, s} {
		if st := x.Stats(); st.StreamsOpen != 0 || st.StreamsOpened+st.StreamsAccepted != st.StreamsClosed.Total() {
			t.Errorf("%d opened and %d accepted, but %d open and %d closed", st.StreamsOpened, st.StreamsAccepted, st.StreamsOpen, st.StreamsClosed.Total())
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for id, n := range begun {
		if n != 1 || ended[id] != 1 {
			t.Errorf("stream %s has begun %d times, and ended %d times", id, n, ended[id])
		}
	}
	for id, n := range ended {
		if n != 1 {
			t.Errorf("stream %s has ended %d times", id, n)
		}
	}
}
