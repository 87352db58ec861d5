package main

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

var full = flag.Bool("full", false, "also what takes minutes")

// The original's own tests pass against session/smux, all but those of its unexported parts.
func TestOriginalsTestsPass(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSuite(t.TempDir(), root, true, *full)
	if err != nil {
		t.Fatal(err)
	}
	for name := range cuts {
		if !slices.Contains(s.names, name) {
			t.Errorf("%s is cut, and the original does not have it", name)
		}
	}
	args := []string{"test", "-count=1", "-v", "-timeout=20m"}
	if testutil.Race {
		args = append(args, "-race")
	}
	out, err := run(s.dir, nil, append(args, ".")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, last(out, 100))
	}
	for _, name := range s.tests {
		if !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s did not run", name)
		}
	}
	t.Logf("%d tests of the original pass; left out: %v", len(s.tests), cuts)
}

// The original's benchmarks run against session/smux.
func TestOriginalsBenchmarksRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles the original, too")
	}
	if err := benchmarks("1x", "1"); err != nil {
		t.Fatal(err)
	}
}

// last returns the last n lines of s.
func last(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
