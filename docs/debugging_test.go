package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/debugging.md has a row for each error that the packages export, and for no other.
func TestDebuggingGuideHasEachError(t *testing.T) {
	b, err := os.ReadFile("debugging.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, m := range regexp.MustCompile("`([a-z]+\\.(?:Err[A-Z]\\w+|[A-Z]\\w+Error))`").FindAllStringSubmatch(string(b), -1) {
		rows = append(rows, m[1])
	}
	var exported []string
	for _, dir := range []string{"session", "session/service", "stream", "stream/relay", "keepalive", "keepalive/heartbeat", "flow", "shaper", "wire"} {
		for _, name := range exportedErrors(t, filepath.Join("..", filepath.FromSlash(dir))) {
			exported = append(exported, path.Base(dir)+"."+name)
		}
	}
	for _, name := range exported {
		if !slices.Contains(rows, name) {
			t.Errorf("no row has %s", name)
		}
	}
	for _, name := range rows {
		if !slices.Contains(exported, name) {
			t.Errorf("no package has %s", name)
		}
	}
	if len(exported) < 30 {
		t.Errorf("%d errors were found", len(exported))
	}
}

// exportedErrors returns the variables of a package that begin with Err, and its types that end with Error.
func exportedErrors(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, id := range s.Names {
						if strings.HasPrefix(id.Name, "Err") {
							names = append(names, id.Name)
						}
					}
				case *ast.TypeSpec:
					if s.Name.IsExported() && strings.HasSuffix(s.Name.Name, "Error") {
						names = append(names, s.Name.Name)
					}
				}
			}
		}
	}
	return names
}
