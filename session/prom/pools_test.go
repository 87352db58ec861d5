package prom_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/prom"
)

// The collectors of a Dialer and a Listener export their Stats, and pass the linter of Prometheus.
func TestPoolCollectorsExportStats(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	defer l.CloseNow()
	dials := 0
	d := &session.Dialer{MinBackoff: 1, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		if dials++; dials == 1 {
			return nil, io.ErrClosedPipe
		}
		return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
	}}
	defer d.Close()
	if _, err := d.OpenStream(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewDialerCollector(d, prometheus.Labels{"to": "server"}), prom.NewListenerCollector(l, nil))
	const want = `
# HELP smux_dialer_dial_errors_total Dials that have failed.
# TYPE smux_dialer_dial_errors_total counter
smux_dialer_dial_errors_total{to="server"} 1
# HELP smux_dialer_dials_total Dials that were begun.
# TYPE smux_dialer_dials_total counter
smux_dialer_dials_total{to="server"} 2
# HELP smux_dialer_retired_sessions Sessions that take no new streams and have not ended.
# TYPE smux_dialer_retired_sessions gauge
smux_dialer_retired_sessions{to="server"} 0
# HELP smux_dialer_sessions Sessions that take new streams.
# TYPE smux_dialer_sessions gauge
smux_dialer_sessions{to="server"} 1
# HELP smux_dialer_sessions_retired_total Sessions that were retired.
# TYPE smux_dialer_sessions_retired_total counter
smux_dialer_sessions_retired_total{to="server"} 0
# HELP smux_dialer_waiting_calls Calls that wait for a session.
# TYPE smux_dialer_waiting_calls gauge
smux_dialer_waiting_calls{to="server"} 0
# HELP smux_listener_failed_transports_total Transports that became no session.
# TYPE smux_listener_failed_transports_total counter
smux_listener_failed_transports_total 0
# HELP smux_listener_handshakes Transports whose handshake is under way.
# TYPE smux_listener_handshakes gauge
smux_listener_handshakes 0
# HELP smux_listener_sessions Sessions whose streams are accepted.
# TYPE smux_listener_sessions gauge
smux_listener_sessions 1
# HELP smux_listener_transports_total Transports that were accepted.
# TYPE smux_listener_transports_total counter
smux_listener_transports_total 1
# HELP smux_listener_waiting_streams Streams that wait to be accepted.
# TYPE smux_listener_waiting_streams gauge
smux_listener_waiting_streams 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("the linter says %v, %v", problems, err)
	}
}
