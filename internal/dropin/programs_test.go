package main

import (
	"archive/zip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Programs of this repository that import the original work with a replace line in their go.mod, as they are: the benchmark,
// which runs it beside other libraries, and tests of internal/interop, which have it as the peer.
func TestProgramsWorkWithAReplaceLine(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for dir, tests := range map[string]string{
		"internal/bench":   ".",
		"internal/interop": "^(TestEveryByteArrivesBothWaysAtOnce|TestDataSentRightBeforeCloseArrives|TestOurHalfCloseLetsTheirAnswerArrive)$",
	} {
		t.Run(dir, func(t *testing.T) {
			mod := filepath.Join(t.TempDir(), "go.mod")
			absolute := strings.NewReplacer("=> ../..", "=> "+root)
			if err := copyFile(mod, filepath.Join(root, dir, "go.mod"), absolute); err != nil {
				t.Fatal(err)
			}
			if err := copyFile(strings.TrimSuffix(mod, "mod")+"sum", filepath.Join(root, dir, "go.sum"), nil); err != nil {
				t.Fatal(err)
			}
			work := filepath.Join(root, dir)
			if out, err := run(work, nil, "mod", "edit", "-replace="+originalPath+"="+filepath.Join(root, "session", "smux"), mod); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := run(work, []string{"GOPROXY=" + os.Getenv("GOPROXY")}, "test", "-modfile="+mod, "-count=1", "-short", "-run", tests, ".")
			if err != nil {
				t.Fatalf("%v\n%s", err, last(out, 60))
			}
		})
	}
}

// published are the modules that users take, and their folders.
var published = map[string]string{
	"github.com/smuxkit/smuxkit":              ".",
	"github.com/smuxkit/smuxkit/session/smux": "session/smux",
}

// A program that imports the original needs one line in its go.mod and go mod tidy to use session/smux, once the modules are
// published: no module has a replace line that matters to others, and no test of session/smux imports it by its own path. The
// modules come from a proxy in a folder.
func TestPublishedModuleNeedsOnlyTheReplaceLine(t *testing.T) {
	const version = "v0.1.0"
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	proxy, program := t.TempDir(), t.TempDir()
	for path, dir := range published {
		if err := publish(proxy, path, version, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := run(".", nil, "env", "GOMODCACHE")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(strings.TrimSpace(cache), "cache", "download"),
		"GOMODCACHE=" + filepath.Join(proxy, "cache"), "GOFLAGS=-mod=mod -modcacherw", "GONOSUMDB=*", "GOSUMDB=off", "GONOPROXY=none",
	}
	for name, text := range map[string]string{
		"go.mod": fmt.Sprintf("module example.com/program\n\ngo 1.25.0\n\nrequire %s v1.5.58\n\nreplace %[1]s => github.com/smuxkit/smuxkit/session/smux %s\n",
			originalPath, version),
		"main.go": programText,
	} {
		if err := os.WriteFile(filepath.Join(program, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run(program, env, "mod", "tidy"); err != nil {
		t.Errorf("go mod tidy: %v\n%s", err, out)
	}
	out, err := run(program, env, "run", ".")
	if err != nil || !strings.Contains(out, "hello") || !strings.Contains(out, "github.com/smuxkit/smuxkit/session/smux "+version) {
		t.Errorf("%v\n%s", err, out)
	}
}

// programText prints what came back through a stream, and what its build says of the original's module.
const programText = `package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"runtime/debug"

	"github.com/xtaci/smux"
)

func main() {
	a, b := net.Pipe()
	c, err := smux.Client(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := smux.Server(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		st, err := s.AcceptStream()
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(st, st)
		st.Close()
	}()
	st, err := c.OpenStream()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(st, "hello")
	st.CloseWrite()
	answer, err := io.ReadAll(st)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer))
	info, _ := debug.ReadBuildInfo()
	for _, d := range info.Deps {
		if d.Replace != nil {
			fmt.Println(d.Path, d.Replace.Path, d.Replace.Version)
		}
	}
}
`

// publish adds the module in dir to the proxy.
func publish(proxy, path, version, dir string) error {
	at := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"list": version + "\n", version + ".info": fmt.Sprintf("{%q: %q}", "Version", version)} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(at, version+".mod"), filepath.Join(dir, "go.mod"), nil); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(at, version+".zip"))
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	if err := zipModule(z, path+"@"+version, dir); err != nil {
		return err
	}
	return z.Close()
}

// zipModule adds the Go files of a module, which end where another module begins.
func zipModule(z *zip.Writer, prefix, dir string) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if file != dir && (err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(file)) {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		w, err := z.Create(prefix + "/" + filepath.ToSlash(name))
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
}
