package flow_test

import (
	"container/heap"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A simulation is a discrete-event one: events run in the order of their virtual
// time, and those of one time in the order they were made. It is deterministic.
type simulation struct {
	now    time.Duration
	events eventHeap
	made   int
}

type event struct {
	at   time.Duration
	made int
	run  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].made < h[j].made
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}

func (s *simulation) after(d time.Duration, run func()) {
	s.made++
	heap.Push(&s.events, event{s.now + max(0, d), s.made, run})
}

// run runs all events up to the time until.
func (s *simulation) run(until time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.run()
	}
	s.now = until
}

// A link carries frames one after the other at a rate, each arriving a delay
// after its last byte left. What waits to be sent is held in a buffer, as a TCP
// socket does.
type link struct {
	sim    *simulation
	rate   float64 // bytes a second; 0: no limit
	delay  time.Duration
	buffer int // bytes that may wait
	free   time.Duration
	queue  []func() // senders that wait for room, in turn
}

// room is how long to wait until another frame may be handed to the link.
func (l *link) room() time.Duration {
	return max(0, l.free-l.sim.now-l.time(l.buffer))
}

// await calls f when there is room, after all senders that waited before.
func (l *link) await(f func()) {
	l.queue = append(l.queue, f)
	if len(l.queue) == 1 {
		l.sim.after(l.room(), l.next)
	}
}

func (l *link) next() {
	f := l.queue[0]
	f()
	if l.queue = l.queue[1:]; len(l.queue) > 0 {
		l.sim.after(l.room(), l.next)
	}
}

func (l *link) time(n int) time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / l.rate * 1e9)
}

func (l *link) send(n int, arrived func()) {
	l.free = max(l.free, l.sim.now) + l.time(n)
	l.sim.after(l.free-l.sim.now+l.delay, arrived)
}

// some returns all cases, or with the race detector, or with -short, the first of them.
func some[T any](cases ...T) []T {
	if testutil.Race || testing.Short() {
		return cases[:1]
	}
	return cases
}

const (
	frameHeader  = 8
	framePayload = 32760
	updateFrame  = 16
)

// A transfer is one stream: a sender that obeys a SendWindow, and a reader behind
// a ReceiveWindow.
type transfer struct {
	t    testing.TB
	sim  *simulation
	link *link
	back *link
	slow *slowStart // if not nil, in place of link
	g    flow.Allocator

	left    int // bytes the sending application has yet to write
	frame   int // largest payload; 0: framePayload
	sending bool
	out     flow.SendWindow

	in        flow.ReceiveWindow
	piece     int           // bytes a read takes at most; 0: 32 KiB
	readTime  time.Duration // time that a read takes
	readEvery time.Duration // how often the reader comes back, to read all bytes
	reading   bool

	read      int
	updates   int
	maxWindow int
	maxUnread int
	times     []time.Duration // when each MiB had been read
}

func newTransfer(t testing.TB, sim *simulation, rate float64, rtt time.Duration, g flow.Allocator) *transfer {
	x := &transfer{
		t: t, sim: sim, g: g,
		link: &link{sim: sim, rate: rate, delay: rtt / 2, buffer: 64 << 10},
		back: &link{sim: sim, delay: rtt / 2},
	}
	if x.in.Open(g) {
		x.update()
	}
	return x
}

func (x *transfer) write(n int) {
	x.left += n
	x.send()
}

// send sends frames until the window or the link stops it.
func (x *transfer) send() {
	for !x.sending && x.left > 0 && x.out.Available() > 0 {
		if x.slow != nil && x.slow.full() {
			x.slow.onRoom = x.send
			return
		}
		if len(x.link.queue) > 0 || x.link.room() > 0 {
			x.sending = true
			x.link.await(func() {
				x.sending = false
				x.sendFrame()
				x.send()
			})
			return
		}
		x.sendFrame()
	}
}

func (x *transfer) sendFrame() {
	most := x.frame
	if most == 0 {
		most = framePayload
	}
	if n := min(x.left, x.out.Available(), most); n > 0 {
		x.out.AddSent(n)
		x.left -= n
		if x.slow != nil {
			x.slow.send(n, x.arrive)
			return
		}
		x.link.send(n+frameHeader, func() { x.arrive(n) })
	}
}

func (x *transfer) arrive(n int) {
	if err := x.in.AddReceived(n, x.sim.now, 0); err != nil {
		x.t.Fatalf("at %v: %v", x.sim.now, err)
	}
	must(x.t, x.in.Check())
	x.maxUnread = max(x.maxUnread, x.in.Unread())
	if !x.reading {
		x.reading = true
		if x.readEvery > 0 {
			x.sim.after(x.readEvery-x.sim.now%x.readEvery, x.readAll)
		} else {
			x.sim.after(x.readTime, x.readPiece)
		}
	}
}

func (x *transfer) readPiece() {
	x.take()
	if x.reading = x.in.Unread() > 0; x.reading {
		x.sim.after(x.readTime, x.readPiece)
	}
}

func (x *transfer) readAll() {
	for x.in.Unread() > 0 {
		x.take()
	}
	x.reading = false
}

func (x *transfer) take() {
	piece := x.piece
	if piece == 0 {
		piece = 32 << 10
	}
	n := min(x.in.Unread(), piece)
	for done := x.read; done>>20 < (x.read+n)>>20; done += 1 << 20 {
		x.times = append(x.times, x.sim.now)
	}
	x.read += n
	if x.in.AddRead(n, x.sim.now) {
		x.update()
	}
	must(x.t, x.in.Check())
}

func (x *transfer) update() {
	consumed, window := x.in.Update(x.g, x.sim.now)
	must(x.t, x.in.Check())
	x.maxWindow = max(x.maxWindow, int(window))
	x.updates++
	x.back.send(updateFrame, func() {
		if err := x.out.Update(consumed, window); err != nil {
			x.t.Fatalf("at %v: %v", x.sim.now, err)
		}
		x.send()
	})
}
