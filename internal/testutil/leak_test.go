package testutil

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// LeakCheck reports a goroutine that stays.
func TestLeakCheckFindsAGoroutineThatStays(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	r := record(func(t testing.TB) {
		LeakCheck(t)
		go func() { <-stop }()
	})
	wantFailure(t, r, "TestLeakCheckFindsAGoroutineThatStays")
}

// LeakCheck accepts goroutines that existed before, and goroutines that end.
func TestLeakCheckPassesGoroutinesThatEnd(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go func() { <-stop }()
	r := record(func(t testing.TB) {
		LeakCheck(t)
		ends := make(chan struct{})
		t.Cleanup(func() { close(ends) })
		go func() { <-ends }()
	})
	if r.failed {
		t.Error(r.log)
	}
}

// LeakCheck reports nothing for a test that has failed.
func TestLeakCheckIgnoresATestThatFailed(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	r := record(func(t testing.TB) {
		LeakCheck(t)
		go func() { <-stop }()
		t.Fatalf("broken")
	})
	if r.log != "broken\n" {
		t.Error(r.log)
	}
}

// LeakCheck works in a bubble.
func TestLeakCheckWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		LeakCheck(t)
		a, b := SimPair(t, simnet.Link{Delay: time.Second})
		go func() { _, _ = a.Write([]byte{1}) }()
		if _, err := b.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}
