package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
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
	return page + "<!-- first:end -->\n| more | tables |\n"
}

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
	for _, want := range []string{">1,550.5<", ">not measured<", ">smuxkit v2<", compared[1].title, "more is better", "less is better"} {
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
	} {
		if _, err := readComparison(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
