package main

import "time"

// The rows, in the order of the report.

func list(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

var (
	versions12 = []string{"ours-v1", "ours-v2"}
	originals  = []string{"xtaci-v1", "xtaci-v2"}
	raw        = []string{"raw"}

	multiplexers = list(originals, []string{"yamux", "go-yamux", "muxado"}, versions12)
	contenders   = list(raw, originals, []string{"go-yamux"}, versions12) // those that were best in some row
	encrypted    = list(contenders, []string{"http2", "quic-go"})
	smuxes       = list(raw, originals, versions12)
	framed       = list(originals, []string{"yamux"}, versions12) // see dialects
	traced       = []string{"ours-v2", "no-op", "frames", "log", "stats"}
)

// times is a target relative to the best peer, for both versions.
func times(factor float64) target     { return target{against: bestPeer, factor: factor} }
func ofRaw(factor float64) target     { return target{against: rawTCP, factor: factor} }
func exactly(value float64) target    { return target{against: absolute, factor: value} }
func as(row string, f float64) target { return target{against: sameRow, factor: f, row: row} }

func (t target) of(version int) target { t.version = version; return t }

func goals(t ...target) []target { return t }

var rows = []*row{
	// Bulk data.
	{
		name: "bulk-128k", work: "1 stream, 128 KiB writes", processes: 2, group: "writes",
		dial: bulk{streams: 1, size: 128 << 10}.send, accept: bulk{streams: 1, size: 128 << 10}.receive,
		rawSizes: []int{32 << 10, 128 << 10},
		lines:    bulkLines(speed, goals(ofRaw(0.95)), nil, goals(exactly(0.19))),
	},
	{
		name: "bulk-65368", work: "1 stream, writes of 65,368 bytes", processes: 2, group: "writes", peers: versions12,
		dial: bulk{streams: 1, size: 65368}.send, accept: bulk{streams: 1, size: 65368}.receive,
		lines: bulkLines(speed, nil, nil, nil)[:2],
	},
	{
		name: "bulk-64k", work: "1 stream, 64 KiB writes", processes: 2, group: "writes", peers: versions12,
		dial: bulk{streams: 1, size: 64 << 10}.send, accept: bulk{streams: 1, size: 64 << 10}.receive,
		lines: bulkLines(speed, nil, goals(as("bulk-65368", 1.03)), nil)[:2],
	},
	{
		name: "bulk-32k", work: "1 stream, 32 KiB writes", processes: 2, group: "writes", peers: contenders,
		dial: bulk{streams: 1, size: 32 << 10}.send, accept: bulk{streams: 1, size: 32 << 10}.receive,
		lines: bulkLines(speed, goals(times(1.7).of(1), times(1.6).of(2)), goals(as("bulk-65368", 1.03)), nil),
	},
	{
		name: "copy-32k", work: "1 stream, io.Copy with 32 KiB", processes: 2, group: "writes", peers: list(originals, versions12),
		dial: bulk{streams: 1, size: 32 << 10, copied: true}.send, accept: bulk{streams: 1, size: 32 << 10}.receive,
		lines: bulkLines(speed, nil, goals(as("bulk-65368", 1.03)), nil)[:2],
	},
	{
		name: "bulk-1k", work: "1 stream, 1 KiB writes", processes: 2,
		dial: bulk{streams: 1, size: 1 << 10}.send, accept: bulk{streams: 1, size: 1 << 10}.receive,
		lines: bulkLines(speed, goals(times(6), ofRaw(5)), nil, nil),
	},
	{
		name: "bulk-64", work: "64 streams, 16 KiB writes", processes: 2,
		dial: bulk{streams: 64, size: 16 << 10}.send, accept: bulk{streams: 64, size: 16 << 10}.receive,
		lines: bulkLines(speed, goals(times(1.3)), nil, nil),
	},
	{
		name: "bulk-100", work: "100 streams, 32 KiB writes", processes: 1,
		dial: bulk{streams: 100, size: 32 << 10}.send, accept: bulk{streams: 100, size: 32 << 10}.receive,
		lines: bulkLines(speed, goals(times(1.2)), nil, nil)[:2],
	},
	{
		name: "bulk-100-two", work: "100 streams, 32 KiB writes, two processes", processes: 2,
		dial: bulk{streams: 100, size: 32 << 10}.send, accept: bulk{streams: 100, size: 32 << 10}.receive,
		lines: bulkLines(speed, goals(times(1.4)), nil, nil)[:2],
	},
	{
		name: "both-ways", work: "8 streams, 64 KiB writes both ways", processes: 1, peers: contenders,
		dial: bothWays{8, 64 << 10}.dial, accept: bothWays{8, 64 << 10}.accept,
		lines: []line{
			{table: speed, figure: "there GB/s", label: "to the accepting end", unit: "GB/s", higher: true},
			{table: speed, figure: "back GB/s", label: "to the dialing end", unit: "GB/s", higher: true},
		},
	},
	{
		name: "small-256", work: "1 stream, 256 B writes", processes: 1, peers: contenders,
		dial: bulk{streams: 1, size: 256}.send, accept: bulk{streams: 1, size: 256}.receive,
		lines: bulkLines(speed, goals(times(10)), nil, nil)[:2],
	},

	// Round trips and calls.
	{
		name: "ping-pong", work: "64 B ping-pong", processes: 1, dial: pingPong, accept: acceptEchoes,
		lines: echoLines(speed, nil, nil),
	},
	{
		name: "ping-pong-two", work: "64 B ping-pong, two processes", processes: 2, dial: pingPong, accept: acceptEchoes,
		lines: echoLines(speed, goals(ofRaw(1.5)), goals(ofRaw(1.5)))[:2],
	},
	{
		name: "calls-1", work: "open, echo 64 B, close: one at a time", processes: 1, dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(speed, goals(times(2.5)), goals(times(0.5))),
	},
	{
		name: "calls-64", work: "open, echo 64 B, close: 64 workers", processes: 1, dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(speed, goals(times(3)), nil),
	},
	{
		name: "churn", work: "open and close 65,536 streams, at most 512 in flight", processes: 1, small: 2000,
		dial: churn{churnStreams}.dial, accept: churn{churnStreams}.accept,
		peers: list(originals, crateNames, versions12),
		lines: callLines(speed, goals(times(1)), nil)[:2],
	},
	{
		name: "beside-bulk", work: "64 B echo beside 8 streams of 64 KiB writes", processes: 1, window: 500 * time.Millisecond,
		dial: besideBulk{8, 64 << 10}.dial, accept: besideBulk{8, 64 << 10}.accept,
		lines: besideLines(speed, times(0.7).of(2)),
	},
	{
		name: "beside-two", work: "64 B echo beside 8 streams of 64 KiB writes, two processes", processes: 2, window: 500 * time.Millisecond,
		dial: besideBulk{8, 64 << 10}.dial, accept: besideBulk{8, 64 << 10}.accept,
		lines: besideLines(speed, times(0.4)),
	},

	// TLS.
	{
		name: "tls-bulk", work: "TLS, 1 stream, 128 KiB writes", processes: 2, path: overTLS, peers: encrypted,
		dial: bulk{streams: 1, size: 128 << 10}.send, accept: bulk{streams: 1, size: 128 << 10}.receive,
		lines: bulkLines(tlsT, goals(times(1.4), ofRaw(0.97)), nil, goals(ofRaw(1.05)))[:4],
	},
	{
		name: "tls-64", work: "TLS, 64 streams, 16 KiB writes", processes: 2, path: overTLS, peers: encrypted,
		dial: bulk{streams: 64, size: 16 << 10}.send, accept: bulk{streams: 64, size: 16 << 10}.receive,
		lines: bulkLines(tlsT, goals(times(1.8)), nil, nil)[:4],
	},
	{
		name: "tls-ping-pong", work: "TLS, 64 B ping-pong, two processes", processes: 2, path: overTLS, peers: encrypted,
		dial: pingPong, accept: acceptEchoes,
		lines: echoLines(tlsT, goals(times(1/1.2), ofRaw(1.3)), nil)[:2],
	},
	{
		name: "tls-calls-1", work: "TLS, open, echo 64 B, close: one at a time, two processes", processes: 2, path: overTLS, peers: encrypted[1:],
		dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(tlsT, goals(times(2.5)), nil)[:2],
	},
	{
		name: "tls-calls-64", work: "TLS, open, echo 64 B, close: 64 workers, two processes", processes: 2, path: overTLS, peers: encrypted[1:],
		dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(tlsT, goals(times(4)), nil)[:2],
	},

	// Other transports.
	{
		name: "unix-bulk", work: "Unix socket, 1 stream, 128 KiB writes", processes: 2, path: unixSocket, peers: contenders,
		dial: bulk{streams: 1, size: 128 << 10}.send, accept: bulk{streams: 1, size: 128 << 10}.receive,
		rawSizes: []int{32 << 10, 128 << 10},
		lines:    bulkLines(others, goals(ofRaw(0.95)), nil, nil)[:2],
	},
	{
		name: "unix-ping-pong", work: "Unix socket, 64 B ping-pong, two processes", processes: 2, path: unixSocket, peers: contenders,
		dial: pingPong, accept: acceptEchoes,
		lines: echoLines(others, goals(ofRaw(1.5)), goals(ofRaw(1.5)))[:2],
	},
	{
		name: "unix-calls-1", work: "Unix socket, open, echo 64 B, close: one at a time", processes: 1, path: unixSocket, peers: contenders,
		dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(2.5)), goals(times(0.5)))[:2],
	},
	{
		name: "unix-calls-64", work: "Unix socket, open, echo 64 B, close: 64 workers", processes: 1, path: unixSocket, peers: contenders,
		dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(3)), nil)[:2],
	},
	{
		name: "ws-bulk", work: "WebSocket, 1 stream, 128 KiB writes", processes: 2, path: webSocket, peers: smuxes,
		dial: bulk{streams: 1, size: 128 << 10}.send, accept: bulk{streams: 1, size: 128 << 10}.receive,
		lines: bulkLines(others, goals(times(1.2)), goals(times(0.8)), nil)[:2],
	},
	{
		name: "ws-calls-1", work: "WebSocket, open, echo 64 B, close: one at a time", processes: 2, path: webSocket, peers: smuxes[1:],
		dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(1.2)), nil)[:2],
	},
	{
		name: "ws-calls-64", work: "WebSocket, open, echo 64 B, close: 64 workers", processes: 2, path: webSocket, peers: smuxes[1:],
		dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(1.2)), nil)[:2],
	},
	{
		name: "kcp-bulk", work: "KCP, 1 stream, 128 KiB writes", processes: 2, path: overKCP, peers: smuxes, long: true, window: 2 * time.Second,
		dial: bulk{streams: 1, size: 128 << 10}.send, accept: bulk{streams: 1, size: 128 << 10}.receive,
		lines: bulkLines(others, goals(times(1.2)), goals(times(0.8)), nil)[:2],
	},
	{
		name: "kcp-calls-1", work: "KCP, open, echo 64 B, close: one at a time", processes: 2, path: overKCP, peers: smuxes[1:], long: true, window: 2 * time.Second,
		dial: calls{1}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(1.2)), nil)[:2],
	},
	{
		name: "kcp-calls-64", work: "KCP, open, echo 64 B, close: 64 workers", processes: 2, path: overKCP, peers: smuxes[1:], long: true, window: 2 * time.Second,
		dial: calls{64}.dial, accept: acceptEchoes,
		lines: callLines(others, goals(times(1.2)), nil)[:2],
	},

	// Links.
	{
		name: "link-64m", work: "1 Gbit/s, 100 ms, 64 MiB on one stream", processes: 2, path: gigabit100, long: true, small: 1 << 16,
		dial: transfer{64 << 20, 6 * time.Second}.send, accept: transfer{}.receive, limit: time.Minute, maxRounds: 3,
		lines: []line{{table: far, figure: "MB/s", unit: "MB/s", higher: true, targets: goals(target{against: versionOne, factor: 0.9, version: 2})}},
	},
	{
		name: "link-256m", work: "1 Gbit/s, 100 ms, 256 MiB on one stream", processes: 2, path: gigabit100, long: true, small: 1 << 16,
		dial: transfer{256 << 20, 6 * time.Second}.send, accept: transfer{}.receive, limit: time.Minute, maxRounds: 3,
		lines: []line{{table: far, figure: "MB/s", unit: "MB/s", higher: true, targets: goals(ofRaw(0.97).of(2))}},
	},
	{
		name: "link-loss", work: "100 Mbit/s, 100 ms, 0.1 % loss, 64 MiB on one stream", processes: 2, path: lossy100, long: true, small: 1 << 16,
		dial: transfer{64 << 20, 8 * time.Second}.send, accept: transfer{}.receive, limit: time.Minute,
		peers: contenders, maxRounds: 3,
		lines: []line{{table: far, figure: "MB/s", unit: "MB/s", higher: true, targets: goals(ofRaw(0.97).of(2))}},
	},
	{
		name: "link-beside", work: "100 Mbit/s, 50 ms, 64 B echo beside 8 streams of 64 KiB writes", processes: 2, path: mbit50, long: true,
		dial: besideBulk{8, 64 << 10}.dial, accept: besideBulk{8, 64 << 10}.accept,
		peers: contenders, window: 5 * time.Second, limit: time.Minute, maxRounds: 3,
		lines: append(besideLines(far), line{table: far, figure: "p50 / idle", label: "median, over the idle round trip", targets: goals(exactly(1.2).of(2))}),
	},

	// Memory, and many sessions.
	{
		name: "idle-streams", work: "memory of an idle stream, one end", processes: 2, small: 100,
		dial: idleStreams{10000}.dial, accept: idleStreams{10000}.accept,
		peers: multiplexers, maxRounds: 2, limit: 45 * time.Second,
		lines: []line{{table: held, figure: "bytes", unit: "B", targets: goals(exactly(400))}},
	},
	{
		name: "idle-sessions", work: "memory of an idle session, one end", processes: 2, small: 20,
		dial: idleSessions{sessions: 200}.dial, accept: idleSessions{sessions: 200}.accept,
		peers: multiplexers, maxRounds: 2, limit: 45 * time.Second,
		lines: []line{
			{table: held, figure: "fresh", label: "before any stream", unit: "B", targets: goals(exactly(5000))},
			{table: held, figure: "bytes", label: "after a stream", unit: "B", targets: goals(exactly(5000))},
			{table: held, figure: "goroutines", label: "goroutines", targets: goals(exactly(1))},
		},
	},
	{
		name: "idle-10000", work: "10,000 idle sessions with keep-alive, at a server", processes: 2, long: true, small: 20,
		dial: idleSessions{10000, 30 * time.Second}.dial, accept: idleSessions{10000, 30 * time.Second}.accept,
		peers: list([]string{"xtaci-v1", "yamux", "go-yamux"}, versions12), maxRounds: 1, limit: 2 * time.Minute,
		lines: []line{
			{table: held, figure: "fresh", label: "before any stream", unit: "B", targets: goals(exactly(5000))},
			{table: held, figure: "bytes", label: "after a stream and 30 s", unit: "B", targets: goals(exactly(5000))},
			{table: held, figure: "CPU us", label: "a session and second", unit: "CPU us", targets: goals(exactly(0.8))},
		},
	},
	{
		name: "sessions-1", work: "10 streams of 16 KiB writes on one session", processes: 2, long: true, group: "sessions",
		dial: bulk{streams: 10, size: 16 << 10}.send, accept: bulk{streams: 10, size: 16 << 10}.receive,
		peers: list(originals, versions12), window: 2 * time.Second,
		lines: sessionLines(),
	},
	{
		name: "sessions-1000", work: "1,000 sessions, each with 10 streams of 16 KiB writes", processes: 2, long: true, group: "sessions", small: 5,
		dial: bulk{streams: 10, size: 16 << 10, sessions: 1000}.send, accept: bulk{streams: 10, size: 16 << 10, sessions: 1000}.receive,
		peers: list(originals, versions12), window: 2 * time.Second, limit: 2 * time.Minute,
		lines: sessionLines(as("sessions-1", 0.9)),
	},
	{
		name: "crowd", work: "100,000 idle streams on the session", processes: 1, small: 100,
		dial: crowd{100000}.dial, accept: crowd{100000}.accept,
		peers: multiplexers, maxRounds: 2, limit: 45 * time.Second,
		lines: []line{
			{table: held, figure: "k/s", label: "open, echo, close", unit: "k/s", higher: true},
			{table: held, figure: "kept", label: "the same, over the rate with none open", higher: true, targets: goals(exactly(0.8))},
			{table: held, figure: "close ms", label: "Close returns", unit: "ms", targets: goals(exactly(200))},
			{table: held, figure: "both ms", label: "both ends closed", unit: "ms"},
		},
	},

	// Hostile peers.
	floodRow("flood-streams", "SYN and FIN of new streams, all accepted", floodStreams, framed, exactly(500)),
	floodRow("flood-late", "a byte for a stream that was closed", floodLateData, framed),
	floodRow("flood-nop", "NOPs; yamux: answers to pings", floodNOP, framed),
	floodRow("flood-windows", "window updates for a stream that was closed", floodWindows, []string{"xtaci-v2", "yamux", "ours-v2"}),

	// Trace and Stats.
	{
		name: "trace-calls", work: "open, echo 64 B, close: 64 workers, with what watches", processes: 1, peers: traced,
		dial: calls{64}.dial, accept: acceptEchoes, lines: callLines(watched, nil, nil)[:2],
	},
	{
		name: "trace-echo", work: "64 B ping-pong, with what watches", processes: 1, peers: traced,
		dial: pingPong, accept: acceptEchoes, lines: echoLines(watched, nil, nil)[:2],
	},
	{
		name: "trace-bulk", work: "64 streams, 16 KiB writes, with what watches", processes: 2, peers: traced,
		dial: bulk{streams: 64, size: 16 << 10}.send, accept: bulk{streams: 64, size: 16 << 10}.receive,
		lines: bulkLines(watched, nil, nil, nil)[:2],
	},
}

