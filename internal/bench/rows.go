package main

import (
	"fmt"
	"slices"
	"time"
)

// A row is one measurement, and the lines of the report that it fills.
type row struct {
	name      string // for -run
	work      string // for people
	processes int    // 1: both ends share two cores; 2: each end has one of its own

	dial, accept func(*end) figures

	path      *path         // nil: TCP over loopback
	long      bool          // measured with -all or -long
	group     string        // rows of a group are measured in turns, so that their figures compare
	peers     []string      // empty: all multiplexers, and raw
	rawSizes  []int         // write sizes of which raw TCP may take its best
	maxRounds int           // 0: as many as asked for
	window    time.Duration // 0: as asked for
	limit     time.Duration // for one measurement; 0: see measure
	small     int           // order.Size for a test, in place of what takes long; 0: none needed
	lines     []line
}

func (r *row) way() *path {
	if r.path == nil {
		return overTCP
	}
	return r.path
}

// A line is one figure of a row, in one of the report's tables.
type line struct {
	table   *table
	figure  string
	label   string // what the row's work does not say
	unit    string
	higher  bool // is better
	targets []target
}

// A table is a part of the report.
type table struct{ title, note string }

var (
	speed   = &table{"Over TCP, within a machine", cpuNote}
	tlsT    = &table{"Over TLS", "Raw is TLS without a multiplexer. QUIC, which encrypts as well, is here for orientation."}
	others  = &table{"Over Unix sockets, WebSocket and KCP", "KCP without encryption and error correction, with the settings for speed (nodelay 1, 10, 2, 1; windows of 1,024 packets)."}
	far     = &table{"Over links", "Real TCP between two network namespaces, over a link that this program emulates, with the kernel's default congestion control and socket buffers of up to 64 MiB."}
	held    = &table{"Memory, and many sessions", "Heap and stacks in use after garbage collection, of the end that needs more."}
	hostile = &table{"Frames of a hostile peer", "CPU time of the session's process for each frame, and frames per second. The application accepts each stream, reads it and closes it. yamux refuses streams while 256 wait to be accepted."}
	watched = &table{"Cost of Trace and Stats", "Version 2 without a Trace, and with: functions that do nothing for all events but frames; a function that does nothing for frames; LogTrace with a handler that discards; Stats of the session and of all its streams a thousand times a second."}
	cpu     = &table{"CPU seconds per GB, of each end", "User and system time of each end's process, from getrusage. 1 GB is 10^9 bytes."}
	alloc   = &table{"Allocations", "Heap objects per call. For writes and reads, of that end's process alone; for echoes and calls, of both ends in one process."}

	tables = []*table{speed, tlsT, others, far, held, hostile, watched, cpu, alloc}
)

const cpuNote = "CPU: user and system time of both ends, from getrusage."

// A target is what each of our versions should reach.
type target struct {
	against against
	factor  float64
	version int    // 1 or 2: for that version alone
	row     string // for sameRow
}

type against int

const (
	bestPeer   against = iota
	rawTCP             // what the path is without a multiplexer
	absolute           //
	versionOne         // what our version 1 has
	sameRow            // what the same version has in another row
)

// bulkLines is what a bulk row in two processes fills.
func bulkLines(t *table, rate, both, send []target) []line {
	return []line{
		{table: t, figure: "receive GB/s", unit: "GB/s", higher: true, targets: rate},
		{table: t, figure: "CPU-s/GB", label: "both ends", unit: "CPU-s/GB", targets: both},
		{table: cpu, figure: "send CPU-s/GB", label: "send", unit: "CPU-s/GB", targets: send},
		{table: cpu, figure: "receive CPU-s/GB", label: "receive", unit: "CPU-s/GB"},
		{table: alloc, figure: "send allocs a call", label: "write", unit: "allocs", targets: []target{{against: absolute}}},
		{table: alloc, figure: "receive allocs a call", label: "read", unit: "allocs", targets: []target{{against: absolute}}},
	}
}

// besideLines is what the rows of a quiet stream beside bulk ones fill.
func besideLines(t *table, p99 ...target) []line {
	return []line{
		{table: t, figure: "p50 us", label: "median", unit: "us"},
		{table: t, figure: "p99 us", label: "99th percentile", unit: "us", targets: p99},
		{table: t, figure: "bulk GB/s", label: "the 8 streams meanwhile", unit: "GB/s", higher: true},
	}
}

// callLines is what a row of opening and closing fills.
func callLines(t *table, rate, cpu []target) []line {
	return []line{
		{table: t, figure: "k/s", unit: "k/s", higher: true, targets: rate},
		{table: t, figure: "CPU us", label: "a call", unit: "CPU us", targets: cpu},
		{table: alloc, figure: "allocs", label: "call", unit: "allocs"},
	}
}

// echoLines is what a row of a ping-pong fills.
func echoLines(t *table, time, cpu []target) []line {
	return []line{
		{table: t, figure: "us", unit: "us", targets: time},
		{table: t, figure: "CPU us", label: "a round trip", unit: "CPU us", targets: cpu},
		{table: alloc, figure: "allocs", label: "echo", unit: "allocs", targets: []target{{against: absolute}}},
	}
}

// line returns the line of a figure.
func (r *row) line(figure string) *line {
	i := slices.IndexFunc(r.lines, func(l line) bool { return l.figure == figure })
	if i < 0 {
		return nil
	}
	return &r.lines[i]
}

func findRow(name string) *row {
	for _, r := range append(latencyRows(), rows...) {
		if r.name == name {
			return r
		}
	}
	return nil
}

// cannot says why p is not measured in r; empty: it is.
func (r *row) cannot(p *peer) string {
	named := slices.Contains(r.peers, p.name)
	if len(r.peers) > 0 && !named || len(r.peers) == 0 && (p.aside || p.args != nil) {
		return "-"
	}
	if p.args != nil && p.program == "" {
		return "needs cargo"
	}
	if r.name == "crowd" && p.maxStreams > 0 {
		return fmt.Sprintf("at most %d streams", p.maxStreams)
	}
	return ""
}

// missing says what r needs and this machine has not; empty: nothing.
func (r *row) missing() string {
	if w := r.way().netem; w != nil {
		return w.missing()
	}
	return ""
}
