package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A verdict compares the figures of a line.
type verdict struct {
	values   map[string]float64 // by peer, rounded as they are printed
	best     string             // the best peer that is neither ours nor raw nor aside
	overBest string             // ours, as a ratio to it
	overRaw  string             // ours, as a ratio to raw
	targets  []judged
}

// A judged target says what each of our versions reached.
type judged struct {
	text   string // the target
	ratio  string // ours, as a ratio to what the target refers to; of an absolute target, ours
	result string // for people; empty: not measured
}

func (l *line) judge(r *row, res *results, ps []*peer) verdict {
	cells := res.row(r.name)
	v := verdict{values: map[string]float64{}}
	for _, p := range ps {
		value, ok := cells[p.name].figure(l.figure)
		if !ok {
			continue
		}
		value = l.round(value)
		v.values[p.name] = value
		if p.ours || p.raw() || p.aside {
			continue
		}
		if best, ok := v.values[v.best]; !ok || l.better(value, best) {
			v.best = p.name
		}
	}
	v.overBest = l.ratios(v, v.best, ps)
	v.overRaw = l.ratios(v, "raw", ps)
	for _, t := range l.targets {
		v.targets = append(v.targets, l.judgeTarget(t, v, res, ps))
	}
	return v
}

// judgeTarget compares each of our versions with t. A target is met if all that it is for meet it.
func (l *line) judgeTarget(t target, v verdict, res *results, ps []*peer) judged {
	j := judged{text: l.describe(t)}
	var ratios, missed []string
	for _, p := range ps {
		if !p.ours || t.version != 0 && p.name != ours[t.version-1].name {
			continue
		}
		value, ok := v.values[p.name]
		base, known := l.base(t, p, v, res)
		if !ok || !known {
			continue
		}
		if t.against == absolute {
			ratios = append(ratios, l.format(value))
		} else if base != 0 {
			ratios = append(ratios, fmt.Sprintf("%.2f", value/base))
		}
		bound := base * t.factor
		if value != bound && !l.better(value, bound) {
			missed = append(missed, strings.TrimPrefix(p.name, "ours-"))
		}
	}
	j.ratio = strings.Join(ratios, " / ")
	switch {
	case len(ratios) == 0 && len(missed) == 0:
	case len(missed) == 0:
		j.result = "met"
	case len(missed) == 1 && len(ratios) > 1:
		j.result = "missed by " + missed[0]
	default:
		j.result = "missed"
	}
	return j
}

func (l *line) better(a, b float64) bool {
	if l.higher {
		return a > b
	}
	return a < b
}

// base is what t refers to, for our peer p; the target is factor times that.
func (l *line) base(t target, p *peer, v verdict, res *results) (value float64, known bool) {
	switch t.against {
	case bestPeer:
		value, known = v.values[v.best]
	case rawTCP:
		value, known = v.values["raw"]
	case versionOne:
		value, known = v.values[ours[0].name]
	case sameRow:
		value, known = res.row(t.row)[p.name].figure(l.figure)
		value = l.round(value)
	case absolute:
		value, known = 1, true
	}
	return value, known
}

func (l *line) describe(t target) string {
	sign := "≤"
	if l.higher {
		sign = "≥"
	}
	factor := strconv.FormatFloat(math.Round(t.factor*100)/100, 'f', -1, 64)
	text := map[against]string{
		bestPeer: "× best peer", rawTCP: "× raw", versionOne: "× version 1", sameRow: "× " + t.row, absolute: l.unit,
	}[t.against]
	text = strings.TrimSpace(fmt.Sprintf("%s %s %s", sign, factor, text))
	if t.version != 0 {
		text += fmt.Sprintf(" (v%d)", t.version)
	}
	return text
}

// ratios returns our figures as multiples of other's.
func (l *line) ratios(v verdict, other string, ps []*peer) string {
	base, ok := v.values[other]
	if !ok || base == 0 {
		return ""
	}
	var texts []string
	for _, p := range ps {
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
