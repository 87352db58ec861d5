package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The page docs/performance.md has two generated parts: the first table, and everything else. Standard output has both.

// report returns both parts as markdown.
func report(rs []*row, res *results) string {
	text := figuresPart(rs, res)
	if first := firstTable(rs, res); first != nil {
		text = markdown(first) + "\n" + text
	}
	return text
}

// firstColumns are the peers in the first table.
var firstColumns = []struct{ peer, title string }{
	{"ours-v1", "smuxkit v1"}, {"ours-v2", "smuxkit v2"}, {"xtaci-v1", "xtaci/smux v1"}, {"xtaci-v2", "xtaci/smux v2"},
	{"yamux", "yamux"}, {"go-yamux", "go-yamux"}, {"muxado", "muxado"},
}

// firstTable has the lines that a user decides by. It is the source of the chart as well.
func firstTable(rs []*row, res *results) [][]string {
	header := []string{"what", "unit"}
	for _, c := range firstColumns {
		header = append(header, c.title)
	}
	lines := [][]string{header}
	for _, f := range firsts {
		i := slices.IndexFunc(rs, func(r *row) bool { return r.name == f.row })
		if i < 0 {
			continue
		}
		l := rs[i].line(f.figure)
		fields := []string{f.what, l.unit}
		for _, c := range firstColumns {
			text := "-"
			if value, ok := res.row(f.row)[c.peer].figure(f.figure); ok {
				text = l.format(value)
			}
			fields = append(fields, text)
		}
		lines = append(lines, fields)
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}

// figuresPart returns the targets, where the figures come from, and all figures.
func figuresPart(rs []*row, res *results) string {
	var b strings.Builder
	if targets := targetTable(rs, res); len(targets) > 1 {
		fmt.Fprintf(&b, "### Targets\n\n%s\n\n%s", targetNote, markdown(targets))
	}
	b.WriteString(runs(rs, res))
	works := [][]string{{"row", "work"}}
	for _, r := range rs {
		works = append(works, []string{r.name, r.work})
	}
	fmt.Fprintf(&b, "\n### Rows\n\n%s", markdown(works))
	for _, t := range tables {
		b.WriteString(t.text(rs, res))
	}
	if notes := notes(rs, res); len(notes) > 0 {
		b.WriteString("\n### Notes\n\n")
		for _, n := range notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	return b.String()
}

const targetNote = `Best peer: the best of the other multiplexers. Raw: the same path without a multiplexer, where each stream is a
connection. The ratio is that of version 1 / version 2 to what the target names; of a target without a ×, it is the figure.`

// targetTable says of each target whether it is met.
func targetTable(rs []*row, res *results) [][]string {
	lines := [][]string{{"row", "figure", "smuxkit v1", "smuxkit v2", "best peer", "target", "ratio", "verdict"}}
	for _, r := range rs {
		for _, l := range r.lines {
			if l.table == alloc || len(l.targets) == 0 {
				continue
			}
			v := l.judge(r, res, peers)
			fields := []string{r.name, l.name()}
			for _, p := range ours {
				fields = append(fields, l.value(r, p, res, v))
			}
			best := "-"
			if value, ok := v.values[v.best]; ok {
				best = l.format(value) + " " + v.best
			}
			for _, j := range v.targets {
				result := j.result
				if result == "" {
					result = "not measured"
				}
				lines = append(lines, append(slices.Clip(fields), best, j.text, j.ratio, result))
			}
		}
	}
	return lines
}

// runs says of each run where its figures come from, and which rows are of it.
func runs(rs []*row, res *results) string {
	var b strings.Builder
	var numbers []int
	names := map[int][]string{}
	for _, r := range rs {
		if result := res.Rows[r.name]; result != nil {
			if !slices.Contains(numbers, result.Run) {
				numbers = append(numbers, result.Run)
			}
			names[result.Run] = append(names[result.Run], r.name)
		}
	}
	b.WriteString("\n### Where the figures come from\n")
	for _, n := range numbers {
		fmt.Fprintf(&b, "\n%s", res.Runs[n])
		if len(numbers) > 1 {
			fmt.Fprintf(&b, "- Rows: %s.\n", strings.Join(names[n], ", "))
		}
	}
	return b.String()
}

// text is the table with its title: the figures of all peers that have some, and ours as ratios.
func (t *table) text(rs []*row, res *results) string {
	type entry struct {
		row  *row
		line *line
		verdict
	}
	var entries []entry
	measured := map[string]bool{}
	for _, r := range rs {
		for i := range r.lines {
			l := &r.lines[i]
			if l.table != t || res.row(r.name) == nil {
				continue
			}
			entries = append(entries, entry{r, l, l.judge(r, res, peers)})
			for name := range res.row(r.name) {
				measured[name] = true
			}
		}
	}
	if len(entries) == 0 {
		return ""
	}
	header := []string{"row", "figure"}
	var ps []*peer
	for _, p := range peers {
		if measured[p.name] {
			ps, header = append(ps, p), append(header, p.name)
		}
	}
	values, ratios := [][]string{header}, [][]string{{"row", "figure", "best peer", "ours / best peer", "ours / raw"}}
	for _, e := range entries {
		fields := []string{e.row.name, e.line.name()}
		for _, p := range ps {
			fields = append(fields, e.line.value(e.row, p, res, e.verdict))
		}
		values = append(values, fields)
		if e.overBest+e.overRaw != "" {
			ratios = append(ratios, []string{e.row.name, e.line.name(), e.best, e.overBest, e.overRaw})
		}
	}
	text := fmt.Sprintf("\n### %s\n\n", t.title)
	if t.note != "" {
		text += t.note + "\n\n"
	}
	text += markdown(values)
	if len(ratios) > 1 {
		text += "\n" + markdown(ratios)
	}
	return text
}

// name says what the line measures, and in which unit.
func (l *line) name() string {
	return strings.Join(slices.DeleteFunc([]string{l.label, l.unit}, func(s string) bool { return s == "" }), ", ")
}

// value is p's figure, or why there is none.
func (l *line) value(r *row, p *peer, res *results, v verdict) string {
	if value, ok := v.values[p.name]; ok {
		return l.format(value)
	}
	if c := res.row(r.name)[p.name]; c != nil && c.Failed != "" {
		text, _, _ := strings.Cut(c.Failed, ":")
		return text
	}
	return "-"
}

// notes says what the tables cannot.
func notes(rs []*row, res *results) (notes []string) {
	for _, r := range rs {
		for _, p := range peers {
			c := res.row(r.name)[p.name]
			switch {
			case c == nil:
			case c.Failed != "":
				notes = append(notes, fmt.Sprintf("%s, %s: %s", r.name, p.name, c.Failed))
			case c.Skipped != "":
				notes = append(notes, fmt.Sprintf("%s, %s: not measured, %s.", r.name, p.name, c.Skipped))
			case c.Size != 0:
				notes = append(notes, fmt.Sprintf("%s, %s: the best of several write sizes, %d KiB.", r.name, p.name, c.Size>>10))
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

// The parts of the page that writePage replaces.
const (
	firstPart = "first"
	allPart   = "bench"
)

// writePage puts both parts between their marks in file, and leaves what is around them as it is.
func writePage(file string, res *results) error {
	old, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		old, err = []byte("# Performance\n"), os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(page(string(old), res)), 0o644)
}

// page returns old with both parts made from res.
func page(old string, res *results) string {
	return splice(splice(old, firstPart, markdown(firstTable(rows, res))), allPart, figuresPart(rows, res))
}

// splice puts text between the marks of a part. A page without marks gets them at its end.
func splice(page, part, text string) string {
	begin, end := "<!-- "+part+":begin -->", "<!-- "+part+":end -->"
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		before, after = strings.TrimRight(page, "\n")+"\n\n", "\n"
	}
	return before + begin + "\n" + text + end + after
}
