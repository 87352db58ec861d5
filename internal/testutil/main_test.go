package testutil

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// On js/wasm, the runtime has a goroutine of its own for events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// recorder is a testing.TB for helpers that are to fail.
type recorder struct {
	testing.TB
	failed   bool
	skipped  bool
	log      string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Failed() bool     { return r.failed }
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Error(args ...any) {
	r.failed = true
	r.log += fmt.Sprintln(args...)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Error(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = true
	r.log += fmt.Sprintf(format, args...) + "\n"
	runtime.Goexit()
}

// record runs a test and its cleanups, and returns the result.
func record(test func(t testing.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		test(r)
	}()
	<-done
	return r
}

// wantFailure checks that a recorded test failed with a message that has all of words.
func wantFailure(t *testing.T, r *recorder, words ...string) {
	t.Helper()
	if !r.failed {
		t.Error("it passed, want a failure")
	}
	for _, w := range words {
		if !strings.Contains(r.log, w) {
			t.Errorf("the message has no %q:\n%s", w, r.log)
		}
	}
}
