package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	noClient  = peers[1].client
	testPeers = []*peer{{name: "raw"}, {name: "xtaci-v1", client: noClient}, {name: "xtaci-v2", client: noClient},
		{name: "quic", aside: true}, ours[0], ours[1]}
)

// resultsOf has one figure, x, of each peer of each row.
func resultsOf(values map[string]map[string]float64) *results {
	res := newResults()
	for name, row := range values {
		r := &rowResult{Peers: map[string]*cell{}}
		for peer, v := range row {
			r.Peers[peer] = &cell{Figures: figures{"x": v}}
		}
		res.Rows[name] = r
	}
	res.describe("Measured.\n\n- Here.\n")
	return res
}

// A target is met if all versions that it is for meet it, and each verdict names what the target refers to.
func TestTargetsAreJudgedForBothVersions(t *testing.T) {
	other := map[string]float64{"ours-v1": 100, "ours-v2": 50}
	tests := []struct {
		name   string
		higher bool
		unit   string
		target target
		values map[string]float64
		want   judged
	}{
		{
			name: "higher is better, both meet it", higher: true, target: times(2),
			values: map[string]float64{"raw": 9, "xtaci-v1": 1, "xtaci-v2": 2, "quic": 70, "ours-v1": 4, "ours-v2": 5},
			want:   judged{"≥ 2 × best peer", "2.00 / 2.50", "met"},
		},
		{
			name: "one version misses it", higher: true, target: times(2),
			values: map[string]float64{"xtaci-v1": 1, "xtaci-v2": 2, "ours-v1": 4, "ours-v2": 3.9},
			want:   judged{"≥ 2 × best peer", "2.00 / 1.95", "missed by v2"},
		},
		{
			name: "lower is better", target: ofRaw(1.5),
			values: map[string]float64{"raw": 10, "ours-v1": 15, "ours-v2": 16},
			want:   judged{"≤ 1.5 × raw", "1.50 / 1.60", "missed by v2"},
		},
		{
			name: "for version 2 alone", target: times(0.7).of(2),
			values: map[string]float64{"xtaci-v2": 10, "ours-v1": 20, "ours-v2": 7},
			want:   judged{"≤ 0.7 × best peer (v2)", "0.70", "met"},
		},
		{
			name: "relative to version 1", higher: true, target: target{against: versionOne, factor: 0.9, version: 2},
			values: map[string]float64{"ours-v1": 10, "ours-v2": 8},
			want:   judged{"≥ 0.9 × version 1 (v2)", "0.80", "missed"},
		},
		{
			name: "relative to the same version in another row", target: as("other", 1.03),
			values: map[string]float64{"ours-v1": 103, "ours-v2": 60},
			want:   judged{"≤ 1.03 × other", "1.03 / 1.20", "missed by v2"},
		},
		{
			name: "no allocations means none that can be told from the runtime's", unit: "allocs", target: exactly(0),
			values: map[string]float64{"xtaci-v1": 1, "ours-v1": 0.004, "ours-v2": 0},
			want:   judged{"≤ 0 allocs", "0.00 / 0.00", "met"},
		},
		{
			name: "nothing of ours was measured", unit: "B", target: exactly(1),
			values: map[string]float64{"xtaci-v1": 1},
			want:   judged{"≤ 1 B", "", ""},
		},
		{
			name: "nothing was measured that it refers to", target: times(1),
			values: map[string]float64{"quic": 1, "ours-v1": 1, "ours-v2": 1},
			want:   judged{"≤ 1 × best peer", "", ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := line{figure: "x", higher: tt.higher, unit: tt.unit, targets: goals(tt.target)}
			v := l.judge(&row{name: "r"}, resultsOf(map[string]map[string]float64{"r": tt.values, "other": other}), testPeers)
			if v.targets[0] != tt.want {
				t.Errorf("got %q, want %q", v.targets[0], tt.want)
			}
		})
	}
}

