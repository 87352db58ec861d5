package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/performance.svg")

// The chart that is checked in shows what the first table of the page says.
func TestChartIsThatOfThePage(t *testing.T) {
	page, err := os.ReadFile(performancePage)
	if err != nil {
		t.Fatal(err)
	}
	bars := chartBars(string(page))
	if len(bars) == 0 {
		t.Fatal("the page has no overview")
	}
	const file = "../../docs/" + chartFile
	if *update {
		if err := os.WriteFile(file, chart(bars), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, chart(bars)) {
		t.Errorf("docs/%s is not the chart of the page (error %v): go test -run Chart . -update", chartFile, err)
	}
}

// A chart is well-formed and has two bars for each line, for what was measured.
func TestChartIsWellFormed(t *testing.T) {
	svg := chart([]bar{{"a: GB/s", [2]float64{3, 0.2}}, {"b: us", [2]float64{0, 70}}})
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := bytes.Count(svg, []byte(`height="8"`)); n != 2+3 {
		t.Errorf("%d bars with those of the legend, want 5:\n%s", n, svg)
	}
}

// The overview has the best of the others, and says how many times better ours are, for figures of which
// more is better and of which less is.
func TestOverviewSaysHowManyTimesBetterOursAre(t *testing.T) {
	ps := []*peer{{name: "raw"}, {name: "a", client: noClient}, {name: "b", client: noClient},
		{name: "ours-v1", ours: true, client: noClient}, {name: "ours-v2", ours: true, client: noClient}}
	rs := []*row{{name: "bulk", work: "one stream", lines: []line{{table: speed, figure: "x", unit: "GB/s", higher: true}}},
		{name: "echo", work: "an echo", lines: []line{{table: speed, figure: "x", label: "median", unit: "us"}}}}
	res := results{}
	for name, values := range map[string][]float64{"bulk": {9, 1, 2, 3, 1.5}, "echo": {1, 8, 6, 3, 12}} {
		res[name] = map[string]*cell{}
		for i, v := range values {
			res[name][ps[i].name] = &cell{samples: []figures{{"x": v}}}
		}
	}
	delete(res["echo"], "ours-v2")

	text := report("Measured.\n", rs, ps, res)
	if !strings.HasPrefix(text, "![") || strings.Index(text, "times better") > strings.Index(text, "Measured.") {
		t.Errorf("the report does not begin with the overview:\n%s", text)
	}
	for _, want := range []string{
		"| row  | figure     | smuxkit v1 | smuxkit v2 | best other | times better |\n",
		"| bulk | GB/s       | 3          | 1.5        | 2 b        | 1.50 / 0.75  |\n",
		"| echo | median, us | 3          | -          | 6 b        | 2.00 / -     |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	if got, want := chartBars(text), []bar{{"bulk: GB/s", [2]float64{1.5, 0.75}}, {"echo: median, us", [2]float64{2, 0}}}; !slices.Equal(got, want) {
		t.Errorf("bars %v, want %v", got, want)
	}
}
