package fuzz

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A program is the sequence of events of a test.
type program struct {
	header step // the settings
	steps  []step
}

// A language defines how bytes are decoded as a program, and how a program is written as text: one operation a
// line, with its arguments. Every sequence of bytes is a program.
type language struct {
	header    operation
	repertory []operation
	first     []string // random programs begin with these, once or more
	rare      []string // random programs rarely have these, which end much
}

// maxInput is the most bytes of a program. To make it shorter, the fuzzer tries up to half the square of its
// length in bytes.
const maxInput = 128

// An operation is a byte and a byte for each argument.
type operation struct {
	name string
	args []kind
}

// A kind is the values that an argument may have. A byte picks one.
type kind []value

type value struct {
	number int64
	text   string
}

// A step is one operation of a program.
type step struct {
	operation
	args [maxArgs]value
}

const maxArgs = 10

func (s step) arg(i int) int { return int(s.args[i].number) }

func (s step) duration(i int) time.Duration { return time.Duration(s.args[i].number) }

func (s step) String() string {
	words := []string{s.name}
	for i := range s.operation.args {
		words = append(words, s.args[i].text)
	}
	return strings.Join(words, " ")
}

// words are values with names. Their numbers count from 0.
func words(names ...string) (k kind) {
	for i, name := range names {
		k = append(k, value{int64(i), name})
	}
	return k
}

func numbers(ns ...int) (k kind) {
	for _, n := range ns {
		k = append(k, value{int64(n), strconv.Itoa(n)})
	}
	return k
}

func durations(ds ...time.Duration) (k kind) {
	for _, d := range ds {
		k = append(k, value{int64(d), d.String()})
	}
	return k
}

// decode decodes a program. Bytes missing at the end are zero.
func (l *language) decode(b []byte) (p program) {
	p.header, b = read(l.header, b[:min(len(b), maxInput)])
	for len(b) > 0 {
		var s step
		s, b = read(l.repertory[int(b[0])%len(l.repertory)], b[1:])
		p.steps = append(p.steps, s)
	}
	return p
}

func read(o operation, b []byte) (step, []byte) {
	s := step{operation: o}
	for i, k := range o.args {
		n := 0
		if len(b) > 0 {
			n, b = int(b[0])%len(k), b[1:]
		}
		s.args[i] = k[n]
	}
	return s, b
}

// encode encodes a program that is written as text, with operations separated by semicolons or line ends.
func (l *language) encode(text string) (b []byte) {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' })
	header := true
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		o := l.header
		if !header {
			code := -1
			for i, known := range l.repertory {
				if known.name == fields[0] {
					code, o = i, known
				}
			}
			if code < 0 {
				panic("no such operation: " + line)
			}
			b = append(b, byte(code))
		}
		header = false
		if fields[0] != o.name || len(fields) != 1+len(o.args) {
			panic(fmt.Sprintf("%q: want %s with %d arguments", line, o.name, len(o.args)))
		}
		for i, k := range o.args {
			b = append(b, k.index(fields[1+i], line))
		}
	}
	return b
}

func (k kind) index(text, line string) byte {
	for i, v := range k {
		if v.text == text {
			return byte(i)
		}
	}
	panic(fmt.Sprintf("%q: no such value: %s", line, text))
}

// String returns the text that encode reads.
func (p program) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, p.header)
	for _, s := range p.steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// random draws a program at random.
func (l *language) random(rng *rand.Rand) (p program) {
	draw := func(o operation) step {
		s := step{operation: o}
		for i, k := range o.args {
			s.args[i] = k[rng.IntN(len(k))]
		}
		return s
	}
	p.header = draw(l.header)
	firsts := 1 + rng.IntN(4)
	for n := firsts + 1 + rng.IntN(60); len(p.steps) < n; {
		o := l.repertory[rng.IntN(len(l.repertory))]
		if slices.Contains(l.rare, o.name) && rng.IntN(10) > 0 || len(p.steps) < firsts && !slices.Contains(l.first, o.name) {
			continue
		}
		p.steps = append(p.steps, draw(o))
	}
	return p
}

var programs = flag.Int("programs", 300, "test `n` programs that are drawn at random")

// eachProgram runs random programs, which are the same each time. A failure prints what to add to the seeds.
func eachProgram(t *testing.T, l *language, run func(t *testing.T, p program)) {
	for seed := range *programs {
		run(t, l.random(rand.New(rand.NewPCG(uint64(seed), 0))))
	}
}
