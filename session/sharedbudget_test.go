package session_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A budget that many sessions share.

// The unread bytes of all sessions on a budget stay within it, except for one frame a session, whatever their
// peers send and however little is read.
func TestUnreadBytesOfAllSessionsStayWithinTheBudget(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		const sessions, streams = 6, 8
		budget := flow.NewBudget(4 * testutil.MiB)
		link := path(200*simnet.Mbit, 20*time.Millisecond)
		var all []*session.Session
		var readers []<-chan testutil.Result[int64]
		for i := range sessions {
			c, s := sessionsOver(t, link, &session.Config{Version: version}, &session.Config{Version: version, Budget: budget})
			all = append(all, s)
			outs, ins := openPairs(t, c, s, streams)
			for j, in := range ins {
				go writeUntilEnd(outs[j], 64*testutil.KiB)
				// Most streams are not read. Some are read for a while, at various speeds.
				if pace := (i*streams + j) % 5; pace > 0 && i%2 == 0 {
					readers = append(readers, testutil.Background(func() (n int64, err error) {
						buf := make([]byte, 10_000)
						_ = in.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
						for {
							k, err := in.Read(buf)
							if n += int64(k); err != nil {
								return n, nil
							}
							time.Sleep(time.Duration(pace) * time.Millisecond)
						}
					}))
				}
			}
		}
		most := 0
		for range 1000 {
			time.Sleep(2 * time.Millisecond)
			most = max(most, budget.Used())
		}
		sum := 0
		for _, s := range all {
			sum += s.Stats().Unread
		}
		t.Logf("at most %d KiB of %d KiB were unread, %d in the end", most/testutil.KiB, budget.Size()/testutil.KiB, sum/testutil.KiB)
		if limit := budget.Size() + sessions*session.DefaultMaxFrameSize; most > limit {
			t.Errorf("%d bytes were unread, more than the budget of %d and a frame a session", most, budget.Size())
		}
		if used := budget.Used(); used != sum {
			t.Errorf("the budget has %d bytes in use, its sessions %d", used, sum)
		}
		for _, r := range readers {
			<-r
		}
	})
}

// Sessions whose streams are read keep their speed beside a session on the same budget that nobody reads and whose
// peer sends all it may.
func TestSessionsThatReadAreNotStarvedByOneThatDoesNot(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for _, rtt := range []time.Duration{time.Millisecond, 100 * time.Millisecond} {
			t.Run(fmt.Sprintf("v%d/%v", version, rtt), func(t *testing.T) {
				const readers, rate, size = 2, 25 * simnet.Mbit, 8 * testutil.MiB
				run := func(hog bool) (slowest time.Duration) {
					bubble(t, func(t *testing.T) {
						budget := flow.NewBudget(session.DefaultMaxReceiveBuffer / 4)
						pair := func() (c, s *session.Session) {
							return sessionsOver(t, path(rate, rtt), &session.Config{Version: version}, &session.Config{Version: version, Budget: budget})
						}
						if hog {
							c, s := pair()
							// One stream that was read has grown its window. Many more follow.
							out := open(t, c)
							go writeUntilEnd(out, 64*testutil.KiB)
							readN(t, accept(t, s), 4*testutil.MiB, nil)
							for range 32 {
								go writeUntilEnd(open(t, c), 64*testutil.KiB)
							}
							time.Sleep(10 * time.Second)
						}
						held := budget.Used()
						elapsed := testutil.Clock()
						var wg sync.WaitGroup
						for range readers {
							c, s := pair()
							go writeN(open(t, c), size, 64*testutil.KiB)
							in := accept(t, s)
							wg.Go(func() { readN(t, in, size, nil) })
						}
						wg.Wait()
						slowest = elapsed()
						t.Logf("beside %d KiB unread: %.3f of the link each", held/testutil.KiB, share(size, slowest, rate))
					})
					return slowest
				}
				alone, beside := run(false), run(true)
				if ratio := alone.Seconds() / beside.Seconds(); ratio < 0.9 {
					t.Errorf("%.3f of what they reach without it, want 0.9", ratio)
				}
			})
		}
	}
}

// A session that ends gives back what it held of the budget: a session that waited goes on.
func TestSessionThatEndsGivesItsBudgetBack(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		budget := flow.NewBudget(testutil.MiB)
		link := path(simnet.Gbit, time.Millisecond)
		var servers []*session.Session
		for range 4 {
			c, s := sessionsOver(t, link, &session.Config{Version: version}, &session.Config{Version: version, Budget: budget})
			servers = append(servers, s)
			outs, _ := openPairs(t, c, s, 8)
			for _, out := range outs {
				go writeUntilEnd(out, 64*testutil.KiB)
			}
		}
		time.Sleep(time.Minute)
		if budget.Used() < testutil.MiB/2 {
			t.Fatalf("%d bytes are unread, want most of the budget of %d", budget.Used(), budget.Size())
		}
		for _, s := range servers {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if used, promised := budget.Used(), budget.Committed(); used != 0 || promised != 0 {
			t.Errorf("%d bytes are in use and %d promised after all sessions have ended", used, promised)
		}
	})
}
