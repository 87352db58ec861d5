package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// A storm is a scenario in which streams come as fast as possible, with default settings. It counts what was sent
// and what arrived: nothing may be lost, however goroutines are scheduled.
type storm struct {
	name  string
	size  int // streams
	small int // streams in a round
	run   func(c, s *session.Session, size int) error
}

var storms = []storm{
	{"churn", 1100, 1100, func(c, s *session.Session, size int) error { return messages(c, s, size, 1, 0) }},
	{"messages", 20_000, 2000, func(c, s *session.Session, size int) error { return messages(c, s, size, 1, 0) }},
	{"messages64", 20_000, 2000, func(c, s *session.Session, size int) error { return messages(c, s, size, 64, 0) }},
	{"slow-accept", 3000, 500, func(c, s *session.Session, size int) error { return messages(c, s, size, 8, time.Millisecond) }},
	{"http", 3000, 300, requests},
}

func stormNames() []string {
	var names []string
	for _, s := range storms {
		names = append(names, s.name)
	}
	return names
}

// runStorms runs one storm, or all, with each value of GOMAXPROCS and in both versions.
func runStorms(out io.Writer, name, procs string, times int) error {
	found := false
	for _, st := range storms {
		if name != st.name && name != "all" {
			continue
		}
		found = true
		for _, field := range strings.Split(procs, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 {
				return fmt.Errorf("soak: bad -procs %q", procs)
			}
			begun := time.Now()
			for i := range times {
				p := &plan{Storm: st.name, Transport: "tcp", Version: 1 + i%2, Procs: n}
				if err := runStorm(p, st, st.size); err != nil {
					return fmt.Errorf("soak: storm %s FAILED, run %d of %d, version %d, GOMAXPROCS %d: %w",
						st.name, i+1, times, p.Version, n, err)
				}
			}
			fmt.Fprintf(out, "storm %-12s %d streams, %d times, GOMAXPROCS %d: nothing lost, %v\n",
				st.name, st.size, times, n, time.Since(begun).Round(time.Millisecond))
		}
	}
	if !found {
		return fmt.Errorf("soak: no storm %q; there are: all, %s", name, strings.Join(stormNames(), ", "))
	}
	return nil
}

// smallStorm runs the storm of a round.
func smallStorm(p *plan) error {
	for _, st := range storms {
		if st.name == p.Storm {
			if err := runStorm(p, st, st.small); err != nil {
				return fmt.Errorf("storm %s: %w", st.name, err)
			}
		}
	}
	return nil
}

// runStorm runs a storm over one session.
func runStorm(p *plan, st storm, size int) error {
	defer hung(3*time.Minute, p)()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p.Procs))
	l, err := newLink(p, false)
	if err != nil {
		return err
	}
	defer l.close()
	c, err := session.Client(l.ends[0], &session.Config{Version: p.Version})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := session.Server(l.ends[1], nil)
	if err != nil {
		return err
	}
	defer s.Close()
	err = st.run(c, s, size)
	totals.streams.Add(int64(2 * size))
	return err
}

const hello = "hello"

// messages sends messages, each on a stream of its own, to a loop that accepts them.
func messages(c, s *session.Session, size, senders int, nap time.Duration) error {
	var wrong atomic.Pointer[error]
	fail := func(err error) { wrong.CompareAndSwap(nil, &err) }
	var arrived atomic.Int64
	var accepting, handling, sending sync.WaitGroup
	accepting.Go(func() {
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			time.Sleep(nap)
			handling.Go(func() {
				defer st.Close()
				p, err := io.ReadAll(st)
				if err != nil {
					fail(fmt.Errorf("reading a message: %w", err))
				} else if string(p) != hello {
					fail(fmt.Errorf("a message is %q", p))
				}
				arrived.Add(1)
			})
		}
	})
	for i := range senders {
		sending.Go(func() {
			for range (size + i) / senders {
				st, err := c.OpenStream(context.Background())
				if err == nil {
					_, err = st.Write([]byte(hello))
				}
				if err == nil {
					err = st.Close()
				}
				if err != nil {
					fail(fmt.Errorf("sending a message: %w", err))
				}
			}
		})
	}
	sending.Wait()
	if err := c.Shutdown(context.Background()); err != nil {
		fail(fmt.Errorf("the sender's Shutdown: %w", err))
	}
	accepting.Wait() // until the session has ended and the backlog is empty
	handling.Wait()
	if n := s.Stats().StreamsRefused; n > 0 {
		fail(fmt.Errorf("%d streams were refused", n))
	}
	if n := arrived.Load(); n != int64(size) {
		fail(fmt.Errorf("%d of %d messages arrived", n, size))
	}
	if err := wrong.Load(); err != nil {
		return *err
	}
	return nil
}

// requests makes HTTP requests to a server on the session, all at once, each over a stream of its own.
func requests(c, s *session.Session, size int) error {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(s.Listener()) })
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.OpenStream(ctx) },
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	errs := make([]error, size)
	var all sync.WaitGroup
	for i := range size {
		all.Go(func() {
			path := "/" + strconv.Itoa(i)
			errs[i] = func() error {
				answer, err := client.Get("http://smux" + path)
				if err != nil {
					return err
				}
				defer answer.Body.Close()
				p, err := io.ReadAll(answer.Body)
				if err == nil && string(p) != "you asked for "+path {
					err = fmt.Errorf("the answer is %q", p)
				}
				return err
			}()
		})
	}
	all.Wait()
	if n := s.Stats().StreamsRefused; n > 0 {
		errs = append(errs, fmt.Errorf("%d streams were refused", n))
	}
	transport.CloseIdleConnections() // and those that the transport has dialed and not used
	server.Close()
	serving.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d requests failed, one with: %w", len(errs), size, errs[0])
	}
	return nil
}
