package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// piece is how much a session with this limit reads at once. A piece at the border of two bins may fall into
// either, by the order of events at the same instant.
const piece = 32 << 10

// The figure in docs is the one that the program draws now, except for the curves: the bytes received up to any
// time may differ by two pieces.
func TestFigureInDocsIsUpToDate(t *testing.T) {
	checkedIn, err := os.ReadFile("../../docs/receive-rate.svg")
	if err != nil {
		t.Fatal(err)
	}
	drawn := figure(t)
	points := regexp.MustCompile(`points="[^"]*"`)
	frame, wantFrame := points.ReplaceAllString(string(checkedIn), ""), points.ReplaceAllString(string(drawn.svg()), "")
	if diff := cmp.Diff(wantFrame, frame); diff != "" {
		t.Fatalf("docs/receive-rate.svg differs from what the program draws: go run ./internal/plot (-want +got)\n%s", diff)
	}
	// Both are read from the drawing, so that both are rounded.
	got, want := heights(t, checkedIn), heights(t, drawn.svg())
	if len(got) != len(want) {
		t.Fatalf("docs/receive-rate.svg has %d points, the program draws %d: go run ./internal/plot", len(got), len(want))
	}
	unit := (height - top - bottom) / drawn.highest() // of the drawing, for 1 MB/s
	most, sum := 0.0, 0.0
	for i := 0; i < len(got); i += 2 { // two points a bin
		sum += (want[i] - got[i]) / unit * binTime.Seconds() * 1e6
		most = max(most, math.Abs(sum))
	}
	t.Logf("at most %.0f bytes apart", most)
	if most > 2*piece {
		t.Errorf("docs/receive-rate.svg and what the program draws are up to %.0f bytes apart: go run ./internal/plot", most)
	}
}

// heights returns the second coordinates of all points of all curves.
func heights(t *testing.T, svg []byte) (y []float64) {
	t.Helper()
	for _, curve := range regexp.MustCompile(`points="([^"]*)"`).FindAllSubmatch(svg, -1) {
		for _, point := range bytes.Fields(curve[1]) {
			_, after, _ := bytes.Cut(point, []byte(","))
			v, err := strconv.ParseFloat(string(after), 64)
			if err != nil {
				t.Fatal(err)
			}
			y = append(y, v)
		}
	}
	return y
}

// The figure is well-formed XML.
func TestFigureIsWellFormed(t *testing.T) {
	d := xml.NewDecoder(bytes.NewReader(figure(t).svg()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The figure shows what its text says: without a limit everything that the link carries is received. With a limit
// the burst is received at the link's rate, and then no more than the limit.
func TestFigureShowsWhatItSays(t *testing.T) {
	c := figure(t)
	free, limited := c.curves[0].mbps, c.curves[1].mbps
	if top := slices.Max(free); top < 12 || top > 13 {
		t.Errorf("without a limit at most %.1f MB/s are received, want the link's 12.5", top)
	}
	if top := slices.Max(limited); top < 12 {
		t.Errorf("the burst is received at %.1f MB/s, want the link's 12.5", top)
	}
	step := binTime.Seconds()
	for from := range limited {
		sum := 0.0
		for to := from; to < len(limited); to++ {
			sum += limited[to] * step
			if most := c.rule*float64(to-from+1)*step + float64(limit.Burst)/1e6; sum > most+1e-9 {
				t.Fatalf("%.3f MB in bins %d to %d, want at most %.3f", sum, from, to, most)
			}
		}
	}
	var a, b float64
	for i := range free {
		a, b = a+free[i]*step, b+limited[i]*step
	}
	t.Logf("%.2f MB received without a limit, %.2f MB with one", a, b)
	if math.Abs(a-b) > 0.2 || a < 3*message/1e6 {
		t.Errorf("%.2f MB were received without a limit, %.2f MB with one; want all of %.2f", a, b, 3*message/1e6)
	}
}
