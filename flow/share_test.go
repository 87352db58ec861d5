package flow_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/flow"
)

const frame = 64 << 10

func TestALoneSessionMayUseTheWholeBudget(t *testing.T) {
	for name, s := range map[string]*flow.Share{
		"own":    flow.NewShare(1 << 20),
		"joined": flow.NewBudget(1 << 20).Join(),
	} {
		for range 15 {
			s.Take(frame)
			if s.Full() {
				t.Fatalf("%s: full with %d bytes", name, s.Used())
			}
		}
		s.Take(frame - 1)
		if s.Full() {
			t.Errorf("%s: full with a byte left", name)
		}
		s.Take(1)
		if !s.Full() {
			t.Errorf("%s: not full", name)
		}
		if s.Used() != 1<<20 || s.Budget().Used() != 1<<20 {
			t.Errorf("%s: %d used of %d", name, s.Used(), s.Budget().Used())
		}
		s.Return(1)
		if s.Full() {
			t.Errorf("%s: still full", name)
		}
	}
}

func TestASessionThatHoldsNothingIsNeverFull(t *testing.T) {
	b := flow.NewBudget(0)
	for range 10 {
		s := b.Join()
		if s.Full() {
			t.Fatal("full without an unread byte")
		}
		s.Take(frame)
		if !s.Full() {
			t.Fatal("not full though the budget is used up")
		}
	}
}

func TestUnreadSessionsLeaveRoomToTheOthers(t *testing.T) {
	for _, hogs := range []int{1, 2, 10, 50} {
		b := flow.NewBudget(32 << 20)
		reader := b.Join()
		var unread []*flow.Share
		for range hogs {
			unread = append(unread, b.Join())
		}
		for range 10_000 { // nobody reads
			for _, s := range unread {
				if !s.Full() {
					s.Take(frame)
				}
			}
		}
		fair := b.Size() / (1 + 4*hogs)
		if free := b.Size() - b.Used(); free < fair-hogs*frame {
			t.Errorf("%d unread sessions leave %d bytes", hogs, free)
		}
		// The one that is read goes on.
		for round := range 1000 {
			n := 0
			for !reader.Full() && n < fair/2 {
				reader.Take(frame)
				n += frame
			}
			if n == 0 {
				t.Fatalf("%d unread sessions: the reader is full in round %d", hogs, round)
			}
			reader.Return(n)
		}
	}
}

func TestWhatWasPromisedMayBeHeld(t *testing.T) {
	b := flow.NewBudget(32 << 20)
	s, other := b.Join(), b.Join()
	other.Take(3 << 20)
	promised := 0
	for range 40 {
		promised += s.Grant(0, 1<<20-1)
	}
	for s.Used()+frame <= promised {
		if s.Full() {
			t.Fatalf("full with %d bytes of %d promised", s.Used(), promised)
		}
		s.Take(frame)
	}
	if promised < 24<<20 {
		t.Errorf("only %d promised", promised)
	}
}

func TestLeaveGivesEverythingBack(t *testing.T) {
	b := flow.NewBudget(1 << 20)
	s, other := b.Join(), b.Join()
	other.Take(10)
	s.Take(1 << 20)
	s.Grant(0, 100_000)
	s.Leave()
	s.Leave()
	if b.Used() != 10 || b.Promised() != 0 {
		t.Errorf("%d used and %d promised after it left", b.Used(), b.Promised())
	}
	// Whatever comes late changes nothing.
	s.Return(1 << 20)
	s.Take(1 << 20)
	if got := s.Grant(100_000, 200_000); got != 100_000 {
		t.Errorf("a share that left was granted %d", got)
	}
	if got := s.Grant(100_000, 5); got != 5 {
		t.Errorf("a share that left gave back down to %d", got)
	}
	if s.Full() || s.Used() != 0 || !s.Wait(nil) {
		t.Error("a share that left is full")
	}
	if b.Used() != 10 || b.Promised() != 0 {
		t.Errorf("%d used and %d promised after late calls", b.Used(), b.Promised())
	}
	// The other one is alone now.
	other.Take(1<<20 - 11)
	if other.Full() {
		t.Error("the last session is full with a byte left")
	}
}

func TestReturningMoreThanWasTakenPanics(t *testing.T) {
	for _, s := range []*flow.Share{flow.NewShare(100), flow.NewBudget(100).Join()} {
		s.Take(3)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			s.Return(4)
		}()
		if s.Used() != 3 || s.Budget().Used() != 3 {
			t.Errorf("%d used afterwards", s.Used())
		}
	}
}

// TestTheTotalStaysWithinTheBudget lets many sessions take and return at once,
// and some leave and join, and then finds every byte accounted for.
func TestTheTotalStaysWithinTheBudget(t *testing.T) {
	const sessions = 8
	b := flow.NewBudget(1 << 20)
	var wg sync.WaitGroup
	for i := range uint64(sessions) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(i, 4))
			s := b.Join()
			held, have := 0, 0
			for range 5000 {
				switch rng.IntN(8) {
				case 0:
					have = s.Grant(have, rng.IntN(1<<18))
				case 1, 2, 3:
					n := rng.IntN(held + 1)
					s.Return(n)
					held -= n
				case 4:
					if rng.IntN(100) == 0 {
						s.Leave()
						s.Return(held)
						s = b.Join()
						held, have = 0, 0
					}
				default:
					if !s.Full() {
						n := rng.IntN(frame)
						s.Take(n)
						held += n
					}
				}
				if used := b.Used(); used > b.Size()+sessions*frame {
					t.Errorf("%d bytes used", used)
					return
				}
				if promised := b.Promised(); promised > promisable(b) {
					t.Errorf("%d bytes promised", promised)
					return
				}
			}
			s.Leave()
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.Promised() != 0 {
		t.Errorf("%d bytes used, %d promised when all have left", b.Used(), b.Promised())
	}
}
