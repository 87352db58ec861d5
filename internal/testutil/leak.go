package testutil

import (
	"testing"

	"go.uber.org/goleak"
)

// LeakCheck fails the test if goroutines that started after this call still run when the test has ended and all
// later Cleanups have run. It waits for up to a second for those that are ending. Call it first. It does not work
// for tests that run in parallel, as it cannot tell which test started a goroutine. It does not check a test that
// has failed.
func LeakCheck(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	runtime := goleak.IgnoreAnyFunction("runtime.handleEvent") // on js/wasm, the runtime has a goroutine for events
	t.Cleanup(func() {
		if t.Failed() || goleak.Find(before, runtime) == nil {
			return
		}
		// In a bubble the goroutine of a timer may start just at the end of one check, but not of two.
		goleak.VerifyNone(t, before, runtime)
	})
}
