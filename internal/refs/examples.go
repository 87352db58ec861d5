package refs

import (
	"fmt"
	"go/ast"
	godoc "go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// A Shown is the Example that shows a type which needs none of its own, such as a list of constants.
type Shown struct {
	Example string // the function's name, in the package of the type; "": there is nothing to show
	Why     string
}

// maxExampleLines is how long the body of an Example may be.
const maxExampleLines = 40

// CheckExamples returns a line for each fault of the Examples of the public packages, those that a program can import:
//
//   - An exported type has no Example of its own, ExampleType or ExampleType_…, and shown names no other one. The keys
//     of shown are a folder and a type: "stream.Stats".
//   - A type of shown is gone, has an Example of its own, or does not occur in its Example.
//   - A field of one of the structs, which are named like the types of shown, is set in no Example of its package.
//   - An Example has no comment, is never run because it has no output, is longer than 40 lines, sleeps, or uses what
//     its file does not show.
func CheckExamples(fsys fs.FS, shown map[string]Shown, structs ...string) ([]string, error) {
	packages, err := readPackages(fsys)
	if err != nil {
		return nil, err
	}
	var faults []string
	report := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	found := make(map[string]bool)
	for _, p := range packages {
		for _, e := range p.examples {
			p.checkExample(e, report)
		}
		for _, name := range slices.Sorted(maps.Keys(p.types)) {
			key := p.dir + "." + name
			found[key] = true
			s, ok := shown[key]
			p.checkType(name, s, ok, report)
			if slices.Contains(structs, key) {
				p.checkFields(name, report)
			}
		}
	}
	for _, key := range append(slices.Sorted(maps.Keys(shown)), structs...) {
		if !found[key] {
			report("%s: no such type", key)
		}
	}
	return faults, nil
}

// A publicPackage is what CheckExamples knows of a package.
type publicPackage struct {
	dir      string
	types    map[string]*publicType // the exported ones
	examples []*godoc.Example
	inside   []string // functions of the test files that are in the package itself, and not in package …_test
	helpers  []string // what else the test files declare
	files    *token.FileSet
}

// A publicType is an exported type.
type publicType struct {
	fields []string // exported fields, if it is a struct
	words  []string // identifiers that show the type: its name, its fields and methods, its constants, what returns it
}

// readPackages reads the packages that a program can import, in the order of their folders.
func readPackages(fsys fs.FS) (packages []*publicPackage, err error) {
	err = fs.WalkDir(fsys, ".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch base := path.Base(dir); {
		case base == "internal", base == "testdata", dir == "examples", dir == "docs", len(base) > 1 && base[0] == '.':
			return fs.SkipDir
		}
		p, err := readPackage(fsys, dir)
		if p != nil {
			packages = append(packages, p)
		}
		return err
	})
	return packages, err
}

// readPackage reads one package. It returns nil if there is none, or only a program.
func readPackage(fsys fs.FS, dir string) (*publicPackage, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &publicPackage{dir: dir, types: make(map[string]*publicType), files: token.NewFileSet()}
	var sources, tests []*ast.File
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(p.files, name, b, parser.ParseComments)
		switch {
		case err != nil:
			return nil, err
		case strings.HasSuffix(name, "_test.go"):
			tests = append(tests, f)
		case f.Name.Name == "main":
			return nil, nil
		default:
			sources = append(sources, f)
		}
	}
	if len(sources) == 0 {
		return nil, nil
	}
	for _, f := range sources {
		p.addTypes(f)
	}
	for _, f := range sources {
		p.addWords(f)
	}
	for _, f := range tests {
		p.addTestNames(f)
	}
	p.examples = godoc.Examples(tests...)
	return p, nil
}

// addTestNames adds what a test file declares.
func (p *publicPackage) addTestNames(f *ast.File) {
	for name, o := range f.Scope.Objects {
		switch {
		case !strings.HasPrefix(name, "Example"):
			p.helpers = append(p.helpers, name)
		case o.Kind == ast.Fun && !strings.HasSuffix(f.Name.Name, "_test"):
			p.inside = append(p.inside, name)
		}
	}
}

// addTypes adds the exported types of a file.
func (p *publicPackage) addTypes(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, spec := range g.Specs {
			s := spec.(*ast.TypeSpec)
			if !s.Name.IsExported() {
				continue
			}
			t := &publicType{words: []string{s.Name.Name}}
			switch x := s.Type.(type) {
			case *ast.StructType:
				t.fields = exportedNames(x.Fields)
				t.words = append(t.words, t.fields...)
			case *ast.InterfaceType:
				t.words = append(t.words, exportedNames(x.Methods)...)
			}
			p.types[s.Name.Name] = t
		}
	}
}

