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

func TestEveryRowFillsItsLines(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	for _, r := range rows {
		if r.name == "crowd" && testing.Short() {
			continue
		}
		for _, p := range peers {
			if p.name != "raw" && p.name != "xtaci-v1" && !p.ours || r.cannot(p) != "" {
				continue
			}
			t.Run(r.name+"/"+p.name, func(t *testing.T) {
				o := order{Row: r.name, Peer: p.name, Warmup: time.Millisecond, Window: 50 * time.Millisecond}
				f, err := measure(t.Context(), cpus, r, o)
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

func TestAMeasurementThatHangsIsEndedAndNamed(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"ping-pong", "bulk-1k"} { // one process, two processes
		r := *findRow(name)
		r.limit = 300 * time.Millisecond
		start := time.Now()
		_, err = measure(t.Context(), cpus, &r, order{Row: name, Peer: "raw", Window: time.Hour})
		if err == nil || !strings.HasPrefix(err.Error(), "hung") {
			t.Errorf("%s: got %v, want an error that starts with hung", name, err)
		}
		var said *childError
		if !errors.As(err, &said) || !strings.Contains(said.stderr, "goroutine") {
			t.Errorf("%s: the error has no goroutines for -v", name)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
}

func TestACancelledRunEndsItsMeasurement(t *testing.T) {
	cpus, err := twoCores()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := measure(ctx, cpus, findRow("bulk-1k"), order{Row: "bulk-1k", Peer: "raw", Window: time.Hour}); err == nil {
		t.Error("got no error")
	}
}

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
