package flow_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/flow"
)

const frame = 64 << 10

// A session that is alone on its budget may use all of it.
func TestAccountAloneUsesTheWholeBudget(t *testing.T) {
	for name, s := range map[string]*flow.Account{
		"own":    flow.NewAccount(1 << 20),
		"joined": flow.NewBudget(1 << 20).NewAccount(),
	} {
		for range 15 {
			s.Charge(frame)
			if s.Full() {
				t.Fatalf("%s: full with %d bytes", name, s.Used())
			}
		}
		s.Charge(frame - 1)
		if s.Full() {
			t.Errorf("%s: full with a byte left", name)
		}
		s.Charge(1)
		if !s.Full() {
			t.Errorf("%s: not full", name)
		}
		if s.Used() != 1<<20 || s.Budget().Used() != 1<<20 {
			t.Errorf("%s: %d used of %d", name, s.Used(), s.Budget().Used())
		}
		s.Release(1)
		if s.Full() {
			t.Errorf("%s: still full", name)
		}
	}
}

// A session that holds nothing is never full, so it can always take one frame.
func TestAccountThatHoldsNothingIsNotFull(t *testing.T) {
	b := flow.NewBudget(0)
	for range 10 {
		s := b.NewAccount()
		if s.Full() {
			t.Fatal("full without an unread byte")
		}
		s.Charge(frame)
		if !s.Full() {
			t.Fatal("not full though the budget is used up")
		}
	}
}

// Sessions that nobody reads leave room for a session that is read.
func TestBudgetUnreadSessionsLeaveRoom(t *testing.T) {
	for _, hogs := range []int{1, 2, 10, 50} {
		b := flow.NewBudget(32 << 20)
		reader := b.NewAccount()
		var unread []*flow.Account
		for range hogs {
			unread = append(unread, b.NewAccount())
		}
		for range 10_000 { // nobody reads
			for _, s := range unread {
				if !s.Full() {
					s.Charge(frame)
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
				reader.Charge(frame)
				n += frame
			}
			if n == 0 {
				t.Fatalf("%d unread sessions: the reader is full in round %d", hogs, round)
			}
			reader.Release(n)
		}
	}
}

// A session is not full while it holds no more than was committed to its peers.
func TestAccountMayHoldWhatIsCommitted(t *testing.T) {
	b := flow.NewBudget(32 << 20)
	s, other := b.NewAccount(), b.NewAccount()
	other.Charge(3 << 20)
	committed := 0
	for range 40 {
		committed += s.Resize(0, 1<<20-1)
	}
	for s.Used()+frame <= committed {
		if s.Full() {
			t.Fatalf("full with %d bytes of %d committed", s.Used(), committed)
		}
		s.Charge(frame)
	}
	if committed < 24<<20 {
		t.Errorf("only %d committed", committed)
	}
}

// Close gives back all that the account holds, and later calls change nothing.
func TestAccountCloseGivesEverythingBack(t *testing.T) {
	b := flow.NewBudget(1 << 20)
	s, other := b.NewAccount(), b.NewAccount()
	other.Charge(10)
	s.Charge(1 << 20)
	s.Resize(0, 100_000)
	s.Close()
	s.Close()
	if b.Used() != 10 || b.Committed() != 0 {
		t.Errorf("%d used and %d committed after it left", b.Used(), b.Committed())
	}
	// Late calls change nothing.
	s.Release(1 << 20)
	s.Charge(1 << 20)
	if got := s.Resize(100_000, 200_000); got != 100_000 {
		t.Errorf("a closed account was granted %d", got)
	}
	if got := s.Resize(100_000, 5); got != 5 {
		t.Errorf("a closed account gave back down to %d", got)
	}
	if s.Full() || s.Used() != 0 || !s.Wait(nil) {
		t.Error("a closed account is full")
	}
	if b.Used() != 10 || b.Committed() != 0 {
		t.Errorf("%d used and %d committed after late calls", b.Used(), b.Committed())
	}
	// The other account is alone now.
	other.Charge(1<<20 - 11)
	if other.Full() {
		t.Error("the last session is full with a byte left")
	}
}

// Release panics if more bytes are released than were charged, and changes nothing.
func TestAccountReleaseOfTooMuchPanics(t *testing.T) {
	for _, s := range []*flow.Account{flow.NewAccount(100), flow.NewBudget(100).NewAccount()} {
		s.Charge(3)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			s.Release(4)
		}()
		if s.Used() != 3 || s.Budget().Used() != 3 {
			t.Errorf("%d used afterwards", s.Used())
		}
	}
}

// The bytes and windows of all sessions stay within the budget while sessions charge, release,
// close and begin at once. In the end every byte is accounted for.
func TestBudgetBoundsTheTotal(t *testing.T) {
	const sessions = 8
	b := flow.NewBudget(1 << 20)
	var wg sync.WaitGroup
	for i := range uint64(sessions) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(i, 4))
			s := b.NewAccount()
			held, have := 0, 0
			for range 5000 {
				switch rng.IntN(8) {
				case 0:
					have = s.Resize(have, rng.IntN(1<<18))
				case 1, 2, 3:
					n := rng.IntN(held + 1)
					s.Release(n)
					held -= n
				case 4:
					if rng.IntN(100) == 0 {
						s.Close()
						s.Release(held)
						s = b.NewAccount()
						held, have = 0, 0
					}
				default:
					if !s.Full() {
						n := rng.IntN(frame)
						s.Charge(n)
						held += n
					}
				}
				if used := b.Used(); used > b.Size()+sessions*frame {
					t.Errorf("%d bytes used", used)
					return
				}
				if committed := b.Committed(); committed > committable(b) {
					t.Errorf("%d bytes committed", committed)
					return
				}
			}
			s.Close()
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.Committed() != 0 {
		t.Errorf("%d bytes used, %d committed when all have left", b.Used(), b.Committed())
	}
}
