package flow_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/flow"
)

// On js/wasm, the runtime has a goroutine of its own for events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// waiting starts a call of Wait and returns the channel of its result.
func waiting(s *flow.Account, done <-chan struct{}) <-chan bool {
	result := make(chan bool, 1)
	go func() { result <- s.Wait(done) }()
	synctest.Wait()
	return result
}

// Wait returns true at once if there is room, also if done is closed.
func TestAccountWaitReturnsAtOnceUnlessFull(t *testing.T) {
	s := flow.NewAccount(100)
	s.Charge(99)
	done := make(chan struct{})
	close(done)
	if !s.Wait(nil) || !s.Wait(done) {
		t.Error("it waited, or did not say that there is room")
	}
	s.Charge(1)
	if s.Wait(done) {
		t.Error("it says that there is room")
	}
}

// Wait ends when there is room, whatever made the room.
func TestAccountWaitEndsWhenThereIsRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		room func(own, other *flow.Account)
	}{
		{"the session's own bytes are read", func(own, _ *flow.Account) { own.Release(790) }},
		{"those of another one are read", func(_, other *flow.Account) { other.Release(200) }},
		{"another one leaves", func(_, other *flow.Account) { other.Close() }},
		{"the session itself leaves", func(own, _ *flow.Account) { own.Close() }},
		{"what it holds is committed", func(own, _ *flow.Account) {
			for range 40 {
				own.Resize(0, 299)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := flow.NewBudget(1000)
				own, other := b.NewAccount(), b.NewAccount()
				own.Charge(790)
				other.Charge(200)
				result := waiting(own, nil)
				select {
				case <-result:
					t.Fatal("it did not wait")
				default:
				}
				tt.room(own, other)
				synctest.Wait()
				select {
				case ok := <-result:
					if !ok {
						t.Error("it says that there is no room")
					}
				default:
					t.Error("it still waits")
					own.Close()
				}
			})
		})
	}
}

// Wait returns false when done is closed, and can be called again.
func TestAccountWaitEndsWhenDoneIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := flow.NewAccount(10)
		s.Charge(10)
		done := make(chan struct{})
		result := waiting(s, done)
		time.Sleep(time.Hour)
		close(done)
		if <-result {
			t.Error("it says that there is room")
		}
		// The account can be waited for again, by several at once.
		a, b := waiting(s, nil), waiting(s, nil)
		s.Release(1)
		if !<-a || !<-b {
			t.Error("it says that there is no room")
		}
	})
}

// A budget made in a testing/synctest bubble can be waited for in it.
func TestBudgetWorksInSynctestBubbles(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			s := flow.NewAccount(10)
			s.Charge(10)
			result := waiting(s, nil)
			time.Sleep(time.Second)
			s.Release(10)
			if !<-result {
				t.Error("it says that there is no room")
			}
		})
	}
}

// No wake-up is lost while sessions wait whenever they are full, and readers release one frame
// at a time. If one is lost, the test hangs.
func TestAccountWaitMissesNoWakeUp(t *testing.T) {
	const sessions, frames = 6, 3000
	for name, join := range map[string]func(b *flow.Budget) *flow.Account{
		"shared": (*flow.Budget).NewAccount,
		"own":    func(b *flow.Budget) *flow.Account { return flow.NewAccount(b.Size()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := flow.NewBudget(3000)
			var wg sync.WaitGroup
			for i := range uint64(sessions) {
				s := join(b)
				queue := make(chan int, frames)
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(i, 5))
					for range frames {
						if !s.Wait(nil) {
							t.Error("there is no room")
						}
						n := 1 + rng.IntN(999)
						s.Charge(n)
						queue <- n
					}
					close(queue)
				})
				wg.Go(func() {
					for n := range queue {
						s.Release(n)
					}
				})
			}
			wg.Wait()
			if b.Used() != 0 {
				t.Errorf("%d bytes are used", b.Used())
			}
		})
	}
}
