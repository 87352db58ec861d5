package refs_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/refs"
)

// The index must have a link to each page in docs. A page that it calls a guide may not be long; another one may.
func TestCheckReportsWhatTheIndexLeavesOut(t *testing.T) {
	long := strings.Repeat("\n", 101)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"all linked", map[string]string{
			"docs/README.md": "## Guides\n[a](a.md)\n## Others\n[b](b.md#b)\n",
			"docs/a.md":      long[:100],
			"docs/b.md":      "# b" + long,
			"docs/c/d.md":    long,
			"e.md":           long,
		}, nil},
		{"left out", map[string]string{
			"docs/README.md": "[a](a.md)\n[c](../c.md)\n",
			"docs/a.md":      "",
			"docs/b.md":      "",
			"c.md":           "",
		}, []string{"docs/README.md:2: no link to docs/b.md"}},
		{"long", map[string]string{
			"docs/README.md": "# Index\n\n## Guides\n\n| [a](a.md) | a |\n\n[b](b.md)\n",
			"docs/a.md":      long,
			"docs/b.md":      long[:100],
		}, []string{"docs/a.md:101: a guide has at most 100 lines"}},
		{"no index", map[string]string{"docs/a.md": long}, nil},
	} {
		fsys := make(fstest.MapFS)
		for name, text := range test.files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		got, err := refs.Check(fsys)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", test.name, diff)
		}
	}
}
