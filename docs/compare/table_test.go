package compare

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/yamux"
	libp2p "github.com/libp2p/go-yamux/v5"
	"github.com/xtaci/smux"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A row is a line of the table: what it says of each library, and how that is found out; nil
// if it was read. docs/compare.md has all rows, README.md those that are chosen.
type row struct {
	name   string
	cells  [5]string // in the order of libraries
	probe  func(t *testing.T, lib library, variant string) string
	chosen bool
}

// mostChosen is how many rows README.md may have: those that a user decides by.
const mostChosen = 12

const chosen = true

var table = []row{
	{"Protocol", [5]string{"smux 1 and 2", "smux 1 and 2", "yamux", "yamux", "muxado"}, nil, chosen},
	{"One server for clients of versions 1 and 2", [5]string{"yes", "no", "–", "–", "–"}, bothVersions, chosen},
	{"Session is a `net.Listener`", [5]string{"yes", "no", "yes", "yes", "yes"}, listener, false},
	{"Calls that take a context", [5]string{"open, accept", "none", "accept", "open", "none"}, contexts, chosen},
	{"Streams pass `nettest.TestConn` twenty times in a row", [5]string{"yes", "no", "no", "no", "no"}, passesNettest, chosen},
	{"Half-close", [5]string{"`CloseWrite`, `CloseRead`", "`CloseWrite`", "`Close`", "`CloseWrite`, `CloseRead`", "`CloseWrite`"}, halfClose, chosen},
	{"Answer that is unread when both ends have sent FIN", [5]string{"kept", "kept", "kept", "kept", "kept"}, unreadAnswer, false},
	{"Read, when the connection ends in mid-stream", [5]string{"error", "`io.EOF`", "`io.EOF`", "error", "error"}, cut, chosen},
	{"Opening and closing a stream while the connection takes no data", [5]string{"at once", "blocks", "blocks", "at once", "blocks"}, openAndCloseStalled, false},
	{"A write deadline set meanwhile ends a blocked Write", [5]string{"yes", "no", "no", "yes", "no"}, deadlineStalled, false},
	{"With 32 streams that nobody reads, another one", [5]string{"runs (version 1: stops)", "stops", "runs", "runs", "runs"}, unreadStreams, chosen},
	{"Bound on unread data", [5]string{"32 MiB a session, or all sessions together", "4 MiB a session", "per stream", "per stream", "per stream"}, nil, chosen},
	{"Receive window of a stream", [5]string{"256 KiB, grows to 16 MiB by need (version 2)", "64 KiB (version 2)", "256 KiB", "256 KiB, grows to 16 MiB by need", "256 KiB"}, nil, chosen},
	{"Streams a peer may have open", [5]string{"65,536, can be set", "no bound", "no bound", "1,000, can be set", "no bound"}, nil, false},
	{"Order of sending", [5]string{"fair by bytes, weights, replaceable", "a frame of each stream in turn", "first come", "first come", "first come"}, nil, false},
	{"Rate limits", [5]string{"of a session and of a stream", "no", "no", "no", "no"}, nil, false},
	{"Keep-alive by default", [5]string{"every 10 s, gives up after 30 s; replaceable", "every 10 s, gives up after 30 to 60 s", "ping every 30 s", "ping every 30 s", "no; a wrapper has it"}, nil, false},
	{"Measures the round trip", [5]string{"`Ping`, between two smuxkits", "no", "`Ping`", "`Ping`, `RTT`", "a wrapper does"}, nil, false},
	{"A program can reset a stream", [5]string{"no, the protocol has none", "no, the protocol has none", "no; a time-out after Close does", "`Reset`, `ResetWithError`", "no; data after Close does"}, nil, chosen},
	{"Go-away", [5]string{"between two smuxkits", "no, the protocol has none", "yes", "yes", "yes"}, nil, false},
	{"Waits for open streams before it closes", [5]string{"`Shutdown`", "no", "no", "no", "no"}, nil, chosen},
	{"Goroutines of an idle session, each end", [5]string{"1", "4", "3", "3", "2"}, goroutines, false},
	{"Logs by default", [5]string{"no", "no", "to stderr", "to stderr", "no"}, nil, false},
	{"License", [5]string{"MIT", "MIT", "MPL 2.0", "MPL 2.0", "MIT"}, nil, chosen},
}

