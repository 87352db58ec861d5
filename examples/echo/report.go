package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A report is what a client has measured.
type report struct {
	streams      int
	bytes        int64
	sent, back   time.Duration   // until all was sent, and until all had come back
	idle, beside []time.Duration // round trips before the data, and beside it
	memory       uint64          // bytes, at most
	bothEnds     bool            // the server is in this process, too

	busy              float64 // how many processors were busy
	processors        int     // of how many
	window, transport float64 // which share of the time in which streams sent, their Writes waited for it
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%d streams, %d bytes sent, echoed and checked in %v\n", r.streams, r.bytes, round(r.back))
	fmt.Fprintf(w, "rate        %.1f MB/s out, %.1f MB/s back\n", rate(r.bytes, r.sent), rate(r.bytes, r.back))
	fmt.Fprintf(w, "round trip  %s\n", r.roundTrips())
	ends := "this end"
	if r.bothEnds {
		ends = "both ends"
	}
	fmt.Fprintf(w, "memory      %.1f MB at most, %s\n", float64(r.memory)/1e6, ends)
	fmt.Fprintf(w, "limited by  %v: Writes waited %.0f %% of their time for the window, %.0f %% for the transport;\n"+
		"            %.1f of %d processors were busy, %s\n",
		r.limit(), 100*r.window, 100*r.transport, r.busy, r.processors, ends)
	if r.back < time.Second {
		fmt.Fprintln(w, "That was less than a second: with more -streams or -bytes, the figures vary less.")
	}
}

// rate returns MB/s.
func rate(bytes int64, took time.Duration) float64 {
	return float64(bytes) / 1e6 / max(took, 1).Seconds()
}

// round rounds a time to three or four digits.
func round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d >= 10_000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

func (r *report) roundTrips() string {
	if len(r.idle) == 0 {
		return "unknown: the server answers no pings"
	}
	s := fmt.Sprintf("%v before the data", round(median(r.idle)))
	if n := len(r.beside); n > 0 {
		s += fmt.Sprintf(", %v beside it (median of %d, at most %v)",
			round(median(r.beside)), n, round(slices.Max(r.beside)))
	}
	return s
}

func median(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}

// A limit is what a transfer could not go faster than.
type limit int

const (
	limitProcessor limit = iota // the processors were busy
	limitWindow                 // Writes waited until the receiver had read
	limitTransport              // Writes waited until the transport took data
	limitRoundTrip              // none of these: streams ended before they filled the path
)

// limit says which of them it was. Busy processors also make Writes wait, for what another goroutine has not done yet, so
// they come first. With both ends in one process there is no network: one busy processor is enough then, as one goroutine
// of each end reads the transport.
func (r *report) limit() limit {
	enough := 0.8 * float64(r.processors)
	if r.bothEnds {
		enough = 0.8
	}
	switch {
	case r.busy >= enough:
		return limitProcessor
	case r.window+r.transport < 0.5:
		return limitRoundTrip
	case r.window >= r.transport:
		return limitWindow
	default:
		return limitTransport
	}
}

func (l limit) String() string {
	switch l {
	case limitProcessor:
		return "processor"
	case limitWindow:
		return "window"
	case limitTransport:
		return "transport"
	default:
		return "round trip"
	}
}
