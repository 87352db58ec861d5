package main

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// measured runs a transfer in virtual time over link, as if it took no processor time.
func measured(t *testing.T, link simnet.Link, opts options) *report {
	t.Helper()
	client, server := simnet.Pair(link)
	served := make(chan error, 1)
	go func() { served <- serveClient(t.Context(), server, 0) }()
	r, err := transfer(t.Context(), client, opts, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != io.EOF {
		t.Errorf("the server ended with %v", err)
	}
	r.busy = 0
	return r
}

// The report says what limited a transfer: the window, the transport, or neither.
func TestReportNamesTheLimit(t *testing.T) {
	for _, c := range []struct {
		name string
		link simnet.Link
		opts options
		want limit
	}{
		{"a slow transport", simnet.Link{Rate: 10 * simnet.Mbit, Delay: time.Millisecond}, options{streams: 4, bytes: 2 << 20}, limitTransport},
		{"a long path, one stream", simnet.Link{Delay: 50 * time.Millisecond}, options{streams: 1, bytes: 2 << 20}, limitWindow},
		{"short streams", simnet.Link{Delay: 50 * time.Millisecond}, options{streams: 1000, bytes: 100}, limitRoundTrip},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := measured(t, c.link, c.opts)
				if got := r.limit(); got != c.want {
					t.Errorf("limited by %v, want %v: %+v", got, c.want, r)
				}
			})
		})
	}
}

// Rates and round trips are those of the path.
func TestReportShowsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := measured(t, simnet.Link{Rate: 100 * simnet.Mbit, Delay: 20 * time.Millisecond}, options{streams: 20, bytes: 5 << 20})
		if got := rate(r.bytes, r.back); got < 11 || got > 12.5 {
			t.Errorf("%.2f MB/s, want nearly 12.5", got)
		}
		if got := median(r.idle); len(r.idle) != idlePings || got < 40*time.Millisecond || got > 41*time.Millisecond {
			t.Errorf("round trips %v, want 40ms", r.idle)
		}
		if len(r.beside) == 0 {
			t.Error("no round trips beside the data")
		}
		if r.memory == 0 {
			t.Error("no memory")
		}
	})
}

// Busy processors are the limit, whatever Writes wait for. With both ends in one process one is enough.
func TestReportPutsTheProcessorFirst(t *testing.T) {
	for _, c := range []struct {
		r    report
		want limit
	}{
		{report{processors: 8, busy: 7, window: 0.9}, limitProcessor},
		{report{processors: 8, busy: 2, window: 0.5, transport: 0.4}, limitWindow},
		{report{processors: 8, busy: 2, window: 0.4, transport: 0.5}, limitTransport},
		{report{processors: 8, busy: 2, window: 0.4, transport: 0.5, bothEnds: true}, limitProcessor},
		{report{processors: 8, busy: 0.1, window: 0.1}, limitRoundTrip},
		{report{processors: 8, busy: 0.1, bothEnds: true}, limitRoundTrip},
	} {
		if got := c.r.limit(); got != c.want {
			t.Errorf("%+v: limited by %v, want %v", c.r, got, c.want)
		}
	}
}

// A report is printed line by line.
func TestReportIsPrinted(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		r    report
		want string
	}{
		{report{
			streams: 4, bytes: 8_000_000, sent: 2 * time.Second, back: 4 * time.Second,
			idle: []time.Duration{3 * ms, 1 * ms, 2 * ms}, beside: []time.Duration{20 * ms, 12345 * time.Microsecond},
			memory: 9_000_000, bothEnds: true, busy: 1.5, processors: 2, window: 0.25, transport: 0.5,
		}, `4 streams, 8000000 bytes sent, echoed and checked in 4s
rate        4.0 MB/s out, 2.0 MB/s back
round trip  2ms before the data, 20ms beside it (median of 2, at most 20ms)
memory      9.0 MB at most, both ends
limited by  processor: Writes waited 25 % of their time for the window, 50 % for the transport;
            1.5 of 2 processors were busy, both ends
`},
		{report{streams: 1, bytes: 1, sent: ms, back: ms, processors: 1}, `1 streams, 1 bytes sent, echoed and checked in 1ms
rate        0.0 MB/s out, 0.0 MB/s back
round trip  unknown: the server answers no pings
memory      0.0 MB at most, this end
limited by  round trip: Writes waited 0 % of their time for the window, 0 % for the transport;
            0.0 of 1 processors were busy, this end
That was less than a second: with more -streams or -bytes, the figures vary less.
`},
	} {
		var out strings.Builder
		c.r.print(&out)
		if out.String() != c.want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), c.want)
		}
	}
}

// The data of a stream is as long as it should be, the same each time, and another for each stream.
func TestDataIsItsStreams(t *testing.T) {
	read := func(i int, n int64, most int) string {
		var b strings.Builder
		for d := newData(i, n); d.left > 0; {
			b.Write(d.next(most))
		}
		return b.String()
	}
	long := int64(len(block()) + 1000)
	if got := read(3, long, 1000); int64(len(got)) != long || got != read(3, long, 77777) {
		t.Errorf("%d bytes, want %d, the same each time", len(got), long)
	}
	seen := make(map[string]int)
	for i := range 1000 {
		got := read(i, 64, 64)
		if j, ok := seen[got]; ok {
			t.Errorf("streams %d and %d begin alike", i, j)
		}
		seen[got] = i
	}
}