func TestEachLibraryDoesWhatTheTableSays(t *testing.T) {
	for _, r := range table {
		if r.probe == nil {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			for i, lib := range libraries {
				var found []string
				for _, v := range lib.variants {
					t.Run(strings.TrimSpace(lib.name+" "+v), func(t *testing.T) {
						found = append(found, r.probe(t, lib, v))
					})
				}
				got := strings.Join(found, ", ")
				if len(found) == 2 && found[0] == found[1] {
					got = found[0]
				} else if len(found) == 2 { // the table is about version 2
					got = fmt.Sprintf("%s (version 1: %s)", found[1], found[0])
				}
				if got != r.cells[i] {
					t.Errorf("%s: %q, the table says %q", lib.name, got, r.cells[i])
				}
			}
		})
	}
}

// docs/compare.md has the whole table, README.md the rows that are chosen.
func TestTheDocumentsHaveTheTable(t *testing.T) {
	var short []row
	for _, r := range table {
		if r.chosen {
			short = append(short, r)
		}
	}
	if len(short) > mostChosen {
		t.Errorf("README.md has %d rows, want at most %d", len(short), mostChosen)
	}
	for file, rows := range map[string][]row{"../../README.md": short, "../compare.md": table} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := markdown(t, rows); !strings.Contains(string(b), "\n\n"+want+"\n") {
			t.Errorf("%s does not have this table:\n%s", file, want)
		}
	}
}

// markdown returns a table with these rows, whose header has the versions of go.mod.
func markdown(t *testing.T, rows []row) string {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text := "| | smuxkit |"
	for _, lib := range libraries[1:] {
		version := regexp.MustCompile(`\t` + regexp.QuoteMeta(lib.module) + ` (\S+)`).FindSubmatch(mod)
		if version == nil {
			t.Fatalf("go.mod does not require %s", lib.module)
		}
		text += fmt.Sprintf(" %s %s |", lib.name, version[1])
	}
	text += "\n|" + strings.Repeat("---|", 1+len(libraries)) + "\n"
	for _, r := range rows {
		text += "| " + r.name + " | " + strings.Join(r.cells[:], " | ") + " |\n"
	}
	return text
}

// What the rows without a probe say in figures.
func TestDefaultsAreThoseOfTheTable(t *testing.T) {
	x, y, l := smux.DefaultConfig(), yamux.DefaultConfig(), libp2p.DefaultConfig()
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"smuxkit's receive buffer", session.DefaultMaxReceiveBuffer, 32 << 20},
		{"smuxkit's largest window", session.DefaultMaxStreamWindow, 16 << 20},
		{"smuxkit's first window", flow.InitialWindow, 256 << 10},
		{"smuxkit's streams", session.DefaultMaxStreams, 65_536},
		{"smuxkit's keep-alive", fmt.Sprint(keepalive.DefaultInterval, keepalive.DefaultTimeout), "10s 30s"},
		{"xtaci/smux's receive buffer", x.MaxReceiveBuffer, 4 << 20},
		{"xtaci/smux's window", x.MaxStreamBuffer, 64 << 10},
		{"xtaci/smux's keep-alive", fmt.Sprint(x.KeepAliveInterval, x.KeepAliveTimeout, x.KeepAliveDisabled), "10s 30s false"},
		{"yamux's window", y.MaxStreamWindowSize, uint32(256 << 10)},
		{"yamux's keep-alive", fmt.Sprint(y.KeepAliveInterval, y.EnableKeepAlive), "30s true"},
		{"yamux's log", y.LogOutput, os.Stderr},
		{"go-yamux's first window", l.InitialStreamWindowSize, uint32(256 << 10)},
		{"go-yamux's largest window", l.MaxStreamWindowSize, uint32(16 << 20)},
		{"go-yamux's streams", l.MaxIncomingStreams, uint32(1000)},
		{"go-yamux's keep-alive", fmt.Sprint(l.KeepAliveInterval, l.EnableKeepAlive), "30s true"},
		{"go-yamux's log", l.LogOutput, os.Stderr},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, the table says %v", c.what, c.got, c.want)
		}
	}
	var (
		_ = (*stream.Stream).SetSendRate
		_ = (*stream.Stream).SetWeight
		_ = session.Config{}.SendRate
		_ = (*session.Session).Shutdown
		_ = (*libp2p.Stream).ResetWithError
	)
	if hasMethod(new(yamux.Stream), "Reset") {
		t.Error("yamux can reset streams, the table says that it cannot")
	}
}
