package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// What each test finds out with each peer is recorded, and compared with the table of columns_test.go when all tests have
// ended. A run of some tests is compared as far as it goes.

var (
	resultsFlag = flag.String("results", "", "the file to write a table of the results to: peer x role x version x case")
	updateFlag  = flag.Bool("update", false, "write the table of results into docs/protocol.md")
)

// A cell is a place in the table of results.
type cell struct {
	column    *column
	peer      *peer
	version   int
	ourClient bool
}

func (c cell) String() string {
	return fmt.Sprintf("%s, version %d, %s, %q", c.peer.name, c.version, role(c.ourClient), c.column.name)
}

// role is how the tables say who is the client.
func role(ourClient bool) string {
	if ourClient {
		return "our client"
	}
	return "their client"
}

// found is what the tests have found out for a cell.
type found struct {
	passed, failed, skipped int
	shown                   []*expectation // that differ from "works"
}

// results has what was found in this run.
var results = struct {
	sync.Mutex
	cells    map[cell]*found
	unlisted map[string]bool // tests that are in no column
}{cells: make(map[cell]*found), unlisted: make(map[string]bool)}

// record notes the outcome of the test t, once it has ended, for each column that lists t or the test that t is a part of.
// newLink calls it. Other tests call it for each peer, version and role that they try.
func record(t *testing.T, p *peer, version int, ourClient bool) {
	t.Helper()
	if standIn {
		return
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	listed := columnsOf(name)
	t.Cleanup(func() {
		results.Lock()
		defer results.Unlock()
		if len(listed) == 0 {
			results.unlisted[name] = true
		}
		for _, c := range listed {
			switch f := at(cell{c, p, version, ourClient}); {
			case t.Failed():
				f.failed++
			case t.Skipped():
				f.skipped++
			default:
				f.passed++
			}
		}
	})
}

// at returns what was found for a cell. results is locked.
func at(c cell) *found {
	f := results.cells[c]
	if f == nil {
		f = new(found)
		results.cells[c] = f
	}
	return f
}

// shows notes that the test has shown what the table expects of the peer, which is not what a smuxkit would do.
func (l *link) shows(t *testing.T, e *expectation) {
	t.Helper()
	show(t, e, l.peer, l.version, l.ourClient)
}

// show is shows for a test without a link.
func show(t *testing.T, e *expectation, p *peer, version int, ourClient bool) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	results.Lock()
	defer results.Unlock()
	listed := false
	for _, c := range columnsOf(name) {
		if !slices.Contains(c.expect, e) {
			continue
		}
		listed = true
		if f := at(cell{c, p, version, ourClient}); !slices.Contains(f.shown, e) {
			f.shown = append(f.shown, e)
		}
	}
	if !listed {
		t.Errorf("no column that lists %s expects: %s", name, e.text)
	}
}

// endResults compares the results with the table, writes them if there is a flag for it, and returns the exit code.
func endResults(code int) int {
	if standIn {
		return code
	}
	results.Lock()
	defer results.Unlock()
	problems := compareResults(results.cells, code == 0 && wholeRun())
	for name := range results.unlisted {
		problems = append(problems, name+" is in no column: add it to columns")
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "results:", p)
	}
	if *resultsFlag != "" {
		if err := os.WriteFile(*resultsFlag, []byte(resultsText()), 0o666); err != nil {
			fmt.Fprintln(os.Stderr, "results:", err)
			code = 1
		}
	}
	if len(problems) > 0 {
		code = 1
	}
	return code
}

// wholeRun reports whether no flag leaves tests out.
func wholeRun() bool {
	for name, whole := range map[string]string{"test.run": "", "test.skip": "", "test.list": "", "test.short": "false"} {
		if flag.Lookup(name).Value.String() != whole {
			return false
		}
	}
	return true
}

// compareResults returns what differs from the table. After a whole run, each cell must have been proved.
func compareResults(cells map[cell]*found, whole bool) (problems []string) {
	cargo := haveCargo()
	for _, c := range allCells() {
		want, tested := c.column.expected(c)
		f := cells[c]
		if f == nil {
			if whole && tested && (c.peer.crate == "" || cargo) {
				problems = append(problems, fmt.Sprintf("%v: no test has run", c))
			}
			continue
		}
		for _, e := range f.shown {
			if !slices.Contains(want, e) {
				problems = append(problems, fmt.Sprintf("%v: the table does not expect: %s", c, e.text))
			}
		}
		if !tested {
			problems = append(problems, fmt.Sprintf("%v: the table says that it is not tested", c))
		}
		if !whole || f.skipped > 0 {
			continue
		}
		for _, e := range want {
			if !slices.Contains(f.shown, e) {
				problems = append(problems, fmt.Sprintf("%v: no test has shown: %s", c, e.text))
			}
		}
	}
	return problems
}

