package refs_test

import (
	"maps"
	"os"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/refs"
)

// Everything that the documents and Go comments of this repository refer to exists.
func TestRepositoryRefersToWhatExists(t *testing.T) {
	stale, err := refs.Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stale {
		t.Error(s)
	}
}

// What exists is found in each form of reference, and what does not exist is reported with its place.
func TestCheckReportsEachStaleReference(t *testing.T) {
	files := func(m map[string]string) fstest.MapFS {
		fsys := make(fstest.MapFS)
		for name, text := range m {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return fsys
	}
	good := map[string]string{
		"Makefile":        "test: ## it\n\t@.ci/test\nbench-quick:\n",
		".ci/test":        "",
		"docs/p.md":       "# The page\n\n## What is sent, and when\n\n```\n# no heading, `TestNothing`\n```\n",
		"README.md":       "[a](docs/p.md) [b](docs/p.md#what-is-sent-and-when) [c](#here) `TestA` `make test`, `.ci/test`, `net/http`, `pkg/a`\n# Here\n[d](https://x.example/y.md)\n",
		"pkg/a/a.go":      "// Package a is in docs/p.md, \"The page\" and \"What is\n// sent, and when\"; see a_test.go, README.md and TestA, not x.TestB or /tmp/x.md.\npackage a\n",
		"pkg/a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(*testing.T) {}\n",
		"a/testdata/x.md": "[a](gone.md)",
	}
	stale := map[string]string{
		"docs/q.md":  "[a](r.md)\n[b](p.md#no)\n`TestB` `make b` `pkg/c`\n[c](#no)\n",
		"pkg/b/b.go": "package b\n\n// PROTOCOL.md, \"A\", or docs/p.md, \"No\n// such\", b_test.go and\n// TestB.\n",
	}

	got, err := refs.Check(files(good))
	if len(got) != 0 || err != nil {
		t.Errorf("where all exists: %q, %v", got, err)
	}
	maps.Copy(good, stale)
	got, err = refs.Check(files(good))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"docs/q.md:1: no such file: r.md",
		"docs/q.md:2: no such heading: p.md#no",
		"docs/q.md:3: no such test: TestB",
		"docs/q.md:3: no such target: make b",
		"docs/q.md:3: no such file: pkg/c",
		"docs/q.md:4: no such heading: #no",
		"pkg/b/b.go:3: no such file: PROTOCOL.md",
		`pkg/b/b.go:3: no such section: docs/p.md, "No such"`,
		"pkg/b/b.go:3: no such file: b_test.go",
		"pkg/b/b.go:3: no such test: TestB",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