// A report has the first table with what was measured, each target with its verdict, and each figure.
func TestReportHasFirstTableTargetsAndFigures(t *testing.T) {
	rs := []*row{
		{name: "beside-two", work: "echoes beside bulk", lines: []line{
			{table: speed, figure: "p50 us", label: "median", unit: "us"},
			{table: speed, figure: "p99 us", label: "99th percentile", unit: "us", targets: goals(times(0.4))},
		}},
		{name: "elsewhere", work: "what cannot be measured here", lines: []line{
			{table: far, figure: "x", unit: "MB/s", higher: true, targets: goals(ofRaw(0.97).of(2))},
		}},
	}
	res := newResults()
	cells := map[string]*cell{}
	for name, v := range map[string]float64{"xtaci-v1": 8000, "xtaci-v2": 600, "ours-v1": 231, "ours-v2": 240} {
		cells[name] = &cell{Figures: figures{"p50 us": v / 3, "p99 us": v}}
	}
	cells["yamux"] = &cell{Failed: "hung: no result after 15s"}
	res.Rows["beside-two"] = &rowResult{Peers: cells}
	res.describe("Measured today.\n\n- Machine.\n")

	text := report(rs, res)
	for _, want := range []string{
		"| what                                            | unit | smuxkit v1 | smuxkit v2 | xtaci/smux v1 | xtaci/smux v2 | yamux | go-yamux | muxado |\n",
		"| the same beside 8 bulk streams, median          | us   | 77         | 80         | 2670          | 200           | -     | -        | -      |\n",
		"| beside-two | 99th percentile, us | 231        | 240        | 600 xtaci-v2 | ≤ 0.4 × best peer | 0.39 / 0.40 | met          |\n",
		"| elsewhere  | MB/s                | -          | -          | -            | ≥ 0.97 × raw (v2) |             | not measured |\n",
		"Measured today.\n",
		"| beside-two | 99th percentile, us | 8000     | 600      | hung  | 231     | 240     |\n",
		"| beside-two | 99th percentile, us | xtaci-v2  | 0.39 / 0.40      |            |\n",
		"- beside-two, yamux: hung: no result after 15s\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

// The page is what the program writes from the results that are checked in.
func TestPageIsMadeFromTheResults(t *testing.T) {
	res, err := readResults(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(performancePage)
	if err != nil {
		t.Fatal(err)
	}
	if page(string(old), res) != string(old) {
		t.Errorf("%s is not made from %s: go run . -render", performancePage, resultsFile)
	}
}

// Writing the page keeps the prose around its marks.
func TestSavingKeepsTheProseAroundTheMarks(t *testing.T) {
	for _, tt := range []struct{ page, want string }{
		{"# P\n\nbefore\n<!-- a:begin -->\nold\n<!-- a:end -->\nafter\n", "# P\n\nbefore\n<!-- a:begin -->\nnew\n<!-- a:end -->\nafter\n"},
		{"# P\n\nprose\n", "# P\n\nprose\n\n<!-- a:begin -->\nnew\n<!-- a:end -->\n"},
	} {
		if got := splice(tt.page, "a", "new\n"); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// The rows of a new run are put in place of those that were kept. The others stay, with the description of their run.
func TestResultsOfRunsAreKeptByRow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	for _, run := range []struct {
		text string
		rows map[string]map[string]float64
	}{
		{"first", map[string]map[string]float64{"bulk-1k": {"raw": 1}, "bulk-64": {"raw": 1}, "no-row": {"raw": 1}}},
		{"second", map[string]map[string]float64{"bulk-1k": {"raw": 2}}},
		{"third", map[string]map[string]float64{"bulk-1k": {"raw": 3}}},
	} {
		kept, err := readResults(file)
		if err != nil {
			t.Fatal(err)
		}
		res := resultsOf(run.rows)
		res.describe(run.text)
		kept.add(res)
		if err := kept.write(file); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		text  string
		value float64
	}{"bulk-1k": {"third", 3}, "bulk-64": {"first", 1}} {
		value, _ := kept.row(name)["raw"].figure("x")
		if text := kept.Runs[kept.Rows[name].Run]; text != want.text || value != want.value {
			t.Errorf("%s: %v of the run %q, want %v of %q", name, value, text, want.value, want.text)
		}
	}
	if len(kept.Runs) != 2 || len(kept.Rows) != 2 {
		t.Errorf("%d runs and %d rows are kept, want 2 and 2", len(kept.Runs), len(kept.Rows))
	}
}

// The first table and the targets refer to rows, lines and peers that exist.
func TestRowsReferToWhatExists(t *testing.T) {
	for _, f := range firsts {
		if r := findRow(f.row); r == nil || r.line(f.figure) == nil {
			t.Errorf("the first table has %s, %s: no such line", f.row, f.figure)
		}
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("two rows %s", r.name)
		}
		seen[r.name] = true
		for _, name := range r.peers {
			if findPeer(name) == nil {
				t.Errorf("%s: no peer %s", r.name, name)
			}
		}
		for _, l := range r.lines {
			for _, g := range l.targets {
				if g.against != sameRow {
					continue
				}
				if o := findRow(g.row); o == nil || o.line(l.figure) == nil || o.group != r.group {
					t.Errorf("%s, %s: a target refers to %s, which has no such line or another group", r.name, l.figure, g.row)
				}
			}
		}
	}
}
