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

	path      path
	peers     []string      // empty: all
	rawSizes  []int         // write sizes of which raw TCP may take its best
	maxRounds int           // 0: as many as asked for
	limit     time.Duration // for one measurement; 0: see measure
	lines     []line
}

// A path is what lies between both ends.
type path uint8

const (
	loopback path = iota
	overTLS
	unixSocket
	farLink // see link
)

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
	speed = &table{"Speed, latency and memory", ""}
	cpu   = &table{"CPU seconds per GB", "User and system time of each end's process, from getrusage. 1 GB is 10^9 bytes."}
	alloc = &table{"Allocations", "Heap objects per call. For writes and reads, of that end's process alone; for echoes and calls, of both ends."}

	tables = []*table{speed, cpu, alloc}
)

// A target is what each of our versions should reach.
type target struct {
	against against
	factor  float64
}

type against int

const (
	bestPeer against = iota
	rawTCP
	absolute
)

var multiplexers = []string{"xtaci-v1", "xtaci-v2", "yamux", "go-yamux", "muxado", "ours-v1", "ours-v2"}

var rows = []*row{
	{
		name: "bulk-128k", work: "1 stream, 128 KiB writes", processes: 2,
		dial: bulk{1, 128 << 10}.send, accept: bulk{1, 128 << 10}.receive,
		rawSizes: []int{16 << 10, 32 << 10, 64 << 10, 128 << 10},
		lines:    bulkLines([]target{{rawTCP, 0.95}}, []target{{absolute, 0.19}}),
	},
	{
		name: "bulk-1k", work: "1 stream, 1 KiB writes", processes: 2,
		dial: bulk{1, 1 << 10}.send, accept: bulk{1, 1 << 10}.receive,
		lines: bulkLines([]target{{bestPeer, 6}, {rawTCP, 5}}, nil),
	},
	{
		name: "bulk-64", work: "64 streams, 16 KiB writes", processes: 2,
		dial: bulk{64, 16 << 10}.send, accept: bulk{64, 16 << 10}.receive,
		lines: bulkLines([]target{{bestPeer, 1.3}}, nil),
	},
	{
		name: "bulk-100", work: "100 streams, 32 KiB writes", processes: 1,
		dial: bulk{100, 32 << 10}.send, accept: bulk{100, 32 << 10}.receive,
		lines: []line{{table: speed, figure: "receive GB/s", unit: "GB/s", higher: true, targets: []target{{bestPeer, 1.4}}}},
	},
	{
		name: "both-ways", work: "8 streams, 64 KiB writes both ways", processes: 1,
		dial: bothWays{8, 64 << 10}.dial, accept: bothWays{8, 64 << 10}.accept,
		lines: []line{
			{table: speed, figure: "there GB/s", label: "to the accepting end", unit: "GB/s", higher: true},
			{table: speed, figure: "back GB/s", label: "to the dialing end", unit: "GB/s", higher: true},
		},
	},
	{
		name: "small-256", work: "1 stream, 256 B writes", processes: 1,
		dial: bulk{1, 256}.send, accept: bulk{1, 256}.receive,
		lines: []line{{table: speed, figure: "receive GB/s", unit: "GB/s", higher: true, targets: []target{{bestPeer, 10}}}},
	},
	{
		name: "ping-pong", work: "64 B ping-pong", processes: 1,
		dial: pingPong, accept: acceptEchoes,
		lines: []line{
			{table: speed, figure: "us", unit: "us", targets: []target{{rawTCP, 1.5}}},
			{table: alloc, figure: "allocs", label: "echo", unit: "allocs", targets: []target{{absolute, 0}}},
		},
	},
	{
		name: "calls-1", work: "open, echo 64 B, close: one at a time", processes: 1,
		dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(2.5),
	},
	{
		name: "calls-64", work: "open, echo 64 B, close: 64 workers", processes: 1,
		dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(3),
	},
	{
		name: "beside-bulk", work: "64 B echo beside 8 streams of 64 KiB writes", processes: 1,
		dial: besideBulk{8, 64 << 10}.dial, accept: besideBulk{8, 64 << 10}.accept,
		lines: besideLines,
	},
	{
		name: "beside-two", work: "the same, two processes", processes: 2,
		dial: besideBulk{8, 64 << 10}.dial, accept: besideBulk{8, 64 << 10}.accept,
		lines: besideLines,
	},
	{
		name: "idle-streams", work: "memory of an idle stream, one end", processes: 2,
		dial: idleStreams{10000}.dial, accept: idleStreams{10000}.accept,
		peers: multiplexers, maxRounds: 3,
		lines: []line{{table: speed, figure: "bytes", unit: "B", targets: []target{{absolute, 400}}}},
	},
	{
		name: "idle-sessions", work: "memory of an idle session, one end", processes: 2,
		dial: idleSessions{200}.dial, accept: idleSessions{200}.accept,
		peers: multiplexers, maxRounds: 3,
		lines: []line{
			{table: speed, figure: "bytes", unit: "B", targets: []target{{absolute, 6000}}},
			{table: speed, figure: "goroutines", label: "goroutines", unit: "", targets: []target{{absolute, 1}}},
		},
	},
	{
		name: "crowd", work: "100,000 idle streams on the session", processes: 1,
		dial: crowd{100000}.dial, accept: crowd{100000}.accept,
		peers: multiplexers, maxRounds: 3, limit: 45 * time.Second,
		lines: []line{
			{table: speed, figure: "k/s", label: "open, echo, close", unit: "k/s", higher: true},
			{table: speed, figure: "kept", label: "the same, over the rate with none open", unit: "", higher: true, targets: []target{{absolute, 0.8}}},
			{table: speed, figure: "close ms", label: "Close returns", unit: "ms", targets: []target{{absolute, 200}}},
			{table: speed, figure: "both ms", label: "both ends closed", unit: "ms"},
		},
	},
	{
		name: "tls-bulk", work: "TLS, 1 stream, 128 KiB writes", processes: 2, path: overTLS,
		dial: bulk{1, 128 << 10}.send, accept: bulk{1, 128 << 10}.receive,
		peers: []string{"raw", "xtaci-v1", "xtaci-v2", "ours-v1", "ours-v2"},
		lines: bulkLines(nil, nil)[:3],
	},
	{
		name: "tls-64", work: "TLS, 64 streams, 16 KiB writes", processes: 2, path: overTLS,
		dial: bulk{64, 16 << 10}.send, accept: bulk{64, 16 << 10}.receive,
		peers: []string{"raw", "xtaci-v1", "xtaci-v2", "ours-v1", "ours-v2"},
		lines: bulkLines(nil, nil)[:3],
	},
}

