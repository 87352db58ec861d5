package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The overview is the table that a report begins with, and the chart of it.

const (
	chartFile  = "performance.svg"
	chartTitle = "How many times better smuxkit is than the best other implementation, for each row"

	overviewNote = `Best other: the best of the other implementations, raw TCP not counted. Times better, for version 1 /
version 2: smuxkit's throughput as a multiple of the best other's, or the best other's time or memory
as a multiple of smuxkit's. Above 1, smuxkit is better. The tables below call smuxkit ours-v1 and ours-v2.`
)

// overview returns the lines of the speed table with ours and the best of the others.
func overview(rs []*row, ps []*peer, res results) [][]string {
	header := []string{"row", "figure"}
	for _, p := range ps {
		if p.ours {
			header = append(header, strings.Replace(p.name, "ours-", "smuxkit ", 1))
		}
	}
	lines := [][]string{append(header, "best other", "times better")}
	for _, r := range rs {
		for _, l := range r.lines {
			v := l.judge(res[r.name], ps)
			best, ok := v.values[v.best]
			if l.table != speed || !ok {
				continue
			}
			fields := []string{r.name, l.name()}
			var times []string
			for _, p := range ps {
				if !p.ours {
					continue
				}
				value, better := "-", "-"
				if x, ok := v.values[p.name]; ok {
					value, better = l.format(x), l.timesBetter(x, best)
				}
				fields, times = append(fields, value), append(times, better)
			}
			lines = append(lines, append(fields, l.format(best)+" "+v.best, strings.Join(times, " / ")))
		}
	}
	return lines
}

// timesBetter returns how many times better a is than b.
func (l *line) timesBetter(a, b float64) string {
	if !l.higher {
		a, b = b, a
	}
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// A bar is a line of the overview: its name, and how many times better version 1 and 2 are; 0 if that is
// not known.
type bar struct {
	name  string
	times [2]float64
}

// chartBars returns the bars of the overview in text, or none if it has no overview of both versions. So the chart
// shows what the table says.
func chartBars(text string) (bars []bar) {
	inTable := false
	for line := range strings.Lines(text) {
		var fields []string
		for _, f := range strings.Split(strings.Trim(line, "| \n"), "|") {
			fields = append(fields, strings.TrimSpace(f))
		}
		switch {
		case slices.Equal(fields, []string{"row", "figure", "smuxkit v1", "smuxkit v2", "best other", "times better"}):
			inTable = true
		case !inTable:
		case len(fields) != 6:
			return bars
		case !strings.HasPrefix(fields[0], "-"):
			b := bar{name: fields[0] + ": " + fields[1]}
			v1, v2, _ := strings.Cut(fields[5], " / ")
			b.times[0], _ = strconv.ParseFloat(v1, 64)
			b.times[1], _ = strconv.ParseFloat(v2, 64)
			bars = append(bars, b)
		}
	}
	return bars
}

// The measures of the chart, in its units.
const (
	chartWidth = 860
	namesWidth = 330
	chartTop   = 84
	barsHeight = 22 // of the two bars of a line
	barHeight  = 8
)

var barColours = [2]string{"#c4602a", "#1f5fa8"}

// chart returns the drawing of bars, on a logarithmic scale from the line at 1. It needs no fonts or scripts, and has a
// background of its own, so that it can be read on a dark page as well.
func chart(bars []bar) []byte {
	low, high := 0.5, 2.0
	for _, b := range bars {
		for _, t := range b.times {
			if t > 0 {
				low, high = min(low, math.Exp2(math.Floor(math.Log2(t)))), max(high, math.Exp2(math.Ceil(math.Log2(t))))
			}
		}
	}
	height := chartTop + barsHeight*len(bars) + 16
	x := func(times float64) float64 {
		return namesWidth + math.Log2(times/low)/math.Log2(high/low)*(chartWidth-namesWidth-50)
	}

	var b bytes.Buffer
	printf := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`, chartWidth, height)
	printf(`<!-- Made by internal/bench, from the first table of performance.md. -->`)
	printf(`<title>%s</title>`, chartTitle)
	printf(`<rect width="%d" height="%d" fill="#fff"/>`, chartWidth, height)
	printf(`<text x="16" y="24" font-size="15" font-weight="bold">%s</text>`, chartTitle)
	printf(`<text x="16" y="44">Higher throughput, or less time or memory. Logarithmic scale; to the right of 1, smuxkit is better.</text>`)
	for i, name := range []string{"version 1", "version 2"} {
		printf(`<rect x="%d" y="54" width="24" height="%d" fill="%s"/><text x="%d" y="63">%s</text>`, 16+110*i, barHeight, barColours[i], 46+110*i, name)
	}
	for t := low; t <= high; t *= 2 {
		colour, width := "#ddd", 1
		if t == 1 {
			colour, width = "#555", 2
		}
		printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="%d"/>`, x(t), chartTop-4, x(t), height-12, colour, width)
		printf(`<text x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(t), chartTop-8, t)
	}
	for i, l := range bars {
		top := chartTop + barsHeight*i
		printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`, namesWidth-14, top+13, l.name)
		for v, t := range l.times {
			if t > 0 {
				from, to := min(x(1), x(t)), max(x(1), x(t))
				printf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, from, top+1+v*(barHeight+1), to-from, barHeight, barColours[v])
			}
		}
	}
	printf(`</svg>`)
	return b.Bytes()
}
