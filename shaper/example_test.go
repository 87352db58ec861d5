package shaper_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/smuxkit/smuxkit/shaper"
)

// An uplink shares one io.Writer, its transport, among many topics. Its frames are lines.
// A goroutine that finds the writer free sends for all topics.
type uplink struct {
	w io.Writer

	mu        sync.Mutex
	scheduler *shaper.Fair // with every flow in it, guarded by mu
	sending   bool
}

// A topic is one queue of messages.
type topic struct {
	flow  shaper.Flow
	name  string
	queue []string
}

func (u *uplink) topic(name string, weight int) *topic {
	t := &topic{name: name}
	t.flow.Owner = t
	t.flow.SetWeight(weight)
	return t
}

// publish queues a message and returns. It does not block on the transport if
// another goroutine is sending.
func (u *uplink) publish(t *topic, message string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t.queue = append(t.queue, message)
	u.scheduler.Push(&t.flow, shaper.Data)
}

// flush sends messages until none waits.
func (u *uplink) flush() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sending {
		return nil
	}
	u.sending = true
	defer func() { u.sending = false }()
	for {
		flow, class, _ := u.scheduler.Pop()
		if flow == nil {
			return nil
		}
		t := flow.Owner.(*topic)
		frame := t.name + ": " + t.queue[0] + "\n"
		t.queue = t.queue[1:]

		u.mu.Unlock() // others may publish while the transport takes the frame
		_, err := io.WriteString(u.w, frame)
		u.mu.Lock()
		u.scheduler.EndTurn(flow, class, len(frame), len(t.queue) > 0)
		if err != nil {
			return err
		}
	}
}

// Two backups of 1,500 bytes a message share the transport 2:1 in bytes, and an
// alarm need not wait behind them.
func Example() {
	abridged := newLineWriter(os.Stdout)
	u := &uplink{w: abridged, scheduler: shaper.NewFair(shaper.WithQuantum(1500))}
	photos, mail, alarm := u.topic("photos", 2), u.topic("mail", 1), u.topic("alarm", 1)

	abridged.after(3, func() { u.publish(alarm, "door open") })
	for range 6 {
		u.publish(photos, strings.Repeat("p", 1491))
	}
	for range 3 {
		u.publish(mail, strings.Repeat("m", 1493))
	}
	if err := u.flush(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// photos: 1500 bytes
	// mail: 1500 bytes
	// photos: 1500 bytes
	// alarm: 17 bytes
	// mail: 1500 bytes
	// photos: 1500 bytes
	// photos: 1500 bytes
	// mail: 1500 bytes
	// photos: 1500 bytes
	// photos: 1500 bytes
}

// A lineWriter is the transport: it prints a summary of each line.
type lineWriter struct {
	out   io.Writer
	lines int
	at    int
	do    func()
}

func newLineWriter(out io.Writer) *lineWriter { return &lineWriter{out: out} }

// after calls do while it writes the line with this number.
func (l *lineWriter) after(lines int, do func()) { l.at, l.do = lines, do }

func (l *lineWriter) Write(p []byte) (int, error) {
	if l.lines++; l.lines == l.at {
		l.do()
	}
	name, _, _ := strings.Cut(string(p), ":")
	fmt.Fprintf(l.out, "%s: %d bytes\n", name, len(p))
	return len(p), nil
}

// strict is a Scheduler with two priorities, made of two Fairs. While an urgent flow waits no
// other flow has a turn, so urgent flows can starve the rest.
type strict struct{ urgent, rest shaper.Fair }

// of returns the scheduler of f, which depends on f's owner.
func (s *strict) of(f *shaper.Flow) *shaper.Fair {
	if strings.HasPrefix(f.Owner.(string), "urgent") {
		return &s.urgent
	}
	return &s.rest
}

func (s *strict) Push(f *shaper.Flow, c shaper.Class) { s.of(f).Push(f, c) }
func (s *strict) Empty() bool                         { return s.urgent.Empty() && s.rest.Empty() }

func (s *strict) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	s.of(f).EndTurn(f, c, n, more)
}

func (s *strict) Pop() (*shaper.Flow, shaper.Class, int) {
	if !s.urgent.Empty() {
		return s.urgent.Pop()
	}
	return s.rest.Pop()
}

// A Scheduler of your own decides who sends next: set it as Config.NewScheduler of package session.
func ExampleScheduler() {
	var s shaper.Scheduler = new(strict)
	flows := []shaper.Flow{{Owner: "backup"}, {Owner: "urgent 1"}, {Owner: "urgent 2"}}
	for i := range flows {
		s.Push(&flows[i], shaper.Data)
	}
	for turn := range 5 {
		f, c, n := s.Pop()
		fmt.Println(f.Owner, n)
		s.EndTurn(f, c, n, turn < 2)
	}
	fmt.Println("nobody waits:", s.Empty())
	// Output:
	// urgent 1 32768
	// urgent 2 32768
	// urgent 1 32768
	// urgent 2 32768
	// backup 32768
	// nobody waits: true
}
