// Command bench measures smuxkit against other multiplexers and raw connections, side by
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
	"slices"
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

func run(ctx context.Context) error {
	quick := flag.Bool("quick", false, "one short round, in about two minutes")
	all := flag.Bool("all", false, "also the rows that take longer: links, KCP, thousands of sessions")
	long := flag.Bool("long", false, "only the rows that take longer")
	only := flag.String("run", "", "measure the rows whose name matches `REGEXP`")
	rounds := flag.Int("rounds", 5, "take medians of `N` rounds")
	names := flag.String("peers", peerNames(), "measure these peers, a comma-separated `list`")
	save := flag.Bool("save", false, "keep the figures of the measured rows in "+resultsFile+", and write "+performancePage+" from all that are kept")
	render := flag.Bool("render", false, "measure nothing; write "+performancePage+" from what is kept")
	latency := flag.Bool("latency", false, "compare smuxkit with itself built without what is tuned to the Go scheduler")
	verbose := flag.Bool("v", false, "show all that a failed measurement said, goroutines included")
	o := order{}
	flag.DurationVar(&o.Window, "window", 200*time.Millisecond, "measure for this long")
	flag.DurationVar(&o.Warmup, "warmup", 80*time.Millisecond, "before that, work for this long")
	flag.Parse()
	if *quick {
		o, *rounds = order{Warmup: 50 * time.Millisecond, Window: 100 * time.Millisecond}, 1
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	ps, err := peersNamed(*names)
	switch {
	case err != nil:
		return err
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case *rounds < 1:
		return fmt.Errorf("-rounds %d: at least 1", *rounds)
	case *save && (*quick || *latency || len(ps) < len(peers)):
		return errors.New("-save: not with -quick, -latency or -peers, whose figures do not compare with others")
	case *render:
		kept, err := readResults(resultsFile)
		if err != nil {
			return err
		}
		return writePage(performancePage, kept)
	}
	candidates := rows
	if *latency {
		candidates = latencyRows()
	}
	var rs []*row
	for _, r := range candidates {
		if pattern.MatchString(r.name) && (r.long && (*all || *long || *only != "") || !r.long && !*long) {
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
	if *latency {
		return compareLatency(ctx, rs, cpus, *rounds, o)
	}
	if slices.ContainsFunc(rs, func(r *row) bool { return slices.Contains(r.peers, crateNames[0]) }) {
		if err := buildCrates(ctx); err != nil {
			return err
		}
	}

	m := &measuring{ctx: ctx, cpus: cpus, peers: ps, rounds: *rounds, order: o, verbose: *verbose}
	res := m.rows(rs)
	fmt.Print(report(rs, res))
	if *save && len(res.Rows) > 0 {
		kept, err := readResults(resultsFile)
		if err != nil {
			return err
		}
		kept.add(res)
		if err := errors.Join(kept.write(resultsFile), writePage(performancePage, kept)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// peersNamed returns the peers in a comma-separated list.
func peersNamed(names string) (ps []*peer, err error) {
	for _, name := range strings.Split(names, ",") {
		p := findPeer(name)
		if p == nil {
			return nil, fmt.Errorf("-peers: no peer %q, there are %s", name, peerNames())
		}
		ps = append(ps, p)
	}
	return ps, nil
}
