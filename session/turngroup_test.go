package session_test

import (
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
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
	for _, tt := range []struct{ maxWrite, most int }{{0, 8}, {1000, 1}} {
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

// A turnRecorder is a scheduler that notes the class of each turn. The session's lock guards it.
type turnRecorder struct {
	shaper.Fair
	classes []shaper.Class
}

func (s *turnRecorder) Pop() (f *shaper.Flow, c shaper.Class, n int) {
	if f, c, n = s.Fair.Pop(); f != nil {
		s.classes = append(s.classes, c)
	}
	return f, c, n
}

// If many streams have control frames, and many have little data, control waits for one turn of data at a time: the turns
// that are in progress together count for no more than they send.
func TestControlInGroupsDoesNotWaitForData(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var sched turnRecorder
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		g := newGate(ours)
		c := client(t, g, &session.Config{
			Version: version, KeepAlive: off, NewScheduler: func() shaper.Scheduler { return &sched },
		})
		peer := testutil.NewPeer(t, theirs)
		peer.EchoSignals(true)
		peer.Ignore(wire.NOP)
		const data, control = 300, 600
		streams := make([]*stream.Stream, data)
		for i := range streams {
			streams[i] = open(t, c)
		}
		for range streams {
			peer.Next(t, "each SYN is sent")
		}
		synctest.Wait()
		g.shut()
		for i, st := range streams {
			if _, err := st.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // its Write to the transport does not return yet
			}
		}
		for range control {
			open(t, c)
		}
		sched.classes = nil
		g.open()
		for range data + control {
			peer.Next(t, "all frames are sent")
		}
		synctest.Wait()
		run, longest, left := 0, 0, control // turns of data in a row, before the last turn of control
		for _, class := range sched.classes {
			if class == shaper.Control {
				run = 0
				left--
			} else if left > 0 {
				run++
				longest = max(longest, run)
			}
		}
		if left != 0 || longest > 1 {
			t.Errorf("control waits for %d turns of data, want 1 at most; %d turns of control are missing", longest, left)
		}
	})
}