func sessionLines(rate ...target) []line {
	return []line{
		{table: held, figure: "receive GB/s", unit: "GB/s", higher: true, targets: rate},
		{table: held, figure: "CPU-s/GB", label: "both ends", unit: "CPU-s/GB"},
		{table: held, figure: "receive memory MB", label: "heap and stacks of the receiver", unit: "MB"},
	}
}

func floodRow(name, work string, kind floodKind, peers []string, ns ...target) *row {
	f := flood{frames: 400_000, kind: kind}
	return &row{
		name: name, work: work, processes: 2, dial: f.send, accept: f.receive, peers: peers, maxRounds: 3, small: 2 * floodPiece,
		lines: []line{
			{table: hostile, figure: "CPU ns", label: "a frame", unit: "CPU ns", targets: ns},
			{table: hostile, figure: "k/s", label: "frames", unit: "k/s", higher: true},
		},
	}
}

// firsts are the figures of the first table, in its order. The chart finds what it shows by these names.
var firsts = []struct{ row, figure, what string }{
	{"link-256m", "MB/s", "one stream over 1 Gbit/s and 100 ms, TCP"},
	{"bulk-128k", "receive GB/s", "one stream on one machine, 128 KiB writes"},
	{"bulk-64", "receive GB/s", "64 streams, 16 KiB writes"},
	{"bulk-64", "CPU-s/GB", "the same, CPU time of both ends"},
	{"calls-64", "k/s", "calls (open, echo, close), 64 at once"},
	{"calls-1", "CPU us", "CPU time of a call, one at a time"},
	{"ping-pong-two", "us", "round trip of 64 bytes"},
	{"beside-two", "p50 us", "the same beside 8 bulk streams, median"},
	{"beside-two", "p99 us", "the same beside 8 bulk streams, 99th percentile"},
	{"idle-sessions", "bytes", "memory of an idle session"},
	{"idle-10000", "CPU us", "CPU time of an idle session in a second"},
	{"idle-streams", "bytes", "memory of an idle stream"},
}
