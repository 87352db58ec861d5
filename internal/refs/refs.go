// Package refs checks that documents and Go comments refer to what exists. Its test runs over the
// whole repository; no other package imports it.
//
// In Markdown files it checks
//
//   - links to files, and to headings: [text](docs/protocol.md#versions);
//   - names of tests, fuzz targets, benchmarks and examples in backquotes;
//   - make targets in backquotes: `make test`;
//   - paths in backquotes that begin with a folder of the repository: `internal/soak`;
//   - blocks of Go code, which begin with three backquotes and "go": a Go file of the repository has the same lines. A
//     line "// ..." in the block stands for any lines of that file.
//
// docs/README.md must link to each page in docs, and those that it calls guides have at most 100 lines.
//
// In Go comments it checks
//
//   - names of Markdown and Go files, relative to the root or to the folder of the comment;
//   - a section in quotes behind a Markdown file: docs/protocol.md, "Versions";
//   - names of tests, fuzz targets and benchmarks.
package refs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Check returns a line for each reference to something that does not exist, in the order of the files.
func Check(fsys fs.FS) ([]string, error) {
	r := &repository{fsys: fsys, tests: make(map[string]bool), targets: make(map[string]bool)}
	if err := r.read(); err != nil {
		return nil, err
	}
	for _, d := range r.docs {
		r.checkDoc(d)
	}
	for _, s := range r.snippets {
		r.checkSnippet(s)
	}
	for _, c := range r.comments {
		r.checkComment(c)
	}
	r.checkIndex()
	return r.stale, nil
}

// A repository is what was read of it.
type repository struct {
	fsys     fs.FS
	docs     []*doc
	comments []comment
	snippets []*snippet
	code     []*goFile
	tests    map[string]bool // functions in test files that go test runs
	targets  map[string]bool // of the Makefile
	stale    []string        // the findings
}

// A doc is a Markdown file, without the blocks of code.
type doc struct {
	name     string
	lines    []string
	headings []string
}

// A comment is a group of comments in a Go file, on one line.
type comment struct {
	file string
	line int
	text string
}

// read reads the files. It skips folders whose names begin with a dot, and testdata.
func (r *repository) read() error {
	return fs.WalkDir(r.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if base == "testdata" || len(base) > 1 && base[0] == '.' {
				return fs.SkipDir
			}
			return nil
		}
		if ext := path.Ext(name); ext != ".md" && ext != ".go" && name != "Makefile" {
			return nil
		}
		b, err := fs.ReadFile(r.fsys, name)
		if err != nil {
			return err
		}
		switch path.Ext(name) {
		case ".md":
			r.docs = append(r.docs, readDoc(name, string(b)))
			r.snippets = append(r.snippets, readSnippets(name, string(b))...)
		case ".go":
			return r.readGo(name, b)
		default:
			for _, m := range targetLine.FindAllSubmatch(b, -1) {
				r.targets[string(m[1])] = true
			}
		}
		return nil
	})
}

var (
	targetLine = regexp.MustCompile(`(?m)^([a-z-]+):`)
	heading    = regexp.MustCompile(`^#+ +(.*)$`)
	testFunc   = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)`)
)

func readDoc(name, text string) *doc {
	d := &doc{name: name}
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if code {
			line = ""
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			d.headings = append(d.headings, m[1])
		}
		d.lines = append(d.lines, line)
	}
	return d
}

func (r *repository) readGo(name string, source []byte) error {
	r.code = append(r.code, &goFile{name, codeLines(1, string(source))})
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if strings.HasSuffix(name, "_test.go") {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && testFunc.MatchString(fn.Name.Name) {
				r.tests[fn.Name.Name] = true
			}
		}
	}
	for _, g := range f.Comments {
		text := strings.Join(strings.Fields(g.Text()), " ")
		r.comments = append(r.comments, comment{name, files.Position(g.Pos()).Line, text})
	}
	return nil
}

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	quoted     = regexp.MustCompile("`([^`]+)`")
	testName   = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]\w*$`)
	makeTarget = regexp.MustCompile(`^make ([a-z-]+)`)
	folderPath = regexp.MustCompile(`^\.?\w+(/[\w.-]+)+/?$`)
)

func (r *repository) checkDoc(d *doc) {
	for i, line := range d.lines {
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			if !strings.Contains(m[1], ":") {
				r.checkLink(d, i+1, m[1])
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			word := m[1]
			target := makeTarget.FindStringSubmatch(word)
			switch {
			case testName.MatchString(word) && !r.tests[word]:
				r.report(d.name, i+1, "no such test: %s", word)
			case target != nil && !r.targets[target[1]]:
				r.report(d.name, i+1, "no such target: make %s", target[1])
			case folderPath.MatchString(word) && r.exists(strings.SplitN(word, "/", 2)[0]) && !r.exists(word):
				r.report(d.name, i+1, "no such file: %s", word)
			}
		}
	}
}

func (r *repository) checkLink(d *doc, line int, target string) {
	file, anchor, _ := strings.Cut(target, "#")
	name := d.name
	if file != "" {
		name = path.Join(path.Dir(d.name), file)
	}
	if !r.exists(name) {
		r.report(d.name, line, "no such file: %s", file)
		return
	}
	if anchor == "" || path.Ext(name) != ".md" {
		return
	}
	if !slices.ContainsFunc(r.headings(name), func(h string) bool { return slug(h) == anchor }) {
		r.report(d.name, line, "no such heading: %s", target)
	}
}

var (
	fileName    = regexp.MustCompile(`[\w./-]*\w\.(md|go)\b`)
	section     = regexp.MustCompile(`^(?:,| and) "([^"]+)"`)
	testMention = regexp.MustCompile(`(^|[^\w.])((?:Test|Fuzz|Benchmark)[A-Z]\w*)`)
)

func (r *repository) checkComment(c comment) {
	for _, at := range fileName.FindAllStringIndex(c.text, -1) {
		mentioned, rest := c.text[at[0]:at[1]], c.text[at[1]:]
		if strings.HasPrefix(mentioned, "/") { // of the machine, or a URL
			continue
		}
		name := path.Clean(mentioned)
		if beside := path.Join(path.Dir(c.file), mentioned); !r.exists(name) || path.Base(name) == name && r.exists(beside) {
			name = beside
		}
		if !r.exists(name) {
			r.report(c.file, c.line, "no such file: %s", mentioned)
			continue
		}
		for m := section.FindStringSubmatch(rest); m != nil; m = section.FindStringSubmatch(rest) {
			if !slices.Contains(r.headings(name), m[1]) {
				r.report(c.file, c.line, "no such section: %s, %q", mentioned, m[1])
			}
			rest = rest[len(m[0]):]
		}
	}
	for _, m := range testMention.FindAllStringSubmatch(c.text, -1) {
		if !r.tests[m[2]] {
			r.report(c.file, c.line, "no such test: %s", m[2])
		}
	}
}

func (r *repository) exists(name string) bool {
	_, err := fs.Stat(r.fsys, path.Clean(name))
	return err == nil
}

func (r *repository) headings(name string) []string {
	if d := r.doc(name); d != nil {
		return d.headings
	}
	return nil
}

func (r *repository) doc(name string) *doc {
	for _, d := range r.docs {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (r *repository) report(file string, line int, format string, args ...any) {
	r.stale = append(r.stale, fmt.Sprintf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
}

// slug returns the anchor that GitHub gives to a heading.
func slug(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '-'
		case c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			return c
		}
		return -1
	}, strings.ToLower(heading))
}
