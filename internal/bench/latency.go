package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What is tuned to the Go scheduler (session/latency.go) on and off: the same work with this program, and with
// one that was built with the tag nolatency, in turns.

// latencyRows is each work on each path.
func latencyRows() (rs []*row) {
	for _, p := range []struct {
		name      string
		path      *path
		processes int
	}{
		{"tcp", overTCP, 2}, {"one-process", overTCP, 1}, {"unix", unixSocket, 2}, {"tls", overTLS, 2}, {"link", farLink, 2},
	} {
		for _, w := range []struct {
			name         string
			dial, accept func(*end) figures
			lines        []line
		}{
			{"bulk-1", bulk{streams: 1, size: 32 << 10}.send, bulk{streams: 1, size: 32 << 10}.receive, bulkPairLines},
			{"bulk-100", bulk{streams: 100, size: 32 << 10}.send, bulk{streams: 100, size: 32 << 10}.receive, bulkPairLines},
			{"both-ways", bothWays{8, 64 << 10}.dial, bothWays{8, 64 << 10}.accept, []line{
				{figure: "there GB/s", label: "there", unit: "GB/s", higher: true},
				{figure: "back GB/s", label: "back", unit: "GB/s", higher: true},
			}},
			{"ping-pong", pingPong, acceptEchoes, []line{{figure: "us", unit: "us"}, {figure: "CPU us", unit: "CPU us"}}},
			{"calls-1", calls{1}.dial, acceptEchoes, callPairLines},
			{"calls-64", calls{64}.dial, acceptEchoes, callPairLines},
			{"beside", besideBulk{8, 64 << 10}.dial, besideBulk{8, 64 << 10}.accept, []line{
				{figure: "p50 us", label: "median", unit: "us"},
				{figure: "p99 us", label: "99th percentile", unit: "us"},
				{figure: "bulk GB/s", label: "bulk", unit: "GB/s", higher: true},
			}},
		} {
			rs = append(rs, &row{name: p.name + "/" + w.name, path: p.path, processes: p.processes, dial: w.dial, accept: w.accept, lines: w.lines,
				peers: []string{"ours-v1", "ours-v2"}})
		}
	}
	return rs
}

var (
	bulkPairLines = []line{
		{figure: "receive GB/s", unit: "GB/s", higher: true},
		{figure: "CPU-s/GB", label: "both ends", unit: "CPU-s/GB"},
	}
	callPairLines = []line{
		{figure: "k/s", unit: "k/s", higher: true},
		{figure: "CPU us", unit: "CPU us"},
	}
)

// offPeers builds this program without latency into dir, and returns the peers that it measures.
func offPeers(ctx context.Context, dir string) ([]*peer, error) {
	program := filepath.Join(dir, "bench-nolatency")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "nolatency", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build -tags nolatency, which needs the directory internal/bench: %w\n%s", err, out)
	}
	var off []*peer
	for _, p := range ours {
		q := *p
		q.program = program
		off = append(off, &q)
	}
	return off, nil
}

// compareLatency measures the rows that match in pairs, and prints the ratios of each pair.
func compareLatency(ctx context.Context, rs []*row, cpus []int, rounds int, o order) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	off, err := offPeers(ctx, dir)
	if err != nil {
		return err
	}
	table := [][]string{{"row", "figure", "version", "on", "off", "on / off", "quartiles"}}
	for _, r := range rs {
		for v, on := range ours {
			pairs, err := r.measurePairs(ctx, cpus, on, off[v], rounds, o)
			if err != nil {
				return err
			}
			for _, l := range r.lines {
				table = append(table, l.pairFields(r, v+1, pairs))
			}
		}
	}
	fmt.Print(markdown(table))
	return nil
}

// A pair is two measurements, one right after the other.
type pair struct{ on, off figures }

// measurePairs has the order within a pair change from one to the next.
func (r *row) measurePairs(ctx context.Context, cpus []int, on, off *peer, rounds int, o order) (pairs []pair, err error) {
	fmt.Fprintf(os.Stderr, "%-22s %s:", r.name, on.name)
	defer fmt.Fprintln(os.Stderr)
	for round := range rounds {
		var p pair
		sides := []struct {
			peer *peer
			into *figures
		}{{on, &p.on}, {off, &p.off}}
		if round%2 == 1 {
			slices.Reverse(sides)
		}
		failed := false
		for _, side := range sides {
			o := o
			o.Row, o.Peer = r.name, side.peer.name
			*side.into, err = measure(ctx, cpus, r, side.peer, o)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				failed = true
				fmt.Fprintf(os.Stderr, " %v;", err)
			}
		}
		if !failed {
			pairs = append(pairs, p)
			fmt.Fprintf(os.Stderr, " %s/%s", r.lines[0].format(p.on[r.lines[0].figure]), r.lines[0].format(p.off[r.lines[0].figure]))
		}
	}
	if len(pairs) == 0 {
		return nil, errors.New("no pair was measured")
	}
	return pairs, nil
}

// pairFields is one figure's line of the table. A ratio above 1 says that it is more with latency.
func (l *line) pairFields(r *row, version int, pairs []pair) []string {
	var on, off cell
	var ratios []float64
	for _, p := range pairs {
		on.samples, off.samples = append(on.samples, p.on), append(off.samples, p.off)
		ratios = append(ratios, p.on[l.figure]/p.off[l.figure])
	}
	slices.Sort(ratios)
	quartile := func(q int) float64 { return ratios[(len(ratios)-1)*q/4] }
	on.settle()
	off.settle()
	onValue, offValue := on.Figures[l.figure], off.Figures[l.figure]
	return []string{
		r.name, strings.TrimSpace(l.label + " " + l.unit), fmt.Sprint(version), l.format(onValue), l.format(offValue),
		fmt.Sprintf("%.2f", quartile(2)), fmt.Sprintf("%.2f to %.2f", quartile(1), quartile(3)),
	}
}
