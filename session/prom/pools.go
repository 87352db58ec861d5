package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/smuxkit/smuxkit/session"
)

// NewDialerCollector returns a collector of what a Dialer does as a pool. Every metric gets the constant labels, which
// may be nil; collectors of several Dialers in one registry need different ones. The sessions of the Dialer are for a
// [Collector]: set its Trace in the Dialer's Config.
func NewDialerCollector(d *session.Dialer, labels prometheus.Labels) prometheus.Collector {
	return newPool(labels, d.Stats,
		metric[session.DialerStats]{"dialer_sessions", "Sessions that take new streams.", prometheus.GaugeValue,
			func(x *session.DialerStats) float64 { return float64(x.Sessions) }},
		metric[session.DialerStats]{"dialer_retired_sessions", "Sessions that take no new streams and have not ended.", prometheus.GaugeValue,
			func(x *session.DialerStats) float64 { return float64(x.Retired) }},
		metric[session.DialerStats]{"dialer_waiting_calls", "Calls that wait for a session.", prometheus.GaugeValue,
			func(x *session.DialerStats) float64 { return float64(x.Waiting) }},
		metric[session.DialerStats]{"dialer_dials_total", "Dials that were begun.", prometheus.CounterValue,
			func(x *session.DialerStats) float64 { return float64(x.Dials) }},
		metric[session.DialerStats]{"dialer_dial_errors_total", "Dials that have failed.", prometheus.CounterValue,
			func(x *session.DialerStats) float64 { return float64(x.DialErrors) }},
		metric[session.DialerStats]{"dialer_sessions_retired_total", "Sessions that were retired.", prometheus.CounterValue,
			func(x *session.DialerStats) float64 { return float64(x.SessionsRetired) }},
	)
}

// NewListenerCollector returns a collector of what a Listener does with its transports. Everything else is as for
// [NewDialerCollector].
func NewListenerCollector(l *session.Listener, labels prometheus.Labels) prometheus.Collector {
	return newPool(labels, l.Stats,
		metric[session.ListenerStats]{"listener_sessions", "Sessions whose streams are accepted.", prometheus.GaugeValue,
			func(x *session.ListenerStats) float64 { return float64(x.Sessions) }},
		metric[session.ListenerStats]{"listener_handshakes", "Transports whose handshake is under way.", prometheus.GaugeValue,
			func(x *session.ListenerStats) float64 { return float64(x.Handshakes) }},
		metric[session.ListenerStats]{"listener_waiting_streams", "Streams that wait to be accepted.", prometheus.GaugeValue,
			func(x *session.ListenerStats) float64 { return float64(x.Waiting) }},
		metric[session.ListenerStats]{"listener_transports_total", "Transports that were accepted.", prometheus.CounterValue,
			func(x *session.ListenerStats) float64 { return float64(x.Accepted) }},
		metric[session.ListenerStats]{"listener_failed_transports_total", "Transports that became no session.", prometheus.CounterValue,
			func(x *session.ListenerStats) float64 { return float64(x.Failed) }},
	)
}

// A metric is a number of Stats of type S.
type metric[S any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*S) float64
}

// A pool is a prometheus.Collector of Stats of type S.
type pool[S any] struct {
	stats   func() S
	metrics []metric[S]
	descs   []*prometheus.Desc
}

func newPool[S any](labels prometheus.Labels, stats func() S, metrics ...metric[S]) *pool[S] {
	p := &pool[S]{stats: stats, metrics: metrics}
	for _, m := range metrics {
		p.descs = append(p.descs, prometheus.NewDesc("smux_"+m.name, m.help, nil, labels))
	}
	return p
}

// Describe sends the descriptions of the metrics.
func (p *pool[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range p.descs {
		ch <- d
	}
}

// Collect sends the metrics.
func (p *pool[S]) Collect(ch chan<- prometheus.Metric) {
	stats := p.stats()
	for i, m := range p.metrics {
		ch <- prometheus.MustNewConstMetric(p.descs[i], m.kind, m.value(&stats))
	}
}
