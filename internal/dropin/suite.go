package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// In this file, a suite is made: a folder with a package and the original's tests of it.

const originalPath = "github.com/xtaci/smux"

// cutFiles and cuts are what is left out of the original's tests when they run against session/smux, with the reason.
var (
	cutFiles = map[string]string{
		"stream_internal_test.go": "each test builds a stream or session from its unexported fields, or calls unexported methods",
	}
	cuts = map[string]string{
		"init": "it serves profiles to the whole network",

		"BenchmarkMSB":                                   "measures an unexported function",
		"TestDebrujin":                                   "tests an unexported function",
		"TestBufferRingPushPopOrder":                     "tests the buffer of its streams",
		"TestBufferRingGrow":                             "tests the buffer of its streams",
		"TestBufferRingEmptyPop":                         "tests the buffer of its streams",
		"TestBufferRingShrinksWhenDrained":               "tests the buffer of its streams",
		"TestFrameString":                                "tests its frame header",
		"TestWriteFrameInternal":                         "tests an unexported method",
		"TestWriteToV2WindowUpdateAfterDestinationError": "reads a counter of its send window; smuxkit sends no update for 45 bytes",
		"TestShaper":                                     "tests the heap of its scheduler",
		"TestShaper2":                                    "tests the heap of its scheduler",
		"TestShaperHeap_MemoryLeak":                      "tests the heap of its scheduler",
		"TestShaperIsEmpty":                              "fills a Frame's fields",
		"TestShaperQueue_PopBoundary":                    "sets the fields of its scheduler",
		"TestShaperQueue_MultiStreamRemoval":             "reads the fields of its scheduler",
	}
	// slow are run with -full alone.
	slow = []string{"TestShaperQueueFairness", "TestShaperQueue_FastWriteSlowRead"}

	// adapted replaces what tests read of unexported fields by the same through the exported API, or through functions in
	// the folder testdata.
	adapted = strings.NewReplacer(
		"serverStream.chFinEvent", "unknown",
		"serverStream.die", "serverStream.GetDieCh()",
		"serverStream.bufferLock.Lock()", "",
		"serverStream.bufferLock.Unlock()", "",
		"serverStream.bufferRing.len()", "unread(serverStream)",
		"atomic.LoadInt32(&serverSession.bucket)", "receiveRoom(serverSession, config)",
	)
	// shortened are the sizes of transfers without -full.
	shortened = strings.NewReplacer("= 8 << 30", "= 64 << 20", "= 1 << 30", "= 64 << 20")
)

// A suite is a folder with a package and tests.
type suite struct {
	dir   string
	tests []string // the names of all tests that the folder has
	names []string // of all functions of the original's test files, those that were cut included
}

// originalDir returns the folder of the original in the module cache. It is downloaded if it is not there.
func originalDir() (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", originalPath).Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w: %s", originalPath, err, out)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	return m.Dir, nil
}

// newSuite makes a suite in dir, of session/smux or else of the original. root is the folder of the main module.
func newSuite(dir, root string, ours, full bool) (*suite, error) {
	from, err := originalDir()
	if err != nil {
		return nil, err
	}
	s := &suite{dir: dir}
	source := from
	if ours {
		source = filepath.Join(root, "session", "smux")
	}
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			if err := copyFile(filepath.Join(dir, filepath.Base(f)), f, nil); err != nil {
				return nil, err
			}
		}
	}
	if err := s.writeModule(root, source, ours); err != nil {
		return nil, err
	}
	tests, err := filepath.Glob(filepath.Join(from, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, f := range tests {
		if err := s.addTests(f, ours, full); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// writeModule writes the suite's go.mod. Its module is called as the original's, so a package in smuxkit's internal/ could
// not be imported.
func (s *suite) writeModule(root, source string, ours bool) error {
	text := "module " + originalPath + "\n\ngo 1.26.0\n"
	if ours {
		mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
		if err != nil {
			return err
		}
		_, text, _ = strings.Cut(string(mod), "\n")
		text = "module " + originalPath + "\n" + text + "\nreplace github.com/smuxkit/smuxkit => " + root + "\n"
		if err := copyFile(filepath.Join(s.dir, "go.sum"), filepath.Join(source, "go.sum"), nil); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(s.dir, "internals_test.go"), "testdata/internals.go.txt", nil); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(s.dir, "go.mod"), []byte(text), 0o644)
}

// addTests adds the tests of a file of the original, without those that are cut. Those of the original itself lose nothing
// but init.
func (s *suite) addTests(file string, ours, full bool) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, source, parser.ParseComments)
	if err != nil {
		return err
	}
	cutAll := ours && cutFiles[filepath.Base(file)] != ""
	var kept []byte
	at := 0
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil {
			continue
		}
		name := fn.Name.Name
		s.names = append(s.names, name)
		if cut := cuts[name] != "" && (ours || name == "init"); cut || !full && slices.Contains(slow, name) {
			kept = append(kept, source[at:offset(d.Pos())]...)
			at = offset(d.End())
			continue
		}
		if strings.HasPrefix(name, "Test") && !cutAll {
			s.tests = append(s.tests, name)
		}
	}
	if cutAll {
		return nil
	}
	text := string(append(kept, source[at:]...))
	if ours {
		text = adapted.Replace(text)
	}
	if !full {
		text = shortened.Replace(text)
	}
	if text, err = dropImports(text); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, filepath.Base(file)), []byte(text), 0o644)
}

// dropImports removes the imports that the source text does not use any more.
func dropImports(text string) (string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", text, 0)
	if err != nil {
		return "", err
	}
	used := make(map[string]bool)
	var imports *ast.GenDecl
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			if n.Tok == token.IMPORT {
				imports = n
			}
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	if imports == nil {
		return text, nil
	}
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	return text[:offset(imports.Pos())] + importsOf(imports, used) + text[offset(imports.End()):], nil
}

// importsOf returns the imports that are used.
func importsOf(g *ast.GenDecl, used map[string]bool) string {
	var b strings.Builder
	b.WriteString("import (\n")
	for _, spec := range g.Specs {
		imp := spec.(*ast.ImportSpec)
		path, _ := strconv.Unquote(imp.Path.Value)
		name := path[strings.LastIndex(path, "/")+1:]
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if used[name] {
			fmt.Fprintf(&b, "\t%s %s\n", name, imp.Path.Value)
		}
	}
	b.WriteString(")\n")
	return b.String()
}

// copyFile writes what the file from has to the file to, edited.
func copyFile(to, from string, edit *strings.Replacer) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if edit != nil {
		b = []byte(edit.Replace(string(b)))
	}
	return os.WriteFile(to, b, 0o644)
}

// run runs go with these arguments in dir, offline, and returns what it prints.
func run(dir string, env []string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
