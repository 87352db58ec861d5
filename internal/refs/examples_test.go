package refs_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/refs"
)

// shown are the types without an Example of their own: lists of constants, and what only has a meaning together with
// another type.
var shown = map[string]refs.Shown{
	"flow.ReclaimResult":   {Example: "ExampleReceiveWindow_Reclaim", Why: "constants"},
	"keepalive.Action":     {Example: "ExampleActivity", Why: "constants"},
	"session.Direction":    {Example: "ExampleTrace_frame", Why: "constants"},
	"session.Pause":        {Example: "ExampleTrace_readPaused", Why: "constants"},
	"session.RefusalCause": {Example: "ExampleRefusal", Why: "constants"},
	"session/service.Code": {Example: "ExampleRefusedError", Why: "constants"},
	"session/smux.CLASSID": {Why: "the original has it; a program can do nothing with it"},
	"session/smux.Frame":   {Why: "the original has it; a program can do nothing with it"},
	"shaper.Class":         {Example: "ExampleFair", Why: "constants"},
	"shaper.FairOption":    {Example: "ExampleFlow", Why: "an argument of NewFair"},
	"stream.Delivery":      {Example: "ExampleCore", Why: "constants; most sessions ignore them"},
	"stream.Ending":        {Example: "ExampleCore", Why: "constants"},
	"stream.Notifier":      {Example: "ExampleCore", Why: "a session implements it for its Cores"},
	"stream.Outcome":       {Example: "ExampleCore", Why: "constants"},
	"stream.Shared":        {Example: "ExampleCore", Why: "an argument of Core.Init"},
	"stream.Urgency":       {Example: "ExampleCore", Why: "constants"},
	"wire.Command":         {Example: "ExampleHeader", Why: "constants"},
	"wire.Version":         {Example: "ExampleHeader", Why: "constants"},
}

// Each exported type has an Example that runs, and each setting occurs in one.
func TestExportedTypesHaveExamples(t *testing.T) {
	faults, err := refs.CheckExamples(os.DirFS("../.."), shown,
		"session.Config", "session.Dialer", "session.Listener", "stream/relay.Options", "keepalive/heartbeat.Config")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// README.md has a line for each program of examples.
func TestREADMEListsEachExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := os.ReadDir("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if p.IsDir() && !strings.Contains(string(readme), "](examples/"+p.Name()) {
			t.Errorf("README.md has no link to examples/%s", p.Name())
		}
	}
}

// Each kind of fault is reported with its place, and what is in order is not.
func TestCheckExamplesReportsEachFault(t *testing.T) {
	fsys := make(fstest.MapFS)
	for name, text := range map[string]string{
		"a/a.go": `package a
type T struct { A, B, c int }
func NewT() *T { return nil }
type Own struct{}
type Missing int
type Level int
const ( Low Level = iota; High )
const Other = 1
type Kind int
type Gone int
type Unexplained int
type unexported int
`,
		"a/a_test.go": `package a_test
import ( "fmt"; "time"; "x/a" )
// The comment.
func ExampleT_suffix() {
	fmt.Println(a.T{A: 1}, a.High)
	// Output:
	// {1}
}
func ExampleOwn() {
	time.Sleep(elsewhere)
	fmt.Println(a.Own{}, a.Other)
}
// Long.
func ExampleNewT() {
	time.Sleep(1)
` + string(make40Lines()) + `	// Output:
}
`,
		"a/other_test.go":   "package a_test\nconst elsewhere = 1\nfunc TestX(t *testing.T) {}\n",
		"b/main.go":         "package main\ntype T int\n",
		"internal/c/c.go":   "package c\ntype T int\n",
		"b/testdata/d/d.go": "package d\ntype T int\n",
		"inside/inside.go":  "package inside\ntype T struct{}\nfunc NewT() *T { return nil }\n",
		"inside/inside_test.go": `package inside
import "fmt"
// The comment.
func ExampleT() {
	fmt.Println(T{})
	// Output:
	// {}
}
// The comment.
func ExampleNewT() {
	helper(NewT())
	// Output:
}
func helper(*T) {}
`,
	} {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	got, err := refs.CheckExamples(fsys, map[string]refs.Shown{
		"a.Own":         {Example: "ExampleOwn", Why: "small"},
		"a.Level":       {Example: "ExampleT_suffix", Why: "constants"},
		"a.Kind":        {Example: "ExampleT_suffix", Why: "constants"},
		"a.Gone":        {Example: "ExampleGone", Why: "constants"},
		"a.Unexplained": {Example: "ExampleOwn"},
		"a.NoType":      {Example: "ExampleOwn", Why: "gone"},
	}, "a.T", "b.T")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a/a_test.go:14:20: ExampleNewT has 42 lines, may have 40",
		"a/a_test.go:14:20: ExampleNewT sleeps",
		"a/a_test.go:9:19: ExampleOwn has no comment",
		"a/a_test.go:9:19: ExampleOwn is never run: it has no output",
		"a/a_test.go:9:19: ExampleOwn uses something that its file does not have",
		"a.Gone: no such Example: ExampleGone",
		"a.Kind: ExampleT_suffix does not show it",
		"a.Missing: no ExampleMissing",
		"a.Own: it has an Example of its own, so it needs no line in the list",
		"a.T: no Example sets the field B",
		"a.Unexplained: the list does not say why it needs no Example of its own",
		"inside/inside_test.go:10:20: ExampleNewT uses something that its file does not have",
		"a.NoType: no such type",
		"b.T: no such type",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func make40Lines() (lines []byte) {
	for range 40 {
		lines = append(lines, "\t_ = 1\n"...)
	}
	return lines
}
