package prom_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/prom"
)

// printMetrics prints the lines of a page of metrics that begin with one of the names.
func printMetrics(page http.Handler, names ...string) {
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		for _, name := range names {
			if strings.HasPrefix(line, name) {
				fmt.Print(line)
			}
		}
	}
}

// A server exports the sum of all its sessions, and what its Listener does, at /metrics.
func ExampleCollector() {
	collector := prom.NewCollector(prometheus.Labels{"service": "tea"})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{
		Listener: tcp,
		Config:   &session.Config{Trace: collector.Trace(nil)}, // or collector.Trace(session.LogTrace(logger))
	}
	defer l.CloseNow()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector, prom.NewListenerCollector(l, nil))
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{}) // for an http.Server

	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client, err := session.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.OpenStream(context.Background()); err != nil {
		log.Fatal(err)
	}
	if _, err := l.Accept(); err != nil {
		log.Fatal(err)
	}

	printMetrics(metrics, "smux_listener_", "smux_streams{")
	// Output:
	// smux_listener_failed_transports_total 0
	// smux_listener_handshakes 0
	// smux_listener_sessions 1
	// smux_listener_transports_total 1
	// smux_listener_waiting_streams 0
	// smux_streams{service="tea"} 1
}