// wantInDocs fails unless docs/protocol.md has this text between the two comments with that name. With -update, it writes
// the text there.
func wantInDocs(t *testing.T, name, want string) {
	t.Helper()
	const file = "../../docs/protocol.md"
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	docs, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(docs), begin)
	got, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s lacks %q or %q", file, begin, end)
	case got == want:
	case !*updateFlag:
		t.Fatalf("%s has other %s: run go test -run %s -update .", file, name, t.Name())
	default:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// haveCargo reports whether the Rust crates can be tested here.
func haveCargo() bool {
	_, err := exec.LookPath("cargo")
	return err == nil
}

// allCells are those of the table, by row.
func allCells() (all []cell) {
	for _, p := range tablePeers() {
		for version := 1; version <= p.lastVersion(); version++ {
			for _, ourClient := range []bool{true, false} {
				for _, c := range columns {
					all = append(all, cell{c, p, version, ourClient})
				}
			}
		}
	}
	return all
}

// lastVersion is 1 for the crates, and 2 for all others.
func (p *peer) lastVersion() int {
	if p.crate != "" {
		return 1
	}
	return 2
}

// resultsText is the table of what was found.
func resultsText() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	header := []string{"peer", "version", "role"}
	for i, c := range columns {
		header = append(header, fmt.Sprint(i+1))
		fmt.Fprintf(&b, "%2d %s\n", i+1, c.name)
	}
	fmt.Fprintln(&b)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	marks := letters()
	row := []string(nil)
	for _, c := range allCells() {
		if c.column == columns[0] {
			row = []string{c.peer.title(), fmt.Sprint(c.version), role(c.ourClient)}
		}
		row = append(row, results.cells[c].text(marks))
		if len(row) == len(header) {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	}
	w.Flush()
	fmt.Fprintln(&b)
	for _, e := range inOrder(marks) {
		fmt.Fprintf(&b, "%s: %s\n", marks[e], e.text)
	}
	return b.String()
}

// text is a cell in the table of what was found.
func (f *found) text(marks map[*expectation]string) string {
	switch {
	case f == nil:
		return "–"
	case f.failed > 0:
		return "FAILED"
	case f.passed == 0:
		return "skipped"
	}
	return marksOf(f.shown, marks)
}

// A result that the table does not expect is found in any run, and one that lacks in a whole run.
func TestCompareResultsFindsEachDifference(t *testing.T) {
	cells := make(map[cell]*found)
	for _, c := range allCells() {
		if want, tested := c.column.expected(c); tested {
			cells[c] = &found{passed: 1, shown: want}
		}
	}
	of := func(test string, p *peer) *found { return cells[cell{columnsOf(test)[0], p, 2, true}] }
	for _, whole := range []bool{false, true} {
		if problems := compareResults(cells, whole); len(problems) != 0 {
			t.Errorf("where all is as expected: %q", problems)
		}
	}
	of("TestBurstOfOpensLosesNoStream", newest).shown = []*expectation{emptyAnswer}
	half := of("TestOurHalfCloseLetsTheirAnswerArrive", peers[0])
	half.shown = nil
	delete(cells, cell{columnsOf("TestServicesWorkTowardTheOriginal")[0], newest, 1, false})
	some := compareResults(cells, false)
	if len(some) != 1 || !strings.Contains(some[0], emptyAnswer.text) {
		t.Errorf("after some tests: %q", some)
	}
	all := compareResults(cells, true)
	if len(all) != 3 || !strings.Contains(all[0], cutAnswer.text) || !strings.Contains(all[1], "no test has run") {
		t.Errorf("after all tests: %q", all)
	}
	half.skipped = 1 // with the race detector, for instance
	if all := compareResults(cells, true); len(all) != 2 {
		t.Errorf("after all tests, one of them skipped: %q", all)
	}
}
