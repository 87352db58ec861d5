package shaper_test

import (
	"cmp"
	"slices"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/shaper"
)

const (
	header     = 8
	maxPayload = 32760
)

// A link is a transport in virtual time, which passes one byte per tick, with senders and a
// writer that uses a scheduler.
type link struct {
	scheduler shaper.Scheduler
	now       int // bytes
	senders   []*sender
	asleep    []*sender // by when they write next
}

// A sender writes some bytes, and again when all were sent and a pause is over.
type sender struct {
	flow    shaper.Flow
	write   int // bytes of payload a Write
	pause   int // ticks from the end of a Write to the next; 0 is within the turn
	weight  int
	pending int
	wakes   int
	ready   int // since when it waits for a turn
	sent    int // bytes, headers included
	turns   int
	waited  []int // ticks, for each Write until its first turn
	fresh   bool  // the Write had no turn yet
}

func newLink(s shaper.Scheduler, senders ...*sender) *link {
	l := &link{scheduler: s, senders: senders}
	for _, w := range senders {
		w.flow.Owner = w
		w.flow.SetWeight(max(1, w.weight))
		l.asleep = append(l.asleep, w)
	}
	return l
}

func copies(n int, of sender) []*sender {
	all := make([]*sender, n)
	for i := range all {
		s := of
		all[i] = &s
	}
	return all
}

// wake lets senders write whose pause is over.
func (l *link) wake() {
	for len(l.asleep) > 0 && l.asleep[0].wakes <= l.now {
		w := l.asleep[0]
		l.asleep = l.asleep[1:]
		w.pending, w.fresh, w.ready = w.write, true, w.wakes
		l.scheduler.Push(&w.flow, shaper.Data)
	}
}

func (l *link) sleep(w *sender) {
	w.wakes = l.now + w.pause
	at, _ := slices.BinarySearchFunc(l.asleep, w.wakes, func(o *sender, t int) int {
		return cmp.Or(cmp.Compare(o.wakes, t), -1) // behind its equals
	})
	l.asleep = slices.Insert(l.asleep, at, w)
}

// run passes n bytes.
func (l *link) run(n int) {
	for end := l.now + n; l.now < end; {
		l.wake()
		f, _, may := l.scheduler.Pop()
		if f == nil {
			if len(l.asleep) == 0 {
				return
			}
			l.now = l.asleep[0].wakes
			continue
		}
		w := f.Owner.(*sender)
		if w.fresh {
			w.waited = append(w.waited, l.now-w.ready)
			w.fresh = false
		}
		payload := min(w.pending, may-header, maxPayload)
		w.pending -= payload
		w.sent += payload + header
		w.turns++
		l.now += payload + header
		if w.pending == 0 {
			l.sleep(w)
			if w.pause == 0 {
				l.wake() // the lock was free while the frame went out
			}
		}
		l.scheduler.EndTurn(f, shaper.Data, payload+header, w.pending > 0)
	}
}

// jain returns Jain's index of the bytes per weight that each sender sent.
func jain(senders []*sender) float64 {
	var shares []float64
	for _, w := range senders {
		shares = append(shares, float64(w.sent)/float64(max(1, w.weight)))
	}
	return testutil.Jain(shares)
}
