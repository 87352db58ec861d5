package main

import (
	"os"
	"strings"
	"testing"
)

// The commands of docs/debugging.md have flags that exist, its output is what real peers make, and its code is in the
// examples.
func TestDebuggingGuideIsRight(t *testing.T) {
	b, err := os.ReadFile("../../docs/debugging.md")
	must(t, err)
	guide := string(b)
	text := func(name string) string {
		b, err := os.ReadFile(name)
		must(t, err)
		return string(b)
	}
	output := text("testdata/smuxkit-v2.txt")
	commands, lines := 0, 0
	for line := range strings.Lines(guide) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "    ")
		if !ok {
			continue
		}
		if args, ok := strings.CutPrefix(line, "smuxdump "); ok {
			commands++
			if _, err := parse(strings.Fields(args)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if strings.Contains(line, " #1 ") {
			lines++
			if !strings.Contains(output, line+"\n") {
				t.Errorf("this is not in the output for real peers: %q", line)
			}
		}
		if strings.HasPrefix(line, "tshark ") && !strings.Contains(line, strings.Join(decodeAs, " ")) {
			t.Errorf("the tests run tshark otherwise: %s", line)
		}
	}
	if commands < 4 || lines < 3 {
		t.Errorf("%d commands and %d lines of output were found", commands, lines)
	}
	examples := strings.Join(strings.Fields(text("../../session/example_trace_test.go")), " ")
	for i, block := range strings.Split(guide, "```") {
		if code, ok := strings.CutPrefix(block, "go\n"); ok && !strings.Contains(examples, strings.Join(strings.Fields(code), " ")) {
			t.Errorf("block %d is not in session/example_trace_test.go:\n%s", i/2, code)
		}
	}
}
