package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A chart has curves of MB/s over time, one step for each bin.
type chart struct {
	title, legend string
	curves        []curve
	rule          float64 // where a dashed line is drawn
	ruleAs        string  // its label
}

type curve struct {
	name, colour string
	mbps         []float64
}

// The sizes of the drawing, in its units.
const (
	width, height            = 860, 400
	left, right, top, bottom = 64, 20, 88, 48

	legendY, legendStep = 66, 140 // the line of the legend, and from one entry to the next
)

// highest returns the upper end of the scale.
func (c chart) highest() float64 {
	most := c.rule
	for _, curve := range c.curves {
		most = max(most, slices.Max(curve.mbps))
	}
	return math.Ceil(most/2) * 2
}

// svg returns the drawing. It needs no fonts or scripts, and has its own background for dark pages.
func (c chart) svg() []byte {
	highest := c.highest()
	seconds := runTime.Seconds()
	x := func(s float64) float64 { return left + s/seconds*(width-left-right) }
	y := func(mbps float64) float64 { return height - bottom - mbps/highest*(height-top-bottom) }

	var b bytes.Buffer
	printf := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`, width, height)
	printf(`<!-- Made by: go run ./internal/plot -->`)
	printf(`<title>%s</title>`, c.title)
	printf(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	printf(`<text x="%d" y="24" font-size="15" font-weight="bold">%s</text>`, left, c.title)
	printf(`<text x="%d" y="44">%s</text>`, left, c.legend)

	for v := 0.0; v <= highest; v += 2 {
		printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, left, y(v), width-right, y(v))
		printf(`<text x="%d" y="%.1f" text-anchor="end">%g</text>`, left-8, y(v)+4, v)
	}
	for s := 0.0; s <= seconds; s += 0.5 {
		printf(`<text x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(s), height-bottom+18, s)
	}
	printf(`<text x="%d" y="%d" text-anchor="middle">seconds</text>`, (left+width-right)/2, height-10)
	printf(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">MB/s</text>`, (top+height-bottom)/2)

	printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#555" stroke-dasharray="6 4"/>`, left, y(c.rule), width-right, y(c.rule))
	at := left + legendStep*len(c.curves)
	printf(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#555" stroke-dasharray="6 4"/>`, at, legendY, at+28, legendY)
	printf(`<text x="%d" y="%d">%s</text>`, at+36, legendY+4, c.ruleAs)
	for i, curve := range c.curves {
		var points []string
		step := seconds / float64(len(curve.mbps))
		for bin, v := range curve.mbps {
			at := float64(bin) * step
			points = append(points, fmt.Sprintf("%.1f,%.1f %.1f,%.1f", x(at), y(v), x(at+step), y(v)))
		}
		printf(`<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`, curve.colour, strings.Join(points, " "))
		at := left + legendStep*i
		printf(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="3"/>`, at, legendY, at+28, legendY, curve.colour)
		printf(`<text x="%d" y="%d">%s</text>`, at+36, legendY+4, curve.name)
	}
	printf(`</svg>`)
	return b.Bytes()
}
