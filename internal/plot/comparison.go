package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A comparison has a panel of bars for each of some figures: one bar for each implementation.
type comparison struct {
	names  []string // of the implementations, in the order of the bars
	panels []panel
}

// A panel shows a line of the table.
type panel struct {
	what, title string
	more        bool // is better
	unit        string
	values      []float64 // by implementation; 0: not measured
}

// compared are the panels, by the names that the table has.
var compared = []panel{
	{what: "one stream over 1 Gbit/s and 100 ms, TCP", title: "One stream over 1 Gbit/s and 100 ms", more: true},
	{what: "calls (open, echo, close), 64 at once", title: "Calls: open, echo, close", more: true},
	{what: "64 streams, 16 KiB writes", title: "64 streams, within a machine", more: true},
	{what: "the same beside 8 bulk streams, median", title: "Round trip beside bulk data, median"},
	{what: "memory of an idle session", title: "Memory of an idle session"},
	{what: "memory of an idle stream", title: "Memory of an idle stream"},
}

// readComparison reads the first table of a page. Panels whose line has no figures are left out.
func readComparison(page string) (comparison, error) {
	_, rest, _ := strings.Cut(page, "<!-- first:begin -->")
	table, _, ok := strings.Cut(rest, "<!-- first:end -->")
	if !ok {
		return comparison{}, fmt.Errorf("%s has no first table", performance)
	}
	var lines [][]string
	for line := range strings.Lines(table) {
		fields := strings.Split(strings.Trim(line, "| \n"), "|")
		for i, f := range fields {
			fields[i] = strings.TrimSpace(f)
		}
		if len(fields) > 2 && !strings.HasPrefix(fields[0], "--") {
			lines = append(lines, fields)
		}
	}
	if len(lines) == 0 {
		return comparison{}, fmt.Errorf("the first table of %s is empty", performance)
	}
	c := comparison{names: lines[0][2:]}
	for _, p := range compared {
		i := slices.IndexFunc(lines, func(l []string) bool { return l[0] == p.what })
		if i < 0 || len(lines[i]) != len(lines[0]) {
			return comparison{}, fmt.Errorf("the first table of %s has no line %q", performance, p.what)
		}
		p.unit = lines[i][1]
		for _, text := range lines[i][2:] {
			v, _ := strconv.ParseFloat(text, 64) // "-" and the like: not measured
			p.values = append(p.values, v)
		}
		if slices.Max(p.values) > 0 {
			c.panels = append(c.panels, p)
		}
	}
	return c, nil
}

// The sizes of the drawing, in its units.
const (
	panelsAcross               = 3
	panelWidth, panelTop       = 320, 52
	barStep, barHeight         = 19, 13
	barLeft, barSpace, gutters = 100, 130, 16
)

// svg returns the drawing. It needs no fonts or scripts, and has its own background for dark pages.
func (c comparison) svg() []byte {
	panelHeight := panelTop + barStep*len(c.names) + 16
	down := (len(c.panels) + panelsAcross - 1) / panelsAcross
	width, height := panelsAcross*panelWidth+gutters, 40+down*panelHeight

	var b bytes.Buffer
	printf := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`, width, height)
	printf(`<!-- Made by: go run ./internal/plot, from the first table of docs/performance.md -->`)
	printf(`<title>smuxkit next to other multiplexers</title>`)
	printf(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	printf(`<text x="%d" y="26" font-size="15" font-weight="bold">smuxkit next to other multiplexers, measured side by side</text>`, gutters)
	for i, p := range c.panels {
		x, y := gutters+i%panelsAcross*panelWidth, 40+i/panelsAcross*panelHeight
		better := "less is better"
		if p.more {
			better = "more is better"
		}
		printf(`<text x="%d" y="%d" font-weight="bold">%s</text>`, x, y+20, p.title)
		printf(`<text x="%d" y="%d" fill="#666">%s, %s</text>`, x, y+37, p.unit, better)
		for n, v := range p.values {
			top := y + panelTop + barStep*n
			printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`, x+barLeft-6, top+barHeight-2, c.names[n])
			if v == 0 {
				printf(`<text x="%d" y="%d" fill="#999">not measured</text>`, x+barLeft, top+barHeight-2)
				continue
			}
			colour := "#b9bec6"
			if strings.HasPrefix(c.names[n], "smuxkit") {
				colour = "#1f5fa8"
			}
			length := max(1, v/slices.Max(p.values)*barSpace)
			printf(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, x+barLeft, top, length, barHeight, colour)
			printf(`<text x="%.1f" y="%d">%s</text>`, float64(x+barLeft)+length+5, top+barHeight-2, grouped(v))
		}
	}
	printf(`</svg>`)
	return b.Bytes()
}

// grouped has a comma before each three digits of a large number.
func grouped(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole
}
