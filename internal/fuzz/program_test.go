package fuzz

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A language says how bytes are read as a program, and how a program is written as text: one
// operation a line, with its arguments. Every sequence of bytes is a program.
type language struct {
	header    operation // a program's first line: what is set up
	repertory []operation
}

// maxInput bounds a program: the fuzzer tries up to half its square of bytes to make it shorter.
const maxInput = 128

// An operation is a byte, and a byte for each argument.
type operation struct {
	name string
	args []kind
}

// A kind is the values that an argument may have. A byte picks one.
type kind []value

type value struct {
	number int
	text   string
}

// A step is one operation of a program.
type step struct {
	operation
	args [maxArgs]value
}

const maxArgs = 8

func (s step) arg(i int) int { return s.args[i].number }

func (s step) duration(i int) time.Duration { return time.Duration(s.args[i].number) }

func (s step) String() string {
	words := []string{s.name}
	for i := range s.operation.args {
		words = append(words, s.args[i].text)
	}
	return strings.Join(words, " ")
}

// words are values that are called by name; their numbers count from 0.
func words(names ...string) (k kind) {
	for i, name := range names {
		k = append(k, value{i, name})
	}
	return k
}

func numbers(ns ...int) (k kind) {
	for _, n := range ns {
		k = append(k, value{n, strconv.Itoa(n)})
	}
	return k
}

func durations(ds ...time.Duration) (k kind) {
	for _, d := range ds {
		k = append(k, value{int(d), d.String()})
	}
	return k
}

// decode reads a program. What is missing at the end is zero.
func (l *language) decode(b []byte) (header step, steps []step) {
	header, b = read(l.header, b[:min(len(b), maxInput)])
	for len(b) > 0 {
		var s step
		s, b = read(l.repertory[int(b[0])%len(l.repertory)], b[1:])
		steps = append(steps, s)
	}
	return header, steps
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

// encode makes the bytes of a program that is written as text, with operations separated by
// semicolons or in lines of their own.
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

// text is what encode reads.
func text(header step, steps []step) string {
	var b strings.Builder
	fmt.Fprintln(&b, header)
	for _, s := range steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}
