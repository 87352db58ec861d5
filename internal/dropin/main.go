package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// main runs the original's benchmarks for both packages, and prints them side by side.
func main() {
	benchtime := flag.String("benchtime", "1s", "as for go test")
	count := flag.String("count", "3", "as for go test")
	flag.Parse()
	log.SetFlags(0)
	if err := benchmarks(*benchtime, *count); err != nil {
		log.Fatal(err)
	}
}

func benchmarks(benchtime, count string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	results := make(map[string][2][]string) // by the benchmark's name
	var order []string
	for i, ours := range []bool{false, true} {
		dir, err := os.MkdirTemp("", "dropin")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if _, err := newSuite(dir, root, ours, false); err != nil {
			return err
		}
		out, err := run(dir, nil, "test", "-run", "^$", "-bench", "AcceptClose|Conn", "-benchtime", benchtime, "-count", count, ".")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		for line := range strings.Lines(out) {
			name, figures, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if !ok || !strings.HasPrefix(name, "Benchmark") {
				continue
			}
			name = strings.TrimSpace(name)
			r, known := results[name]
			if !known {
				order = append(order, name)
			}
			r[i] = append(r[i], strings.Join(strings.Fields(figures), " "))
			results[name] = r
		}
	}
	for _, name := range order {
		fmt.Println(name)
		for i, who := range []string{originalPath, "session/smux"} {
			for _, figures := range results[name][i] {
				fmt.Printf("  %-24s %s\n", who, figures)
			}
		}
	}
	return nil
}
