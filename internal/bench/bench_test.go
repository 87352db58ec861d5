package main

import (
	"context"
	"errors"
	"os"
	"slices"
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
	for _, r := range append(latencyRows(), rows...) {
		for _, p := range peers {
			if p.name != "raw" && p.name != "xtaci-v1" && !p.ours || r.cannot(p) != "" {
				continue
			}
			t.Run(r.name+"/"+p.name, func(t *testing.T) {
				r := *r
				r.limit = 5 * time.Minute // ends what hangs; it is not measured
				o := order{Row: r.name, Peer: p.name, Warmup: 1, Window: 1}
				if slices.Contains([]string{"crowd", "idle-streams"}, r.name) {
					o.Size = 100
				}
				f, err := measure(t.Context(), cpus, &r, p, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range r.lines {
					if _, ok := f[l.figure]; !ok {
						t.Errorf("no figure %q in %v", l.figure, f)
					}
				}
			})
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

// A target is met if both of our versions meet it.
func TestTargetsAreJudgedForBothVersions(t *testing.T) {
	ps := []*peer{{name: "raw"}, {name: "a", client: noClient}, {name: "b", client: noClient},
		{name: "v1", ours: true, client: noClient}, {name: "v2", ours: true, client: noClient}}
	tests := []struct {
		name     string
		line     line
		values   map[string][]float64
		met      string
		best     string
		overBest string
	}{
		{
			name:   "higher is better, both meet it",
			line:   line{higher: true, targets: []target{{bestPeer, 2}, {rawTCP, 0.9}}},
			values: map[string][]float64{"raw": {4}, "a": {1}, "b": {2, 1, 9}, "v1": {4}, "v2": {5}},
			met:    "yes", best: "b", overBest: "2.00 / 2.50",
		},
		{
			name:   "one version misses it",
			line:   line{higher: true, targets: []target{{bestPeer, 2}}},
			values: map[string][]float64{"a": {1}, "b": {2}, "v1": {4}, "v2": {3.9}},
			met:    "no", best: "b", overBest: "2.00 / 1.95",
		},
		{
			name:   "lower is better",
			line:   line{targets: []target{{bestPeer, 0.5}}},
			values: map[string][]float64{"a": {10}, "b": {20}, "v1": {5}, "v2": {4}},
			met:    "yes", best: "a", overBest: "0.50 / 0.40",
		},
		{
			name:   "no allocations means none that can be told from the runtime's",
			line:   line{unit: "allocs", targets: []target{{absolute, 0}}},
			values: map[string][]float64{"a": {1}, "v1": {0.004}, "v2": {0}},
			met:    "yes", best: "a", overBest: "0.00 / 0.00",
		},
		{
			name:   "nothing of ours was measured",
			line:   line{targets: []target{{absolute, 1}}},
			values: map[string][]float64{"a": {1}},
			met:    "", best: "a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.line.figure = "x"
			cells := map[string]*cell{}
			for name, values := range tt.values {
				c := &cell{}
				for _, v := range values {
					c.samples = append(c.samples, figures{"x": v})
				}
				cells[name] = c
			}
			v := tt.line.judge(cells, ps)
			if v.met != tt.met || v.best != tt.best || v.overBest != tt.overBest {
				t.Errorf("met %q, best %q, over best %q; want %q, %q, %q", v.met, v.best, v.overBest, tt.met, tt.best, tt.overBest)
			}
		})
	}
}

var noClient = peers[1].client

// Saving a report keeps the prose around its marks.
func TestSavingKeepsTheProseAroundTheMarks(t *testing.T) {
	for _, tt := range []struct{ page, want string }{
		{"# P\n\nbefore\n" + beginMark + "\nold\n" + endMark + "\nafter\n", "# P\n\nbefore\n" + beginMark + "\nnew\n" + endMark + "\nafter\n"},
		{"# P\n\nprose\n", "# P\n\nprose\n\n" + beginMark + "\nnew\n" + endMark + "\n"},
	} {
		if got := splice(tt.page, "new\n"); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
