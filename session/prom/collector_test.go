package prom_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/prom"
	"github.com/smuxkit/smuxkit/stream"
)

// A program exports the sum of all its sessions, and logs what happens as well.
func Example() {
	collector := prom.NewCollector(nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	cfg := &session.Config{Trace: collector.Trace(nil)} // or collector.Trace(session.LogTrace(logger))

	ours, theirs := net.Pipe()
	go serve(theirs)
	s, err := session.Client(ours, cfg)
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	st.Close()
	s.Close()

	n, err := testutil.GatherAndCount(registry, "smux_sessions_begun_total", "smux_streams_opened_total")
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
}

// serve is a server that closes each stream when it has read all.
func serve(conn net.Conn) {
	s, err := session.Server(conn, nil)
	if err != nil {
		log.Print(err)
		return
	}
	for {
		st, err := s.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, st)
		_ = st.Close()
	}
}

// pair starts two sessions over a pipe.
func pair(t *testing.T, cfg *session.Config) (c, s *session.Session) {
	t.Helper()
	a, b := net.Pipe()
	var err error
	if s, err = session.Server(b, nil); err != nil {
		t.Fatal(err)
	}
	if c, err = session.Client(a, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.CloseNow(), s.CloseNow() })
	return c, s
}

// want checks some metrics, in the text format without comments.
func want(t *testing.T, c *prom.Collector, lines string) {
	t.Helper()
	synctest.Wait()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			got[fmt.Sprintf("%s %v", name, v)] = true
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		if line = strings.TrimSpace(line); !got[line] {
			t.Errorf("no metric %s in\n%v", line, got)
		}
	}
}

// The metrics are the sums of all sessions, and no counter falls when a session ends, whether it was added by the Trace or
// by Add.
func TestCollectorSumsSessions(t *testing.T) {
	for _, how := range []string{"Trace", "Add"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := prom.NewCollector(prometheus.Labels{"app": "test"})
				cfg := &session.Config{}
				if how == "Trace" {
					cfg.Trace = c.Trace(nil)
				}
				var clients, servers []*session.Session
				var streams []*stream.Stream
				for i := range 3 {
					a, b := pair(t, cfg)
					if how == "Add" {
						c.Add(a)
						c.Add(a)
					}
					clients, servers = append(clients, a), append(servers, b)
					for range i + 1 {
						st, err := a.OpenStream(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						if _, err := st.Write(make([]byte, 100)); err != nil {
							t.Fatal(err)
						}
						streams = append(streams, st)
					}
				}
				time.Sleep(time.Second)
				// A session has sent a NOP, and a SYN and a PSH for each stream.
				want(t, c, `
					smux_sessions{app="test"} 3
					smux_sessions_begun_total{app="test"} 3
					smux_streams{app="test"} 6
					smux_streams_opened_total{app="test"} 6
					smux_sent_frames_total{app="test"} 15
					smux_sent_bytes_total{app="test"} 720
					smux_receive_window_bytes{app="test"} 1.572864e+06
				`)
				_ = clients[0].CloseNow()
				_ = servers[1].CloseNow()
				_ = streams[5].Close()
				time.Sleep(time.Second)
				for range 2 {
					want(t, c, `
						smux_sessions{app="test"} 1
						smux_sessions_begun_total{app="test"} 3
						smux_sessions_ended_total{app="test"}{reason="closed"} 1
						smux_sessions_ended_total{app="test"}{reason="peer"} 1
						smux_sessions_ended_total{app="test"}{reason="keepalive"} 0
						smux_streams{app="test"} 2
						smux_streams_opened_total{app="test"} 6
						smux_streams_closed_total{app="test"}{reason="session_ended"} 3
						smux_streams_closed_total{app="test"}{reason="complete"} 1
						smux_sent_frames_total{app="test"} 17
					`)
				}
				time.Sleep(time.Hour)
				want(t, c, `
					smux_version_sessions{app="test"}{version="2"} 1
					smux_version_sessions{app="test"}{version="1"} 0
					smux_version_sessions{app="test"}{version="unknown"} 0
				`)
				_ = servers[2].CloseNow()
				want(t, c, `smux_sessions{app="test"} 0`)
			})
		})
	}
}

// Every field of Stats reaches the sums: one that was forgotten would stay 0.
func TestCollectorForgetsNoField(t *testing.T) {
	var s session.Stats
	n := int64(1)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Struct:
				fill(f)
			case reflect.Uint64:
				f.SetUint(uint64(n))
			default:
				f.SetInt(n)
			}
			n++
		}
	}
	fill(reflect.ValueOf(&s).Elem())
	s.Version = 0 // it is not summed
	if sum := prom.Sum(s); sum != s {
		t.Errorf("the sum of one is\n%+v, want\n%+v", sum, s)
	}
}

// The Collector's Trace calls the functions of the next one.
func TestCollectorTraceCallsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		c := prom.NewCollector(nil)
		trace := c.Trace(&session.Trace{
			SessionBegin: func(*session.Session) { events = append(events, "begin") },
			SessionEnd:   func(*session.Session, error) { events = append(events, "end") },
			StreamOpened: func(*session.Session, *stream.Stream) { events = append(events, "opened") },
		})
		s, _ := pair(t, &session.Config{Trace: trace})
		if _, err := s.OpenStream(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = s.CloseNow()
		synctest.Wait()
		if got := strings.Join(events, " "); got != "begin opened end" {
			t.Errorf("events: %s", got)
		}
	})
}

// Sessions that were added and have ended are forgotten although nobody collects.
func TestCollectorForgetsEndedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := prom.NewCollector(nil)
		for range 1000 {
			s, peer := pair(t, nil)
			c.Add(s)
			_, _ = s.CloseNow(), peer.CloseNow()
			synctest.Wait()
			if n := prom.Held(c); n > 100 {
				t.Fatalf("it holds %d sessions", n)
			}
		}
		want(t, c, `
			smux_sessions 0
			smux_sessions_ended_total{reason="closed"} 1000
		`)
	})
}

// The names and types pass the linter of Prometheus.
func TestMetricsPassTheLinter(t *testing.T) {
	problems, err := testutil.CollectAndLint(prom.NewCollector(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Sessions may begin and end while the Collector collects.
func TestCollectorIsSafeForConcurrentUse(t *testing.T) {
	c := prom.NewCollector(nil)
	cfg := &session.Config{Trace: c.Trace(nil)}
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 50 {
				s, peer := pair(t, cfg)
				st, err := s.OpenStream(context.Background())
				if err == nil {
					_ = st.Close()
				}
				_, _ = s.CloseNow(), peer.CloseNow()
			}
		})
		work.Go(func() {
			for range 50 {
				if n := testutil.CollectAndCount(c); n == 0 {
					t.Error("there are no metrics")
				}
			}
		})
	}
	work.Wait()
}
