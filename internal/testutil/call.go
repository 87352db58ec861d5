package testutil

import (
	"errors"
	"testing"
	"time"
)

// Sizes in bytes, to be multiplied: 64 * testutil.KiB. simnet has rates.
const (
	KiB = 1 << 10
	MiB = 1 << 20
)

// Result is what a call in the background returned.
type Result[T any] struct {
	Value T
	Err   error
	After time.Duration // from the call to its return
}

// Background calls f in a goroutine of its own. The channel gets its result.
func Background[T any](f func() (T, error)) <-chan Result[T] {
	done := make(chan Result[T], 1)
	elapsed := Clock()
	go func() {
		v, err := f()
		done <- Result[T]{v, err, elapsed()}
	}()
	return done
}

// BackgroundErr is Background for a call that returns an error alone.
func BackgroundErr(f func() error) <-chan Result[struct{}] {
	return Background(func() (struct{}, error) { return struct{}{}, f() })
}

// Clock starts a clock. The function that it returns reads it.
func Clock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// WantTime checks in a bubble that something has taken exactly want.
func WantTime(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

// WantErr checks that errors.Is finds want in err. want may be nil.
func WantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// Jain returns Jain's index of the shares: 1 if they are equal, 1/n if one of n has everything.
func Jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(shares)) * squares)
}
