package shaper_test

import (
	"fmt"
	"strings"

	"github.com/smuxkit/smuxkit/shaper"
)

// An upload is a sender. Its Flow is its place in the scheduler.
type upload struct {
	flow shaper.Flow
	name string
	left int // bytes to send
}

// begin adds an upload to s.
func begin(s shaper.Scheduler, name string, left, weight int) {
	u := &upload{name: name, left: left}
	u.flow.Owner = u
	u.flow.SetWeight(weight)
	s.Push(&u.flow, shaper.Data)
}

// Two uploads take turns. The one of weight 2 sends twice as much as the other, until it is done.
func ExampleFlow() {
	s := shaper.NewFair(shaper.WithQuantum(10_000))
	begin(s, "photos", 40_000, 2)
	begin(s, "mail", 20_000, 1)
	for !s.Empty() {
		f, class, n := s.Pop()
		u := f.Owner.(*upload)
		sent := min(n, u.left)
		u.left -= sent
		fmt.Println(u.name, sent)
		s.EndTurn(f, class, sent, u.left > 0)
	}
	// Output:
	// photos 10000
	// mail 10000
	// photos 10000
	// mail 10000
	// photos 20000
}

// Control goes before data, whoever came first.
func ExampleFair() {
	var s shaper.Fair // ready for use, with the default quantum
	bulk, chat := shaper.Flow{Owner: "bulk"}, shaper.Flow{Owner: "chat"}
	s.Push(&bulk, shaper.Data)
	s.Push(&chat, shaper.Data)
	s.Push(&bulk, shaper.Control) // a window update, for example
	for !s.Empty() {
		f, class, n := s.Pop()
		fmt.Println(f.Owner, class, n)
		s.EndTurn(f, class, min(n, 1000), false)
	}
	// Output:
	// bulk control 1024
	// bulk data 32768
	// chat data 32768
}

// The owner of a transport collects frames, and writes them together. A Batcher says when a batch should end early.
func ExampleBatcher() {
	var s shaper.Batcher = shaper.NewFair()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		begin(s, name, 10_000, 1)
	}
	var batch []string
	write := func() {
		fmt.Println("one write:", strings.Join(batch, " "))
		batch = batch[:0]
	}
	for !s.Empty() {
		if len(batch) == 3 || len(batch) > 0 && s.FlushDue() {
			write()
		}
		f, class, n := s.Pop()
		u := f.Owner.(*upload)
		batch = append(batch, u.name)
		s.EndTurn(f, class, min(n, u.left), false)
	}
	write()
	// Output:
	// one write: a b c
	// one write: d e
}
