// Command bench measures smuxkit against other multiplexers and raw TCP, side by
// side in one run, and reports ratios: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

func main() {
	if text := os.Getenv(orderVar); text != "" {
		runChild(text)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const performancePage = "../../docs/performance.md"

func run(ctx context.Context) error {
	quick := flag.Bool("quick", false, "one short round of everything, in about a minute")
	only := flag.String("run", "", "measure the rows whose name matches `REGEXP`")
	rounds := flag.Int("rounds", 5, "take medians of `N` rounds")
	names := flag.String("peers", peerNames(), "measure these peers, a comma-separated `list`")
	file := flag.String("o", "", "write the tables into `FILE`, as markdown (default "+performancePage+" for a full run, else none)")
	latency := flag.Bool("latency", false, "compare smuxkit with itself built without what is tuned to the Go scheduler")
	verbose := flag.Bool("v", false, "show all that a failed measurement said, goroutines included")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds %d: at least 1", *rounds)
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var ps []*peer
	for _, name := range strings.Split(*names, ",") {
		p := findPeer(name)
		if p == nil {
			return fmt.Errorf("-peers: no peer %q, there are %s", name, peerNames())
		}
		ps = append(ps, p)
	}
	candidates := rows
	if *latency {
		candidates = latencyRows()
	}
	var rs []*row
	for _, r := range candidates {
		if pattern.MatchString(r.name) {
			rs = append(rs, r)
		}
	}
	if len(rs) == 0 {
		return fmt.Errorf("-run %s: matches no row", *only)
	}
	cpus, err := twoCores()
	if err != nil {
		return err
	}

	o := order{Warmup: 150 * time.Millisecond, Window: 500 * time.Millisecond}
	if *quick {
		o = order{Warmup: 80 * time.Millisecond, Window: 200 * time.Millisecond}
		*rounds = 1
	}
	if *latency {
		return compareLatency(ctx, rs, cpus, *rounds, o)
	}
	// What stands in the documentation comes from a full run only, unless it was
	// asked for by name.
	if *file == "" && !*quick && *only == "" && len(ps) == len(peers) {
		*file = performancePage
	}

	start := time.Now()
	othersBefore, _ := otherWork()
	res := results{}
	for _, r := range rs {
		if res[r.name], err = r.measure(ctx, cpus, ps, *rounds, o, *verbose); err != nil {
			return err
		}
	}
	others, known := otherWork()
	text := report(header(start, *rounds, o, cpus)+quiet(others-othersBefore, time.Since(start), known), rs, ps, res)
	fmt.Print(text)
	if *file != "" {
		return save(*file, text)
	}
	return nil
}

// measure takes rounds measurements of each peer, in turns: what disturbs the
// machine for a while disturbs them all.
func (r *row) measure(ctx context.Context, cpus []int, ps []*peer, rounds int, o order, verbose bool) (map[string]*cell, error) {
	if r.maxRounds > 0 {
		rounds = min(rounds, r.maxRounds)
	}
	// A series is one peer, or one of several write sizes of raw TCP.
	type series struct {
		cell
		peer *peer
	}
	var all []*series
	for _, p := range ps {
		if p.raw() && len(r.rawSizes) > 0 {
			for _, size := range r.rawSizes {
				all = append(all, &series{cell{size: size}, p})
			}
		} else {
			all = append(all, &series{cell{skipped: r.cannot(p)}, p})
		}
	}

	primary := &r.lines[0]
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "%-13s %d/%d:", r.name, round+1, rounds)
		for _, s := range all {
			if s.skipped != "" || s.failed != nil {
				continue
			}
			o := o
			o.Row, o.Peer, o.Size = r.name, s.peer.name, s.size
			f, err := measure(ctx, cpus, r, s.peer, o)
			if ctx.Err() != nil {
				fmt.Fprintln(os.Stderr)
				return nil, ctx.Err()
			}
			if err != nil {
				// One failure ends the series: a peer that hangs would take the time
				// limit in every round.
				s.failed = err
				fmt.Fprintf(os.Stderr, " %s %v;", s.peer.name, err)
				var said *childError
				if verbose && errors.As(err, &said) {
					fmt.Fprintln(os.Stderr, said.stderr)
				}
				continue
			}
			s.samples = append(s.samples, f)
			fmt.Fprintf(os.Stderr, " %s %s", s.peer.name, primary.format(f[primary.figure]))
		}
		fmt.Fprintln(os.Stderr)
	}

	cells := map[string]*cell{}
	for _, s := range all {
		before, ok := cells[s.peer.name].median(primary.figure)
		value, measured := s.median(primary.figure)
		if !ok || measured && primary.better(value, before) {
			cells[s.peer.name] = &s.cell
		}
	}
	return cells, nil
}

// header says where the figures come from.
func header(start time.Time, rounds int, o order, cpus []int) string {
	var b strings.Builder
	command := strings.Join(append([]string{"go run ."}, os.Args[1:]...), " ")
	fmt.Fprintf(&b, "Measured on %s in %v by `%s` in internal/bench.\n\n", start.Format("2006-01-02"), time.Since(start).Round(time.Second), command)
	fmt.Fprintf(&b, "- Machine: %s, %d CPUs (used: %v), %s, %s/%s, %s.\n", cpuModel(), runtime.NumCPU(), cpus, kernel(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(&b, "- Peers: %s.\n", versions())
	series := fmt.Sprintf("Medians of %d interleaved rounds", rounds)
	if rounds == 1 {
		series = "One round"
	}
	fmt.Fprintf(&b, "- %s, %v each after %v of warm-up; every measurement in fresh processes. Loopback TCP, default configurations.\n", series, o.Window, o.Warmup)
	return b.String()
}

// quiet says how much of the machine was taken by others.
func quiet(others, took time.Duration, known bool) string {
	if !known {
		return ""
	}
	share := 100 * others.Seconds() / took.Seconds() / float64(runtime.NumCPU())
	return fmt.Sprintf("- Other work took %.0f %% of the machine's CPU time meanwhile.\n", max(share, 0))
}

// versions lists what each peer's module was built from.
func versions() string {
	built := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			built[m.Path] = m.Version
		}
	}
	var texts []string
	seen := map[string]bool{}
	for _, p := range peers {
		if p.module != "" && !seen[p.module] {
			seen[p.module] = true
			texts = append(texts, p.module+" "+built[p.module])
		}
	}
	if len(ours) > 0 {
		texts = append(texts, "ours at "+revision())
	}
	return strings.Join(texts, ", ")
}
