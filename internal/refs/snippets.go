package refs

import (
	"slices"
	"strings"
)

// elision is the line of a snippet that stands for any lines of the Go file.
const elision = "// ..."

// A snippet is a block of Go code in a Markdown file. It is in parts, because the lines in between are left out.
type snippet struct {
	doc   string
	line  int // of the block's first line in the file
	parts [][]codeLine
}

// A codeLine is a line of code that is not blank. Its words have one space between them: gofmt aligns comments by the
// lines around them, which differ in a snippet.
type codeLine struct {
	number int // in its file
	indent int // leading tabs
	text   string
}

// A goFile has the code of a Go file. A snippet must be in one.
type goFile struct {
	name  string
	lines []codeLine
}

func codeLines(first int, text string) []codeLine {
	var lines []codeLine
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			tabs := len(line) - len(strings.TrimLeft(line, "\t"))
			lines = append(lines, codeLine{first, tabs, strings.Join(words, " ")})
		}
		first++
	}
	return lines
}

// readSnippets returns the blocks of a Markdown file that begin with ```go. A block may be in a list, behind spaces.
func readSnippets(doc, text string) []*snippet {
	var all []*snippet
	var code []string
	first, inGo, inOther := 0, false, false
	number := 0
	for line := range strings.Lines(text) {
		number++
		fence := strings.TrimSpace(line)
		switch {
		case inGo && fence == "```":
			all = append(all, newSnippet(doc, first, code))
			inGo = false
		case inGo:
			code = append(code, strings.TrimLeft(line, " "))
		case strings.HasPrefix(fence, "```") && !inOther:
			inGo = fence == "```go"
			inOther = !inGo
			first, code = number+1, nil
		case fence == "```":
			inOther = false
		}
	}
	return all
}

func newSnippet(doc string, first int, code []string) *snippet {
	s := &snippet{doc: doc, line: first}
	var part []codeLine
	for _, line := range codeLines(first, strings.Join(code, "")) {
		if line.text != elision {
			part = append(part, line)
			continue
		}
		s.parts = append(s.parts, part)
		part = nil
	}
	s.parts = append(s.parts, part)
	s.parts = slices.DeleteFunc(s.parts, func(p []codeLine) bool { return len(p) == 0 })
	return s
}

// checkSnippet reports s unless a Go file has its parts, one behind the other. It names the line that differs from the file
// that agrees longest.
func (r *repository) checkSnippet(s *snippet) {
	longest, where, stop := -1, "", codeLine{number: s.line}
	for _, f := range r.code {
		agreed, differs, ok := f.has(s)
		if ok {
			return
		}
		if agreed > longest {
			longest, where, stop = agreed, f.name, differs
		}
	}
	if longest <= 0 {
		r.report(s.doc, stop.number, "no Go file has this code: %s", stop.text)
		return
	}
	r.report(s.doc, stop.number, "%s goes on otherwise: %s", where, stop.text)
}

// has reports whether f has the parts of s. If not, it returns how many lines agree at most, and the line of s behind them.
func (f *goFile) has(s *snippet) (agreed int, differs codeLine, ok bool) {
	from := 0
	for _, part := range s.parts {
		longest, found := 0, false
		for i := from; i < len(f.lines) && !found; i++ {
			n := agree(f.lines[i:], part)
			longest = max(longest, n)
			if n == len(part) {
				from, found = i+n, true
			}
		}
		if !found {
			return agreed + longest, part[longest], false
		}
		agreed += len(part)
	}
	return agreed, codeLine{}, true
}

// agree returns how many lines of part code begins with. The two may be indented differently, by the same tabs in all lines.
func agree(code, part []codeLine) int {
	for i, line := range part {
		if i == len(code) || code[i].text != line.text || code[i].indent-line.indent != code[0].indent-part[0].indent {
			return i
		}
	}
	return len(part)
}
