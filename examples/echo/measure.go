package main

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

const (
	// idlePings is how many round trips are measured before the data, within a second.
	idlePings = 10
	// sampleInterval is how often the round trip and the memory are measured beside the data.
	sampleInterval = 20 * time.Millisecond
)

// A meter measures a transfer.
type meter struct {
	sess       *session.Session
	checked    atomic.Int64 // bytes
	start      time.Time
	sent, back atomic.Int64 // nanoseconds from start until the last stream had sent all, or had all back
	writing    atomic.Int64 // nanoseconds in which streams have sent, summed
	idle       []time.Duration
	processors processors
	stop       func() // ends sampling, and waits until it has

	beside []time.Duration // until stop returns, sample's alone
	memory uint64          // the same
}

// newMeter measures the round trip without data, and starts the clock.
func newMeter(ctx context.Context, sess *session.Session) *meter {
	m := &meter{sess: sess}
	block() // is made before the clock starts
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for range idlePings {
		rtt, err := sess.Ping(within)
		if err != nil {
			break // the peer answers no pings, or the session has ended, which its streams report
		}
		m.idle = append(m.idle, rtt)
	}

	m.processors = readProcessors()
	sampling, end := context.WithCancel(ctx)
	var sampled sync.WaitGroup
	m.stop = func() { end(); sampled.Wait() }
	m.start = time.Now()
	sampled.Go(func() { m.sample(sampling) })
	return m
}

// sample measures the round trip and the memory until ctx ends.
func (m *meter) sample(ctx context.Context) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.memory = max(m.memory, memoryInUse())
			if len(m.idle) == 0 {
				continue // nobody answers
			}
			if rtt, err := m.sess.Ping(ctx); err == nil {
				m.beside = append(m.beside, rtt)
			}
		case <-ctx.Done():
			return
		}
	}
}

// noteSent notes that a stream has sent all in the time took, and noteBack that all has come back.
func (m *meter) noteSent(took time.Duration) {
	m.writing.Add(int64(took))
	storeMax(&m.sent, int64(time.Since(m.start)))
}

func (m *meter) noteBack() { storeMax(&m.back, int64(time.Since(m.start))) }

func storeMax(a *atomic.Int64, x int64) {
	for old := a.Load(); x > old && !a.CompareAndSwap(old, x); old = a.Load() {
	}
}

// end ends the measurement.
func (m *meter) end() *report {
	m.stop()
	after := readProcessors()
	stats := m.sess.Stats()
	r := &report{
		bytes:  m.checked.Load(),
		sent:   time.Duration(m.sent.Load()),
		back:   time.Duration(m.back.Load()),
		idle:   m.idle,
		beside: m.beside,
		memory: max(m.memory, memoryInUse()),
		busy:   m.processors.busyUntil(after),

		processors: runtime.GOMAXPROCS(0),
	}
	if writing := float64(m.writing.Load()); writing > 0 {
		r.window = float64(stats.BlockedOnWindow) / writing
		r.transport = float64(stats.BlockedOnTransport) / writing
	}
	return r
}

// processors is processor time, in seconds: what this program could have had outside of garbage collections, and what it
// took. A goroutine takes it also while the system runs another program in its place.
type processors struct{ total, taken float64 }

func readProcessors() processors {
	runtime.GC() // the runtime counts at the end of a collection
	s := []metrics.Sample{
		{Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/user:cpu-seconds"},
	}
	metrics.Read(s)
	return processors{s[0].Value.Float64() - s[1].Value.Float64(), s[2].Value.Float64()}
}

// busyUntil returns how many processors were busy from p to q.
func (p processors) busyUntil(q processors) float64 {
	if q.total <= p.total {
		return 0
	}
	return (q.taken - p.taken) / (q.total - p.total) * float64(runtime.GOMAXPROCS(0))
}

// memoryInUse returns how many bytes of the system's memory the program has now.
func memoryInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
