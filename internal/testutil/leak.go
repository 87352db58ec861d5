package testutil

import (
	"testing"

	"go.uber.org/goleak"
)

// LeakCheck makes the test fail if, when it has ended and all later Cleanups have
// run, there are goroutines that were not there at this call. Ones that are just
// ending are waited for, for up to a second. Call it first. It cannot tell whose a
// goroutine is: not for a test that runs in parallel with others. A test that has
// failed anyway is not checked.
func LeakCheck(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if t.Failed() || goleak.Find(before) == nil {
			return
		}
		// In a bubble a timer's goroutine may begin at the very time of the last look, but
		// not of two.
		goleak.VerifyNone(t, before)
	})
}