// bulkLines is what a bulk row in two processes fills.
func bulkLines(rate, send []target) []line {
	return []line{
		{table: speed, figure: "receive GB/s", unit: "GB/s", higher: true, targets: rate},
		{table: cpu, figure: "send CPU-s/GB", label: "send", unit: "CPU-s/GB", targets: send},
		{table: cpu, figure: "receive CPU-s/GB", label: "receive", unit: "CPU-s/GB"},
		{table: alloc, figure: "send allocs a call", label: "write", unit: "allocs", targets: []target{{absolute, 0}}},
		{table: alloc, figure: "receive allocs a call", label: "read", unit: "allocs", targets: []target{{absolute, 0}}},
	}
}

// besideLines is what the rows of a quiet stream beside bulk ones fill.
var besideLines = []line{
	{table: speed, figure: "p50 us", label: "median", unit: "us"},
	{table: speed, figure: "p99 us", label: "99th percentile", unit: "us", targets: []target{{bestPeer, 0.5}}},
	{table: speed, figure: "bulk GB/s", label: "the 8 streams meanwhile", unit: "GB/s", higher: true},
}

// callLines is what a row of opening and closing fills.
func callLines(ofBest float64) []line {
	return []line{
		{table: speed, figure: "k/s", unit: "k/s", higher: true, targets: []target{{bestPeer, ofBest}}},
		{table: alloc, figure: "allocs", label: "call", unit: "allocs"},
	}
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
	if len(r.peers) > 0 && !slices.Contains(r.peers, p.name) {
		return "-"
	}
	if r.name == "crowd" && p.maxStreams > 0 {
		return fmt.Sprintf("at most %d streams", p.maxStreams)
	}
	return ""
}
