// Plot draws the charts in docs. Run it in the module's root:
//
//	go run ./internal/plot                     both
//	go run ./internal/plot -only comparison    one
//
// docs/receive-rate.svg is what a session receives over time, with and without a Config.ReceiveRate. The two sessions
// of each curve run over a simulated network in virtual time. The figure therefore takes a moment, and is the same on
// every machine, except that a few reads may fall into the next bin.
//
// docs/comparison.svg shows the first table of docs/performance.md, which internal/bench measures.
package main

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
)

const (
	rateFile       = "docs/receive-rate.svg"
	comparisonFile = "docs/comparison.svg"
	performance    = "docs/performance.md"
)

var only = flag.String("only", "", "draw this chart alone: receive-rate or comparison")

// Virtual time exists in tests only, so this program runs one.
func main() {
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "plot", F: plot}}, nil, nil)
}

func plot(t *testing.T) {
	if *only == "" || *only == "receive-rate" {
		if err := os.WriteFile(rateFile, figure(t).svg(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Println("drawn:", rateFile)
	}
	if *only == "" || *only == "comparison" {
		page, err := os.ReadFile(performance)
		if err != nil {
			t.Fatal(err)
		}
		c, err := readComparison(string(page))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(comparisonFile, c.svg(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Println("drawn:", comparisonFile)
	}
}

// figure measures both curves.
func figure(t *testing.T) chart {
	c := chart{
		title:  "What a session receives over time, with and without Config.ReceiveRate",
		legend: "Every 1.5 s its peer has 6 MB to send, over a path of 100 Mbit/s and 20 ms. Bytes per 50 ms.",
		rule:   limit.BytesPerSecond / 1e6,
		ruleAs: "ReceiveRate: 4 MB/s, Burst: 1 MB",
	}
	synctest.Test(t, func(t *testing.T) {
		c.curves = append(c.curves, curve{"no limit", "#c4602a", received(t, unlimited)})
	})
	synctest.Test(t, func(t *testing.T) {
		c.curves = append(c.curves, curve{"token bucket", "#1f5fa8", received(t, limit)})
	})
	return c
}