func exportedNames(list *ast.FieldList) (names []string) {
	for _, field := range list.List {
		for _, name := range field.Names {
			if name.IsExported() {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// addWords adds the constants of the package's types, and the functions and methods that return them.
func (p *publicPackage) addWords(f *ast.File) {
	add := func(typ ast.Expr, word string) {
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if id, ok := typ.(*ast.Ident); ok && p.types[id.Name] != nil {
			t := p.types[id.Name]
			t.words = append(t.words, word)
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Type.Results != nil {
				add(d.Type.Results.List[0].Type, d.Name.Name)
			}
		case *ast.GenDecl:
			var typ ast.Expr
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.ValueSpec)
				if !ok || d.Tok != token.CONST {
					break
				}
				if s.Type != nil || s.Values != nil { // otherwise it repeats the one before
					typ = s.Type
				}
				for _, name := range s.Names {
					add(typ, name.Name)
				}
			}
		}
	}
}

// example returns the Example with that name, "Session_Shutdown" for instance, or nil.
func (p *publicPackage) example(name string) *godoc.Example {
	for _, e := range p.examples {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// checkType reports a type that no Example shows. listed says that s is not the zero value.
func (p *publicPackage) checkType(name string, s Shown, listed bool, report func(string, ...any)) {
	own := slices.ContainsFunc(p.examples, func(e *godoc.Example) bool {
		typ, _, _ := strings.Cut(e.Name, "_")
		return typ == name
	})
	switch e := p.example(strings.TrimPrefix(s.Example, "Example")); {
	case own && listed:
		report("%s.%s: it has an Example of its own, so it needs no line in the list", p.dir, name)
	case own:
	case !listed:
		report("%s.%s: no Example%s", p.dir, name, name)
	case s.Why == "":
		report("%s.%s: the list does not say why it needs no Example of its own", p.dir, name)
	case s.Example == "":
	case e == nil || !strings.HasPrefix(s.Example, "Example"):
		report("%s.%s: no such Example: %s", p.dir, name, s.Example)
	case !mentions(e, p.types[name].words):
		report("%s.%s: %s does not show it", p.dir, name, s.Example)
	}
}

// program returns the Example as a program, with all that it uses from its file.
func program(e *godoc.Example) ast.Node {
	if e.Play != nil {
		return e.Play
	}
	return e.Code
}

// standsAlone reports whether the Example is in the package itself, as those of session/smux must be, and uses nothing of
// the test files but what is in its body: no more of it is shown.
func (p *publicPackage) standsAlone(e *godoc.Example) bool {
	alone := true
	for _, name := range p.helpers {
		alone = alone && !mentions(e, []string{name})
	}
	return alone && slices.Contains(p.inside, "Example"+e.Name)
}

// mentions reports whether one of the words is an identifier of the Example.
func mentions(e *godoc.Example, words []string) (found bool) {
	ast.Inspect(program(e), func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(words, id.Name) {
			found = true
		}
		return !found
	})
	return found
}

// checkFields reports the fields of a struct that no Example sets.
func (p *publicPackage) checkFields(name string, report func(string, ...any)) {
	set := make(map[string]bool)
	for _, e := range p.examples {
		ast.Inspect(program(e), func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			typ, ok := lit.Type.(*ast.SelectorExpr)
			if !ok || typ.Sel.Name != name {
				return true
			}
			if pkg, ok := typ.X.(*ast.Ident); !ok || pkg.Name != path.Base(p.dir) {
				return true
			}
			for _, elt := range lit.Elts {
				if kv, ok := elt.(*ast.KeyValueExpr); ok {
					set[kv.Key.(*ast.Ident).Name] = true
				}
			}
			return true
		})
	}
	for _, field := range p.types[name].fields {
		if !set[field] {
			report("%s.%s: no Example sets the field %s", p.dir, name, field)
		}
	}
}

// checkExample reports what is wrong with an Example.
func (p *publicPackage) checkExample(e *godoc.Example, report func(string, ...any)) {
	fault := func(what string) {
		report("%v: Example%s %s", p.files.Position(e.Code.Pos()), e.Name, what)
	}
	if e.Doc == "" {
		fault("has no comment")
	}
	if e.Output == "" && !e.EmptyOutput {
		fault("is never run: it has no output")
	}
	if block, ok := e.Code.(*ast.BlockStmt); ok {
		if n := p.files.Position(block.Rbrace).Line - p.files.Position(block.Lbrace).Line - 1; n > maxExampleLines {
			fault(fmt.Sprintf("has %d lines, may have %d", n, maxExampleLines))
		}
	}
	if e.Play == nil && !p.standsAlone(e) {
		fault("uses something that its file does not have")
		return
	}
	ast.Inspect(program(e), func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			fault("sleeps")
		}
		return true
	})
}
