package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A measuring is a run of the program.
type measuring struct {
	ctx     context.Context
	cpus    []int
	peers   []*peer
	rounds  int
	order   order
	verbose bool
}

// A series is one peer in one row, or one of several write sizes of raw TCP there.
type series struct {
	cell
	row  *row
	peer *peer
}

// rows measures rs, and returns the results of those that it could finish.
func (m *measuring) rows(rs []*row) *results {
	start := time.Now()
	othersBefore, _ := otherWork()
	res := newResults()
	for len(rs) > 0 {
		group := rs[:1]
		for rs[0].group != "" && len(group) < len(rs) && rs[len(group)].group == rs[0].group {
			group = rs[:len(group)+1]
		}
		rs = rs[len(group):]
		if !m.group(group, res) {
			break
		}
	}
	others, known := otherWork()
	res.describe(m.header(start) + quiet(others-othersBefore, time.Since(start), known))
	return res
}

// group measures rows together, and adds their cells to res. It returns false once the run has been cancelled.
func (m *measuring) group(rs []*row, res *results) bool {
	var all []*series
	for _, r := range rs {
		all = append(all, r.series(m.peers)...)
	}
	rounds := m.rounds
	if most := rs[0].maxRounds; most > 0 {
		rounds = min(rounds, most)
	}
	for round := range rounds {
		name := ""
		for _, s := range all {
			if s.row.name != name {
				if name != "" {
					fmt.Fprintln(os.Stderr)
				}
				name = s.row.name
				fmt.Fprintf(os.Stderr, "%-13s %d/%d:", name, round+1, rounds)
			}
			if s.Skipped == "" && s.Failed == "" {
				m.once(s)
			}
			if m.ctx.Err() != nil {
				fmt.Fprintln(os.Stderr)
				return false
			}
		}
		fmt.Fprintln(os.Stderr)
	}
	for _, r := range rs {
		res.Rows[r.name] = &rowResult{Peers: best(r, all)}
	}
	return true
}

// series returns what is to be measured in r.
func (r *row) series(ps []*peer) (all []*series) {
	for _, p := range ps {
		skipped := cmp.Or(r.cannot(p), r.missing())
		if p.raw() && len(r.rawSizes) > 0 && skipped == "" {
			for _, size := range r.rawSizes {
				all = append(all, &series{cell{Size: size}, r, p})
			}
		} else if skipped != "-" {
			all = append(all, &series{cell{Skipped: skipped}, r, p})
		}
	}
	return all
}

// once takes one measurement of s. One failure ends the series: a peer that hangs would take the time limit in every round.
func (m *measuring) once(s *series) {
	o := m.order
	o.Row, o.Peer, o.Size = s.row.name, s.peer.name, s.Size
	o.Window = max(o.Window, s.row.window)
	f, err := measure(m.ctx, m.cpus, s.row, s.peer, o)
	if err != nil {
		s.Failed = err.Error()
		fmt.Fprintf(os.Stderr, " %s %v;", s.peer.name, err)
		var said *childError
		if m.verbose && errors.As(err, &said) {
			fmt.Fprintln(os.Stderr, said.stderr)
		}
		return
	}
	s.samples = append(s.samples, f)
	primary := &s.row.lines[0]
	fmt.Fprintf(os.Stderr, " %s %s", s.peer.name, primary.format(f[primary.figure]))
}

// best returns the cells of r by peer: of those of raw TCP, the one with the best write size.
func best(r *row, all []*series) map[string]*cell {
	cells := map[string]*cell{}
	primary := &r.lines[0]
	for _, s := range all {
		if s.row != r {
			continue
		}
		s.settle()
		before, ok := cells[s.peer.name].figure(primary.figure)
		value, measured := s.figure(primary.figure)
		if !ok || measured && primary.better(value, before) {
			cells[s.peer.name] = &s.cell
		}
	}
	return cells
}

// header says where the figures come from.
func (m *measuring) header(start time.Time) string {
	var b strings.Builder
	command := strings.Join(append([]string{"go run ."}, os.Args[1:]...), " ")
	fmt.Fprintf(&b, "Measured on %s in %v by `%s` in internal/bench, at %s.\n\n",
		start.Format(time.DateOnly), time.Since(start).Round(time.Second), command, revision())
	fmt.Fprintf(&b, "- Machine: %s, %d CPUs (used: %v), %s, congestion control %s, %s/%s, %s.\n",
		cpuModel(), runtime.NumCPU(), m.cpus, kernel(), congestionControl(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(&b, "- Others: %s.\n", versions())
	series := fmt.Sprintf("Medians of up to %d interleaved rounds", m.rounds)
	if m.rounds == 1 {
		series = "One round"
	}
	fmt.Fprintf(&b, "- %s, %v each or more after %v of warm-up; every measurement in fresh processes. Default configurations.\n",
		series, m.order.Window, m.order.Warmup)
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
	for _, p := range peers {
		if text := p.module + " " + built[p.module]; p.module != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(append(texts, crateVersions), ", ")
}
