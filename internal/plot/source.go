package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// shown are the modules whose versions a comparison names, by what it calls them.
var shown = []struct{ name, module string }{
	{"xtaci/smux", "github.com/xtaci/smux"},
	{"yamux", "github.com/hashicorp/yamux"},
	{"go-yamux", "github.com/libp2p/go-yamux/v5"},
	{"muxado", "golang.ngrok.com/muxado/v2"},
}

var (
	runStart   = regexp.MustCompile(`(?m)^Measured on (\d{4}-\d\d-\d\d) `)
	runMachine = regexp.MustCompile(`(?m)^- Machine: (.*?) \(used: [^)]*\), (.*?)(, congestion control \w+)?(, \w+/\w+), (go[\d.]+)\.$`)
	runVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[\w.-]*\w)?`)
	runRows    = regexp.MustCompile(`(?m)^- Rows: (.*)\.$`)
)

// readSource returns what a page says of the runs that measured these rows: a line with their days and machines, and one
// with versions.
func readSource(page string, rows []string) ([]string, error) {
	starts := runStart.FindAllStringSubmatchIndex(page, -1)
	var days, machines []string
	versions := make([][]string, len(shown))
	for i, at := range starts {
		end := len(page)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		run, _, _ := strings.Cut(page[at[0]:end], "\n### ")
		if m := runRows.FindStringSubmatch(run); m != nil {
			of := strings.Split(m[1], ", ")
			if !slices.ContainsFunc(rows, func(r string) bool { return slices.Contains(of, r) }) {
				continue
			}
		}
		days = append(days, page[at[2]:at[3]])
		if m := runMachine.FindStringSubmatch(run); m != nil {
			machines = append(machines, m[1]+m[4]+", "+m[5])
		}
		for i, s := range shown {
			if _, version, ok := strings.Cut(run, s.module+" "); ok {
				versions[i] = append(versions[i], runVersion.FindString(version))
			}
		}
	}
	if len(days) == 0 || len(machines) == 0 {
		return nil, fmt.Errorf("%s does not say when its figures were measured, or on which machine", performance)
	}
	var others []string
	for i, s := range shown {
		if len(versions[i]) > 0 {
			others = append(others, s.name+" "+distinct(versions[i]))
		}
	}
	return []string{
		fmt.Sprintf("Measured on %s. %s.", distinct(days), distinct(machines)),
		"Versions: " + strings.Join(others, ", ") + ".",
	}, nil
}

// distinct joins what differs, in order.
func distinct(texts []string) string {
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), " and ")
}
