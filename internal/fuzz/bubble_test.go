package fuzz

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// hung is far more real time than any input takes, on however busy a machine.
const hung = time.Minute

// bubble runs test in a bubble. A bubble in which goroutines wait for each other ends by
// itself; one in which somebody spins, or waits for a mutex, is ended here.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	watchdog := time.AfterFunc(hung, func() {
		debug.SetTraceback("all")
		panic("the input does not end")
	})
	defer watchdog.Stop()
	synctest.Test(t, test)
}
