package prom

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/smuxkit/smuxkit/session"
)

// A Collector is a prometheus.Collector for any number of sessions. All methods may be called concurrently.
type Collector struct {
	descs descs

	mu       sync.Mutex // guards the fields below. No callback of a session is running under a lock of the session
	sessions map[*session.Session]struct{}
	sweepAt  int // remove sessions that have ended when there are this many
	begun    uint64
	ended    map[string]uint64 // sessions that have ended, by reason
	past     session.Stats     // the counters of sessions that have ended
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a Collector without sessions. Every metric gets the constant labels, which may be nil. A program
// that has several Collectors in one registry gives each of them other labels.
func NewCollector(labels prometheus.Labels) *Collector {
	return &Collector{
		descs:    newDescs(labels),
		sessions: make(map[*session.Session]struct{}),
		sweepAt:  minSweep,
		ended:    make(map[string]uint64),
	}
}

// Trace returns a Trace that adds each session which uses it to the Collector. If next is not nil, the Trace does what
// next does, too. Set it as session.Config.Trace, before the first session:
//
//	cfg.Trace = collector.Trace(session.LogTrace(logger))
func (c *Collector) Trace(next *session.Trace) *session.Trace {
	var t session.Trace
	if next != nil {
		t = *next
	}
	begin, end := t.SessionBegin, t.SessionEnd
	t.SessionBegin = func(s *session.Session) {
		c.Add(s)
		if begin != nil {
			begin(s)
		}
	}
	t.SessionEnd = func(s *session.Session, reason error) {
		c.remove(s)
		if end != nil {
			end(s, reason)
		}
	}
	return &t
}

// minSweep is the least number of sessions at which Add looks for sessions that have ended.
const minSweep = 64

// Add adds a session that does not use the Collector's Trace. Once the session has ended, the Collector keeps its counters
// and forgets it, at one of the next calls of Add or Collect. To add a session twice does nothing.
func (c *Collector) Add(s *session.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.sessions[s]; ok {
		return
	}
	c.sessions[s] = struct{}{}
	c.begun++
	if len(c.sessions) >= c.sweepAt {
		c.sweep()
		c.sweepAt = max(2*len(c.sessions), minSweep)
	}
}

// remove keeps the counters of a session that has ended, and forgets it.
func (c *Collector) remove(s *session.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(s)
}

// removeLocked is remove for a caller that holds c.mu.
func (c *Collector) removeLocked(s *session.Session) {
	if _, ok := c.sessions[s]; !ok {
		return
	}
	delete(c.sessions, s)
	addCounters(&c.past, s.Stats())
	c.ended[reasonOf(s.Err())]++
}

// sweep removes the sessions that have ended. The caller holds c.mu.
func (c *Collector) sweep() {
	for s := range c.sessions {
		select {
		case <-s.Done():
			c.removeLocked(s)
		default:
		}
	}
}

// reasons are the values of the label reason of sessions that have ended.
var reasons = []string{"closed", "peer", "keepalive", "timeout", "protocol", "transport"}

// reasonOf returns the label for the reason of a session's end.
func reasonOf(err error) string {
	var protocol *session.ProtocolError
	switch {
	case errors.Is(err, session.ErrKeepAlive):
		return "keepalive"
	case errors.Is(err, session.ErrIdleTimeout), errors.Is(err, session.ErrWriteTimeout),
		errors.Is(err, session.ErrLingerTimeout), errors.Is(err, session.ErrAnswerTimeout):
		return "timeout"
	case errors.As(err, &protocol):
		return "protocol"
	case err == net.ErrClosed:
		return "closed"
	case errors.Is(err, io.EOF):
		return "peer"
	}
	return "transport"
}

// addCounters adds the counters of a session to those of sum. It leaves out what a session holds at the moment.
func addCounters(sum *session.Stats, s session.Stats) {
	sum.BytesSent += s.BytesSent
	sum.BytesReceived += s.BytesReceived
	sum.FramesSent += s.FramesSent
	sum.FramesReceived += s.FramesReceived
	sum.StreamsOpened += s.StreamsOpened
	sum.StreamsAccepted += s.StreamsAccepted
	sum.StreamsRefused += s.StreamsRefused
	sum.StreamsRefusedByPeer += s.StreamsRefusedByPeer
	a, b := &sum.StreamsClosed, s.StreamsClosed
	a.Complete += b.Complete
	a.Refused += b.Refused
	a.RefusedByPeer += b.RefusedByPeer
	a.Stalled += b.Stalled
	a.Overrun += b.Overrun
	a.Idle += b.Idle
	a.Dropped += b.Dropped
	a.SessionEnded += b.SessionEnded
	sum.BlockedOnWindow += s.BlockedOnWindow
	sum.BlockedOnTransport += s.BlockedOnTransport
	sum.BlockedOnRate += s.BlockedOnRate
	sum.BlockedOnBuffer += s.BlockedOnBuffer
}

// addState adds what a session holds at the moment, and keeps the longest round trip.
func addState(sum *session.Stats, s session.Stats) {
	sum.StreamsOpen += s.StreamsOpen
	sum.Unread += s.Unread
	sum.Unsent += s.Unsent
	sum.ReceiveWindows += s.ReceiveWindows
	sum.RTT = max(sum.RTT, s.RTT)
}

// A snapshot is what one call of Collect reports.
type snapshot struct {
	sessions int
	versions [3]int // the sessions by Stats.Version
	begun    uint64
	ended    map[string]uint64
	stats    session.Stats
}

// snapshot sums the Stats.
func (c *Collector) snapshot() snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	x := snapshot{sessions: len(c.sessions), begun: c.begun, ended: make(map[string]uint64), stats: c.past}
	for reason, n := range c.ended {
		x.ended[reason] = n
	}
	for s := range c.sessions {
		stats := s.Stats()
		x.versions[stats.Version]++
		addCounters(&x.stats, stats)
		addState(&x.stats, stats)
	}
	return x
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { c.descs.describe(ch) }

// Collect implements prometheus.Collector. It reads the Stats of all sessions, and blocks for nothing.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	x := c.snapshot()
	d, s := &c.descs, &x.stats
	gauge := func(desc *prometheus.Desc, v float64, label ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, label...)
	}
	counter := func(desc *prometheus.Desc, v float64, label ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, v, label...)
	}
	gauge(d.sessions, float64(x.sessions))
	for version, name := range []string{"unknown", "1", "2"} {
		gauge(d.versions, float64(x.versions[version]), name)
	}
	counter(d.begun, float64(x.begun))
	for _, reason := range reasons {
		counter(d.ended, float64(x.ended[reason]), reason)
	}
	counter(d.sentBytes, float64(s.BytesSent))
	counter(d.receivedBytes, float64(s.BytesReceived))
	counter(d.sentFrames, float64(s.FramesSent))
	counter(d.receivedFrames, float64(s.FramesReceived))
	gauge(d.streams, float64(s.StreamsOpen))
	counter(d.opened, float64(s.StreamsOpened))
	counter(d.accepted, float64(s.StreamsAccepted))
	counter(d.refused, float64(s.StreamsRefused), "this")
	counter(d.refused, float64(s.StreamsRefusedByPeer), "peer")
	for _, x := range []struct {
		reason string
		n      uint64
	}{
		{"complete", s.StreamsClosed.Complete},
		{"refused", s.StreamsClosed.Refused},
		{"refused_by_peer", s.StreamsClosed.RefusedByPeer},
		{"stalled", s.StreamsClosed.Stalled},
		{"overrun", s.StreamsClosed.Overrun},
		{"idle", s.StreamsClosed.Idle},
		{"dropped", s.StreamsClosed.Dropped},
		{"session_ended", s.StreamsClosed.SessionEnded},
	} {
		counter(d.closed, float64(x.n), x.reason)
	}
	gauge(d.unread, float64(s.Unread))
	gauge(d.unsent, float64(s.Unsent))
	gauge(d.receiveWindow, float64(s.ReceiveWindows))
	for _, x := range []struct {
		on string
		d  time.Duration
	}{
		{"window", s.BlockedOnWindow},
		{"transport", s.BlockedOnTransport},
		{"rate", s.BlockedOnRate},
		{"buffer", s.BlockedOnBuffer},
	} {
		counter(d.blocked, x.d.Seconds(), x.on)
	}
	gauge(d.rtt, s.RTT.Seconds())
}
