package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

const (
	resultsFile     = "results.json"
	performancePage = "../../docs/performance.md"
)

// results are figures by row. The file that keeps them has those of several runs: a row's are always of one run.
type results struct {
	// Runs describes each run, by the number that its rows have.
	Runs map[int]string        `json:"runs"`
	Rows map[string]*rowResult `json:"rows"`
}

// A rowResult is what was measured in one row.
type rowResult struct {
	Run   int              `json:"run"`
	Peers map[string]*cell `json:"peers"`
}

// A cell holds what was measured of one peer in one row.
type cell struct {
	Figures figures `json:"figures,omitempty"` // medians
	Skipped string  `json:"skipped,omitempty"` // why there are none
	Failed  string  `json:"failed,omitempty"`  // what ended the series
	Size    int     `json:"size,omitempty"`    // the write size, where raw TCP had a choice

	samples []figures
}

func newResults() *results {
	return &results{Runs: map[int]string{}, Rows: map[string]*rowResult{}}
}

// figure returns one figure; ok is false if there is none.
func (c *cell) figure(name string) (value float64, ok bool) {
	if c == nil {
		return 0, false
	}
	value, ok = c.Figures[name]
	return value, ok
}

// settle takes the medians of the samples.
func (c *cell) settle() {
	if len(c.samples) == 0 {
		return
	}
	c.Figures = figures{}
	for name := range c.samples[0] {
		var values []float64
		for _, s := range c.samples {
			values = append(values, s[name])
		}
		slices.Sort(values)
		n := len(values)
		c.Figures[name] = (values[(n-1)/2] + values[n/2]) / 2
	}
}

// row returns the cells of a row by peer.
func (r *results) row(name string) map[string]*cell {
	if result := r.Rows[name]; result != nil {
		return result.Peers
	}
	return nil
}

// describe says where all rows of r come from.
func (r *results) describe(text string) { r.Runs = map[int]string{0: text} }

// add puts the rows of one new run in place of what was kept of them.
func (r *results) add(run *results) {
	number := 0
	for n := range r.Runs {
		number = max(number, n+1)
	}
	r.Runs[number] = run.Runs[0]
	for name, result := range run.Rows {
		result.Run = number
		r.Rows[name] = result
	}
	r.prune()
}

// prune forgets rows that are no more, and runs that have no rows.
func (r *results) prune() {
	used := map[int]bool{}
	for name, result := range r.Rows {
		if findRow(name) == nil {
			delete(r.Rows, name)
			continue
		}
		used[result.Run] = true
	}
	for n := range r.Runs {
		if !used[n] {
			delete(r.Runs, n)
		}
	}
}

// readResults reads what was kept; nothing, if there is no file.
func readResults(file string) (*results, error) {
	r := newResults()
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func (r *results) write(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
