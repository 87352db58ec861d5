package docs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// runPod is the server of docs/kubernetes.md. ctx ends with SIGTERM.
func runPod(ctx context.Context, transports, probes net.Listener, cfg *session.Config, handle func(net.Conn)) error {
	ready := &http.Server{Handler: http.NotFoundHandler()}
	ready.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		}
	})
	go ready.Serve(probes)
	defer ready.Close()

	l := &session.Listener{Listener: transports, Config: cfg}
	defer l.CloseNow() // what was not done in time
	served := make(chan error, 1)
	go func() {
		for {
			st, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			go handle(st)
		}
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done(): // SIGTERM
	}
	drain, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	return l.Shutdown(drain) // clients go elsewhere; open streams are served to their end
}

// spread is the client of docs/kubernetes.md.
func spread(dial func(ctx context.Context) (io.ReadWriteCloser, error), cfg *session.Config) *session.Dialer {
	return &session.Dialer{
		Dial:              dial,
		Config:            cfg,
		MaxSessions:       6,
		StreamsPerSession: 10,
		MaxAge:            10 * time.Minute,
		OnSession: func(ctx context.Context, s *session.Session) error {
			_, err := s.Ping(ctx)
			return err
		},
	}
}

// inTurn dials the pods of a headless Service one after the other.
func inTurn(
	host, port string,
	lookup func(ctx context.Context, host string) ([]string, error), // net.DefaultResolver.LookupHost
	dial func(ctx context.Context, network, address string) (net.Conn, error), // new(net.Dialer).DialContext
) func(ctx context.Context) (io.ReadWriteCloser, error) {
	turn := 0 // a Dialer has one dial under way at most
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		pods, err := lookup(ctx, host)
		if err != nil {
			return nil, err
		}
		slices.Sort(pods)
		turn++
		return dial(ctx, "tcp", net.JoinHostPort(pods[turn%len(pods)], port))
	}
}

// A cluster is pods in memory, behind a headless Service.
type cluster struct {
	t   *testing.T
	cfg *session.Config

	mu   sync.Mutex
	pods map[string]*pod // the ready ones, by their addresses
	made int
}

type pod struct {
	*pipes
	stop    context.CancelFunc
	stopped <-chan testutil.Result[struct{}]
	served  atomic.Int64
}

func (c *cluster) start() string {
	ctx, stop := context.WithCancel(context.Background())
	p := &pod{pipes: newPipes(), stop: stop}
	p.stopped = testutil.BackgroundErr(func() error {
		return runPod(ctx, p, newPipes(), c.cfg, func(conn net.Conn) {
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn)
			p.served.Add(1)
			time.Sleep(15 * time.Second)
			fmt.Fprint(conn, "done")
		})
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	address := fmt.Sprintf("10.0.0.%03d", c.made)
	c.pods[address] = p
	return address
}

// stop removes a pod from the endpoints, and stops it some time later.
func (c *cluster) stop(address string) {
	c.mu.Lock()
	p := c.pods[address]
	delete(c.pods, address)
	c.mu.Unlock()
	time.Sleep(5 * time.Second) // preStop
	p.stop()
	testutil.WantErr(c.t, "runPod", (<-p.stopped).Err, nil)
}

func (c *cluster) lookup(context.Context, string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for address := range c.pods {
		all = append(all, address)
	}
	return all, nil
}

func (c *cluster) dial(ctx context.Context, _, address string) (net.Conn, error) {
	c.mu.Lock()
	host, _, _ := net.SplitHostPort(address)
	p := c.pods[host]
	c.mu.Unlock()
	if p == nil {
		return nil, errors.New("connection refused")
	}
	conn, err := p.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn.(net.Conn), nil
}

// ask makes a request that takes 15 seconds.
func ask(ctx context.Context, d *session.Dialer) error {
	st, err := d.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(st)
	if err == nil && string(got) != "done" {
		err = fmt.Errorf("the answer is %q", got)
	}
	return err
}

// The client and the server of docs/kubernetes.md lose no request when all pods are replaced, one after the other. The load
// reaches all pods, and one that was added later gets its part within MaxAge.
func TestGuideKubernetes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		c := &cluster{t: t, cfg: quiet, pods: make(map[string]*pod)}
		var old []string
		for range 3 {
			old = append(old, c.start())
		}
		d := spread(inTurn("service", "7000", c.lookup, c.dial), quiet)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 60 {
			load.Go(func() {
				for ctx.Err() == nil {
					if err := ask(t.Context(), d); err != nil {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(50 * time.Second)
		for _, address := range old {
			if n := c.pods[address].served.Load(); n < 30 {
				t.Errorf("pod %s has served %d requests", address, n)
			}
		}
		var last string
		for _, address := range old { // a rolling restart
			last = c.start()
			c.stop(address)
		}
		added := c.start()
		time.Sleep(11 * time.Minute)
		for _, address := range []string{added, last} {
			if n := c.pods[address].served.Load(); n < 20 {
				t.Errorf("pod %s, started late, has served %d requests", address, n)
			}
		}
		stop()
		load.Wait()
		testutil.WantErr(t, "Close of the Dialer", d.Close(), nil)
		for address := range c.pods {
			c.stop(address)
		}
	})
}

// A probe that connects and closes is a session that ends at once, of which OnError hears nothing, unless the transports
// are TLS.
func TestTCPProbeIsReportedOverTLSAlone(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS=", overTLS), func(t *testing.T) {
			testutil.LeakCheck(t)
			tcp := listen(t)
			transports, want := net.Listener(tcp), 0
			if overTLS {
				transports, want = tls.NewListener(tcp, &tls.Config{Certificates: server.TLS.Certificates}), 1
			}
			failed := make(chan error, 1)
			l := &session.Listener{Listener: transports, OnError: func(err error) { failed <- err }}
			accepting := testutil.Background(l.Accept)
			probe, err := net.Dial("tcp", tcp.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = probe.Close()
			for { // until the Listener has done with it
				x := l.Stats()
				if x.Accepted == 1 && x.Handshakes == 0 && x.Sessions == 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
			testutil.WantErr(t, "Accept", (<-accepting).Err, net.ErrClosed)
			if want == 1 {
				<-failed
			}
			if x := l.Stats(); x.Failed != uint64(want) {
				t.Errorf("Stats.Failed is %d, want %d", x.Failed, want)
			}
		})
	}
}
