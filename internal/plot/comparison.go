package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
)

// A comparison has a panel of bars for each of some figures: one bar for each implementation.
type comparison struct {
	names  []string // of the implementations, in the order of the bars
	panels []panel
	source []string // lines that say when and where the figures were measured, and of which versions
}

// A panel shows a line of the table.
type panel struct {
	what, row   string // the names of the line, and of the row that it is from
	title, unit string
	more        bool      // is better
	values      []float64 // by implementation; 0: not measured
}

// compared are the panels, by the names that the table has.
var compared = []panel{
	{what: "one stream over 1 Gbit/s and 100 ms, TCP", row: "link-256m", title: "One stream over 1 Gbit/s, 100 ms", more: true},
	{what: "calls (open, echo, close), 64 at once", row: "calls-64", title: "Calls, 64 at once", more: true},
	{what: "64 streams, 16 KiB writes", row: "bulk-64", title: "64 streams within a machine", more: true},
	{what: "the same beside 8 bulk streams, median", row: "beside-two", title: "Round trip beside bulk data, median"},
	{what: "memory of an idle session", row: "idle-sessions", title: "Memory of an idle session, one end"},
	{what: "memory of an idle stream", row: "idle-streams", title: "Memory of an idle stream, one end"},
}

// units are names of the table's units for people who see the chart alone.
var units = map[string]string{"k/s": "1,000 a second", "us": "µs", "B": "bytes"}

// readComparison reads the first table of a page, and what the page says of where the figures are from. Panels whose line
// has no figures are left out.
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
	var rows []string
	for _, p := range compared {
		i := slices.IndexFunc(lines, func(l []string) bool { return l[0] == p.what })
		if i < 0 || len(lines[i]) != len(lines[0]) {
			return comparison{}, fmt.Errorf("the first table of %s has no line %q", performance, p.what)
		}
		p.unit = cmp.Or(units[lines[i][1]], lines[i][1])
		for _, text := range lines[i][2:] {
			v, _ := strconv.ParseFloat(text, 64) // "-" and the like: not measured
			p.values = append(p.values, v)
		}
		if slices.Max(p.values) > 0 {
			c.panels = append(c.panels, p)
			rows = append(rows, p.row)
		}
	}
	var err error
	c.source, err = readSource(page, rows)
	return c, err
}

// The sizes of the drawing, in its units.
const (
	panelsAcross               = 3
	panelWidth, panelTop       = 288, 52
	barStep, barHeight         = 19, 13
	barLeft, barSpace, gutters = 94, 122, 16
	headHeight, footHeight     = 54, 48
)

// style has the colours, for light pages and for dark ones. The drawing has its own background, so it can be read on
// either, whichever of the two a browser takes.
const style = `<style>
.page{fill:#fff;stroke:#d1d9e0} text{fill:#1f2328} .note{fill:#59636e} .ours{fill:#0969da} .other{fill:#afb8c1} .zero{stroke:#818b98}
@media (prefers-color-scheme: dark){
.page{fill:#0d1117;stroke:#3d444d} text{fill:#f0f6fc} .note{fill:#9198a1} .ours{fill:#4493f8} .other{fill:#59636e} .zero{stroke:#9198a1}
}
</style>`

// svg returns the drawing. It needs no fonts or scripts.
func (c comparison) svg() []byte {
	panelHeight := panelTop + barStep*len(c.names) + 16
	down := (len(c.panels) + panelsAcross - 1) / panelsAcross
	width, height := panelsAcross*panelWidth+gutters, headHeight+down*panelHeight+footHeight

	var b bytes.Buffer
	printf := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, width, height)
	printf(`<!-- Made by: go run ./internal/plot -only comparison, from docs/performance.md -->`)
	printf(`<title>smuxkit beside other multiplexers</title>`)
	printf(`%s`, style)
	printf(`<rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`, width-1, height-1)
	printf(`<text x="%d" y="26" font-size="15" font-weight="bold">smuxkit beside other multiplexers, over TCP</text>`, gutters)
	printf(`<text class="note" x="%d" y="44">Each scale begins at zero. v1 and v2 are versions of the smux protocol. In brackets: the row of docs/performance.md.</text>`, gutters)
	for i, p := range c.panels {
		c.drawPanel(printf, p, gutters+i%panelsAcross*panelWidth, headHeight+i/panelsAcross*panelHeight)
	}
	for i, line := range c.source {
		printf(`<text class="note" x="%d" y="%d" font-size="11">%s</text>`, gutters, height-footHeight+18+16*i, html.EscapeString(line))
	}
	printf(`</svg>`)
	return b.Bytes()
}

// drawPanel draws p with its upper left corner at x, y.
func (c comparison) drawPanel(printf func(format string, args ...any), p panel, x, y int) {
	better := "less is better"
	if p.more {
		better = "more is better"
	}
	zero := x + barLeft
	printf(`<text x="%d" y="%d" font-weight="bold">%s</text>`, x, y+20, p.title)
	printf(`<text class="note" x="%d" y="%d" font-size="11">%s, %s (%s)</text>`, x, y+37, p.unit, better, p.row)
	for n, v := range p.values {
		top := y + panelTop + barStep*n
		printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`, zero-6, top+barHeight-2, c.names[n])
		if v == 0 {
			printf(`<text class="note" x="%d" y="%d">not measured</text>`, zero+5, top+barHeight-2)
			continue
		}
		class := "other"
		if strings.HasPrefix(c.names[n], "smuxkit") {
			class = "ours"
		}
		length := max(1, v/slices.Max(p.values)*barSpace)
		printf(`<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, class, zero, top, length, barHeight)
		printf(`<text x="%.1f" y="%d">%s</text>`, float64(zero)+length+5, top+barHeight-2, grouped(v))
	}
	printf(`<line class="zero" x1="%d" y1="%d" x2="%d" y2="%d"/>`, zero, y+panelTop-3, zero, y+panelTop+barStep*len(p.values)-3)
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
