package refs_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/refs"
)

// A block of Go code in a document must be in a Go file: line by line, indented by other tabs, with other spaces and blank
// lines, and without the lines that "// ..." stands for. What is reported names the line that differs from the file that
// agrees longest.
func TestCheckReportsCodeThatNoFileHas(t *testing.T) {
	const source = `package a

func a(x int) int {
	if x > 1 { // more
		return 2

	}
	x++
	x += 3
	return x
}
`
	for _, test := range []struct{ name, code, want string }{
		{"a part", "if x > 1 { // more\n\treturn 2\n}", ""},
		{"the whole", source, ""},
		{"spaces and blank lines", "\nx++\n\nx  +=  3\n", ""},
		{"left out", "func a(x int) int {\n\t// ...\n\treturn x\n}", ""},
		{"left out at both ends", "// ...\nx++\n// ...", ""},
		{"nothing", "", ""},
		{"another line", "x++\nx += 4", "p.md:5: a.go goes on otherwise: x += 4"},
		{"another order", "x += 3\n// ...\nx++", "p.md:6: a.go goes on otherwise: x++"},
		{"a line left out in silence", "x++\nreturn x", "p.md:5: a.go goes on otherwise: return x"},
		{"beyond the end of the file", "\treturn x\n}\n}", "p.md:6: a.go goes on otherwise: }"},
		{"indented otherwise", "if x > 1 { // more\nreturn 2", "p.md:5: a.go goes on otherwise: return 2"},
		{"nowhere", "y++", "p.md:4: no Go file has this code: y++"},
	} {
		block := "\n\n```go\n" + test.code + "\n```\n"
		for form, doc := range map[string]string{
			"":                         "# P" + block,
			", in a list":              "- P" + strings.ReplaceAll(block, "\n", "\n  "),
			", in a block without go":  "# P" + strings.Replace(block, "```go", "```", 1),
			", in a block of that":     "# P\n```\n" + strings.Replace(block, "\n```\n", "\n", 1) + "```\n",
			", behind a block of that": "# P" + strings.Replace(block, "\n\n", "\n```\n```\n", 1),
		} {
			got, err := refs.Check(fstest.MapFS{"a.go": {Data: []byte(source)}, "p.md": {Data: []byte(doc)}})
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			switch form {
			case ", in a block without go", ", in a block of that":
				want = ""
			case ", behind a block of that":
				want = strings.NewReplacer("md:4", "md:5", "md:5", "md:6", "md:6", "md:7").Replace(want)
			}
			if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("%s%s: (-want +got):\n%s", test.name, form, diff)
			}
		}
	}
}
