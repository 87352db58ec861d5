package testutil

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

func TestLeakCheckFindsAGoroutineThatStays(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	r := record(func(t testing.TB) {
		LeakCheck(t)
		go func() { <-stop }()
	})
	wantFailure(t, r, "TestLeakCheckFindsAGoroutineThatStays")
}

func TestLeakCheckPassesWhatWasThereBeforeAndWhatEnds(t *testing.T) {
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

func TestLeakCheckSaysNothingAboutATestThatFailedAnyway(t *testing.T) {
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
