package fuzz

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// hung is far more real time than any input takes, even on a busy machine.
const hung = time.Minute

// bubble runs test in a bubble. A bubble whose goroutines all wait ends by itself. The watchdog ends one with a
// goroutine that spins or waits for a mutex.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	watchdog := time.AfterFunc(hung, func() {
		debug.SetTraceback("all")
		panic("the input does not end")
	})
	defer watchdog.Stop()
	synctest.Test(t, test)
}
