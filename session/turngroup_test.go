package session_test

import (
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// A turnCounter is a scheduler that counts the turns in progress. The session's lock guards it.
type turnCounter struct {
	shaper.Fair
	turns, most int
}

func (s *turnCounter) Pop() (f *shaper.Flow, c shaper.Class, n int) {
	if f, c, n = s.Fair.Pop(); f != nil {
		s.turns++
		s.most = max(s.most, s.turns)
	}
	return f, c, n
}

func (s *turnCounter) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	s.turns--
	s.Fair.EndTurn(f, c, n, more)
}

// Streams that have control frames take turns in groups, but one by one if a write is limited in size. All turns end.
func TestControlTurnsAreTakenInGroups(t *testing.T) {
	for _, tt := range []struct{ maxWrite, most int }{{0, 16}, {1000, 1}} {
		eachVersion(t, func(t *testing.T, version int) {
			var sched turnCounter
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			g := newGate(ours)
			c := client(t, g, &session.Config{
				Version: version, KeepAlive: off, MaxWriteSize: tt.maxWrite,
				NewScheduler: func() shaper.Scheduler { return &sched },
			})
			peer := testutil.NewPeer(t, theirs)
			peer.EchoSignals(true)
			peer.Ignore(wire.NOP)
			g.shut()
			for range 64 {
				open(t, c) // the first SYN, or a few, are in a Write that does not return yet
				synctest.Wait()
			}
			g.open()
			for syns := 0; syns < 64; {
				if f := peer.Next(t, "each SYN is sent"); f.Command == wire.SYN {
					syns++
				}
			}
			synctest.Wait()
			if sched.turns != 0 || sched.most != tt.most {
				t.Errorf("MaxWriteSize %d: %d turns have not ended, %d were in progress at once, want 0 and %d", tt.maxWrite, sched.turns, sched.most, tt.most)
			}
		})
	}
}
