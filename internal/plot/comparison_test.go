package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// The chart in docs shows what the first table of docs/performance.md says.
func TestComparisonInDocsIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../" + performance)
	if err != nil {
		t.Fatal(err)
	}
	c, err := readComparison(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range compared {
		if !strings.Contains(string(page), "\n| "+p.row+" ") {
			t.Errorf("%s has no row %s, which the chart names", performance, p.row)
		}
	}
	checkedIn, err := os.ReadFile("../../" + comparisonFile)
	if err != nil || !bytes.Equal(checkedIn, c.svg()) {
		t.Errorf("%s is not what the table says (error %v): go run ./internal/plot -only comparison", comparisonFile, err)
	}
}

// table is a page with one line for each panel.
func table(figures string) string {
	page := "text\n<!-- first:begin -->\n| what | unit | smuxkit v2 | yamux |\n|---|---|---|---|\n"
	for _, p := range compared {
		page += "| " + p.what + " | B |" + figures + "|\n"
	}
	return page + "<!-- first:end -->\n| more | tables |\n" + oneRun
}

// oneRun is what a page says of where its figures are from, if one run has measured all of them.
const oneRun = `### Where the figures come from

Measured on 2026-11-21 in 7m43s by ` + "`go run .`" + ` in internal/bench.

- Machine: A <Processor>, 2 CPUs (used: [0 1]), Linux 6.18, linux/amd64, go1.26.8.
- Others: github.com/xtaci/smux v1.5.56, golang.ngrok.com/muxado/v2 v2.0.2, ours at 32d27ce.

### Rows
`

// A comparison has a panel for each figure that was measured, and a bar for each implementation that was.
func TestComparisonShowsWhatWasMeasured(t *testing.T) {
	page := strings.Replace(table(" 1550.5 | 9 "), compared[0].what+" | B | 1550.5 | 9 ", compared[0].what+" | B | - | hung ", 1)
	page = strings.Replace(page, compared[1].what+" | B | 1550.5 | 9 ", compared[1].what+" | B | 7 | - ", 1)
	c, err := readComparison(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.panels) != len(compared)-1 {
		t.Fatalf("%d panels, want %d", len(c.panels), len(compared)-1)
	}
	svg := string(c.svg())
	if n := strings.Count(svg, `height="13"`); n != 2*len(c.panels)-1 {
		t.Errorf("%d bars, want %d", n, 2*len(c.panels)-1)
	}
	for _, want := range []string{">1,550.5<", ">not measured<", ">smuxkit v2<", compared[1].title, "more is better (calls-64)", "less is better (idle-streams)",
		"A &lt;Processor&gt;, 2 CPUs, linux/amd64, go1.26.8", "xtaci/smux v1.5.56, muxado v2.0.2."} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// A page without the table, or without a line that the chart shows, is an error that says which.
func TestComparisonNeedsItsLines(t *testing.T) {
	for page, want := range map[string]string{
		"no table": "has no first table",
		"<!-- first:begin -->\n<!-- first:end -->":                  "is empty",
		strings.Replace(table(" 1 | 2 "), "idle stream", "x", 1):    "memory of an idle stream",
		strings.Replace(table(" 1 | 2 "), "one stream over", "", 1): "one stream over 1 Gbit/s",
		strings.Replace(table(" 1 | 2 "), "Measured on", "", 1):     "when its figures were measured",
	} {
		if _, err := readComparison(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// The chart names the days and versions of those runs that have measured what it shows.
func TestComparisonNamesTheRunsItShows(t *testing.T) {
	const machine = "- Machine: P, 2 CPUs (used: [0 1]), Linux 6.18, congestion control cubic, linux/amd64, go1.26.8.\n"
	page := "Measured on 2026-11-26 in 9m by `x`, at 1.\n\n" + machine + "- Others: github.com/xtaci/smux v1.5.58, github.com/hashicorp/yamux v0.1.2.\n- Rows: a, b.\n" +
		"\nMeasured on 2026-11-25 in 9m by `x`, at 2.\n\n" + machine + "- Others: github.com/xtaci/smux v1.5.57.\n- Rows: c.\n" +
		"\nMeasured on 2026-11-24 in 9m by `x`, at 3.\n\n" + machine + "- Others: github.com/xtaci/smux v1.5.56.\n- Rows: d, link.\n\n### Rows\n- Rows: b.\n"
	for rows, want := range map[string][]string{
		"b":    {"Measured on 2026-11-26. P, 2 CPUs, linux/amd64, go1.26.8.", "Versions: xtaci/smux v1.5.58, yamux v0.1.2."},
		"link": {"Measured on 2026-11-24. P, 2 CPUs, linux/amd64, go1.26.8.", "Versions: xtaci/smux v1.5.56."},
		"a d": {"Measured on 2026-11-24 and 2026-11-26. P, 2 CPUs, linux/amd64, go1.26.8.",
			"Versions: xtaci/smux v1.5.56 and v1.5.58, yamux v0.1.2."},
	} {
		got, err := readSource(page, strings.Fields(rows))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("rows %s: %q, %v; want %q", rows, got, err, want)
		}
	}
}
