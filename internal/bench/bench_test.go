package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// Measurements run in children of this program, which is the test binary here.
func TestMain(m *testing.M) {
	if text := os.Getenv(orderVar); text != "" {
		runChild(text)
	}
	os.Exit(m.Run())
}

// Every row gives a figure for each of its lines, however short the window and however
// busy the machine. What the figures are does not matter.
func TestEveryRowFillsItsLines(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	// To compile the crates takes minutes. A run has done that, or they are not tested.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := buildCrates(ctx); err != nil {
		if ctx.Err() == nil {
			t.Fatal(err)
		}
		t.Log("the Rust crates are not tested: cargo has to compile them first, which `go run . -run churn` does")
	}
	for _, r := range append(latencyRows(), rows...) {
		if why := r.missing(); why != "" {
			t.Logf("%s is not tested: %s", r.name, why)
			continue
		}
		for _, p := range peers {
			switch why := r.cannot(p); {
			case why != "" && why != "-":
				t.Logf("%s, %s is not tested: %s", r.name, p.name, why)
			case why == "-" || (p.name == "ours-v1" || p.name == "xtaci-v2" || p.name == "muxado") && r.name != "bulk-128k":
			default:
				t.Run(r.name+"/"+p.name, func(t *testing.T) { fillsItsLines(t, cpus, *r, p) })
			}
		}
	}
}

func fillsItsLines(t *testing.T, cpus []int, r row, p *peer) {
	r.limit = 5 * time.Minute // ends what hangs; it is not measured
	f, err := measure(t.Context(), cpus, &r, p, order{Row: r.name, Peer: p.name, Warmup: 1, Window: 1, Size: r.small})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.lines {
		if _, ok := f[l.figure]; !ok {
			t.Errorf("no figure %q in %v", l.figure, f)
		}
	}
}

// A measurement that hangs is ended at its limit, and its error names what hung. A child
// that never got to run by then has no goroutines to show; it gets longer.
func TestHungMeasurementIsEnded(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"ping-pong", "bulk-1k"} { // one process, two processes
		r := *findRow(name)
		for r.limit = 300 * time.Millisecond; ; r.limit *= 2 {
			_, err = measure(t.Context(), cpus, &r, findPeer("raw"), order{Row: name, Peer: "raw", Window: 24 * time.Hour})
			if err == nil || !strings.HasPrefix(err.Error(), "hung") {
				t.Fatalf("%s: got %v, want an error that starts with hung", name, err)
			}
			var said *childError
			if errors.As(err, &said) && strings.Contains(said.stderr, "goroutine") {
				break
			}
			if r.limit > time.Minute {
				t.Fatalf("%s: the error has no goroutines for -v", name)
			}
		}
	}
}

// A run that is cancelled ends the measurement that it is in.
func TestCancelledRunEndsItsMeasurement(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r := *findRow("bulk-1k")
	r.limit = 24 * time.Hour
	if _, err := measure(ctx, cpus, &r, findPeer("raw"), order{Row: r.name, Peer: "raw", Window: 24 * time.Hour}); err == nil {
		t.Error("got no error")
	}
}
