package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A cell holds what was measured of one peer in one row.
type cell struct {
	samples []figures
	skipped string // why there are none
	failed  error  // what ended the series
	size    int    // the write size, where raw TCP had a choice
}

// median is the median of one figure; ok is false if there is none.
func (c *cell) median(figure string) (value float64, ok bool) {
	if c == nil || len(c.samples) == 0 {
		return 0, false
	}
	var values []float64
	for _, s := range c.samples {
		values = append(values, s[figure])
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// results are the cells by row and peer.
type results map[string]map[string]*cell

// A verdict compares the figures of a line.
type verdict struct {
	values     map[string]float64 // by peer, rounded as they are printed
	best       string             // the best peer that is neither ours nor raw TCP
	overBest   string             // ours, as a ratio to it
	overRaw    string             // ours, as a ratio to raw TCP
	target     string
	met        string
	shortfalls []string // for each of ours that misses the target: by how much
}

func (l *line) judge(cells map[string]*cell, peers []*peer) verdict {
	v := verdict{values: map[string]float64{}}
	for _, p := range peers {
		value, ok := cells[p.name].median(l.figure)
		if !ok {
			continue
		}
		value = l.round(value)
		v.values[p.name] = value
		if p.ours || p.raw() {
			continue
		}
		if best, ok := v.values[v.best]; !ok || l.better(value, best) {
			v.best = p.name
		}
	}
	v.overBest = l.ratios(v, v.best, peers)
	v.overRaw = l.ratios(v, "raw", peers)

	var texts []string
	measured := false
	met := true
	for _, t := range l.targets {
		texts = append(texts, l.describe(t))
		for _, p := range peers {
			value, ok := v.values[p.name]
			bound, known := l.bound(t, v)
			if !p.ours || !ok || !known {
				continue
			}
			measured = true
			if value != bound && !l.better(value, bound) {
				met = false
				v.shortfalls = append(v.shortfalls, fmt.Sprintf("%s: %s, target %s", p.name, l.format(value), l.format(bound)))
			}
		}
	}
	v.target = strings.Join(texts, ", ")
	switch {
	case !measured:
	case met:
		v.met = "yes"
	default:
		v.met = "no"
	}
	return v
}

func (l *line) better(a, b float64) bool {
	if l.higher {
		return a > b
	}
	return a < b
}

// bound is the value that meets t.
func (l *line) bound(t target, v verdict) (value float64, known bool) {
	switch t.against {
	case bestPeer:
		value, known = v.values[v.best]
		return value * t.factor, known
	case rawTCP:
		value, known = v.values["raw"]
		return value * t.factor, known
	default:
		return t.factor, true
	}
}

func (l *line) describe(t target) string {
	sign := "≤"
	if l.higher {
		sign = "≥"
	}
	switch t.against {
	case bestPeer:
		return fmt.Sprintf("%s %g × best peer", sign, t.factor)
	case rawTCP:
		return fmt.Sprintf("%s %g × raw TCP", sign, t.factor)
	default:
		return fmt.Sprintf("%s %s", sign, strings.TrimSpace(strconv.FormatFloat(t.factor, 'f', -1, 64)+" "+l.unit))
	}
}

// ratios returns our figures as multiples of other's.
func (l *line) ratios(v verdict, other string, peers []*peer) string {
	base, ok := v.values[other]
	if !ok || base == 0 {
		return ""
	}
	var texts []string
	for _, p := range peers {
		if value, ok := v.values[p.name]; ok && p.ours {
			texts = append(texts, fmt.Sprintf("%.2f", value/base))
		}
	}
	return strings.Join(texts, " / ")
}

// round keeps three digits of a figure, which is as far as it can be trusted. Of
// allocations it keeps hundredths, because the runtime makes some of its own.
func (l *line) round(v float64) float64 {
	if l.unit == "allocs" {
		return math.Round(v*100) / 100
	}
	three, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return three
}

func (l *line) format(v float64) string {
	if l.unit == "allocs" {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(l.round(v), 'f', -1, 64)
}

// report returns the report as markdown: the overview, where the figures come from, and all
// figures. No table is wider than a page.
func report(header string, rs []*row, ps []*peer, res results) string {
	var b strings.Builder
	if lines := overview(rs, ps, res); len(lines) > 1 {
		first := markdown(lines)
		if len(chartBars(first)) > 0 {
			fmt.Fprintf(&b, "![%s](%s)\n\n", chartTitle, chartFile)
		}
		fmt.Fprintf(&b, "%s\n%s\n\n", first, overviewNote)
	}
	b.WriteString(header)
	works := [][]string{{"row", "work"}}
	for _, r := range rs {
		works = append(works, []string{r.name, r.work})
	}
	fmt.Fprintf(&b, "\n### Rows\n\n%s", markdown(works))
	for _, t := range tables {
		values, ratios := [][]string{t.header(ps)}, [][]string{ratioHeader}
		for _, r := range rs {
			for _, l := range r.lines {
				if l.table == t {
					v := l.judge(res[r.name], ps)
					values = append(values, l.values(r, ps, res[r.name], v))
					ratios = append(ratios, []string{r.name, l.name(), v.best, v.overBest, v.overRaw, v.target, v.met})
				}
			}
		}
		if len(values) == 1 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", t.title)
		if t.note != "" {
			fmt.Fprintf(&b, "%s\n\n", t.note)
		}
		fmt.Fprintf(&b, "%s\n%s", markdown(values), markdown(ratios))
	}
	if notes := notes(rs, ps, res); len(notes) > 0 {
		b.WriteString("\n### Notes\n\n")
		for _, n := range notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	return b.String()
}

var ratioHeader = []string{"row", "figure", "best peer", "ours / best peer", "ours / raw", "target", "met"}

func (t *table) header(ps []*peer) []string {
	h := []string{"row", "figure"}
	for _, p := range ps {
		h = append(h, p.name)
	}
	return h
}

// name says what the line measures, and in which unit.
func (l *line) name() string {
	return strings.Join(slices.DeleteFunc([]string{l.label, l.unit}, func(s string) bool { return s == "" }), ", ")
}

// values is the line with each peer's figure, or why there is none.
func (l *line) values(r *row, ps []*peer, cells map[string]*cell, v verdict) []string {
	f := []string{r.name, l.name()}
	for _, p := range ps {
		text := "-"
		if value, ok := v.values[p.name]; ok {
			text = l.format(value)
		} else if c := cells[p.name]; c != nil && c.failed != nil {
			text, _, _ = strings.Cut(c.failed.Error(), ":")
		}
		f = append(f, text)
	}
	return f
}

// notes says what the tables cannot.
func notes(rs []*row, ps []*peer, res results) (notes []string) {
	for _, r := range rs {
		for _, p := range ps {
			c := res[r.name][p.name]
			if c == nil {
				continue
			}
			if c.size != 0 {
				notes = append(notes, fmt.Sprintf("%s, %s: the best of several write sizes, %d KiB.", r.name, p.name, c.size>>10))
			}
			if len(c.skipped) > 1 {
				notes = append(notes, fmt.Sprintf("%s, %s: not measured, %s.", r.name, p.name, c.skipped))
			}
			if c.failed != nil {
				notes = append(notes, fmt.Sprintf("%s, %s: round %d %v", r.name, p.name, len(c.samples)+1, c.failed))
			}
		}
		for _, l := range r.lines {
			for _, s := range l.judge(res[r.name], ps).shortfalls {
				notes = append(notes, fmt.Sprintf("%s misses its target: %s (%s).", r.name, s, strings.TrimSpace(l.label+" "+l.unit)))
			}
		}
	}
	return notes
}

// markdown aligns lines into a table that reads well in a terminal too.
func markdown(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, fields := range lines {
		for i, f := range fields {
			widths[i] = max(widths[i], len([]rune(f)))
		}
	}
	var b strings.Builder
	for n, fields := range lines {
		for i, f := range fields {
			fmt.Fprintf(&b, "| %s%s ", f, strings.Repeat(" ", widths[i]-len([]rune(f))))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				fmt.Fprintf(&b, "|%s", strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// save puts text between the marks in file, and leaves what is around them as it
// is. A file without marks gets them at its end; a missing file is made. The chart is
// written next to the file.
func save(file, text string) error {
	old, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		old = []byte("# Performance\n")
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err != nil {
		return err
	}
	if bars := chartBars(text); len(bars) > 0 {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), chartFile), chart(bars), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(splice(string(old), text)), 0o644)
}

func splice(page, text string) string {
	before, rest, found := strings.Cut(page, beginMark)
	_, after, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		before, after = strings.TrimRight(page, "\n")+"\n\n", "\n"
	}
	return before + beginMark + "\n" + text + endMark + after
}
