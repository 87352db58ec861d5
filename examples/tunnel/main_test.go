package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

func listening(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// begin runs f until stop is called, which waits for its end.
func begin(t *testing.T, what string, f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := testutil.BackgroundErr(func() error { return f(ctx) })
	return sync.OnceFunc(func() {
		cancel()
		// Both sides may shut a session down at the same time. Then one may not learn that its last bytes have arrived.
		if err := (<-ended).Err; err != nil && !errors.Is(err, session.ErrNotFlushed) {
			t.Errorf("%s: %v", what, err)
		}
	})
}

// answer answers each connection with what it has sent, and a name.
func answer(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			q, _ := io.ReadAll(c)
			fmt.Fprintf(c, "%s, says %s", q, name)
		}()
	}
}

// ask makes a connection to the public port.
func ask(public, question string) (string, error) {
	c, err := net.Dial("tcp", public)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	a, err := io.ReadAll(c)
	return string(a), err
}

// awaitAgent asks until the agent with the server of that name has answered.
func awaitAgent(public, name string) {
	for {
		if a, err := ask(public, "hello"); err == nil && a == "hello, says "+name {
			return
		}
	}
}

// Agents restart one after the other under load, and no connection is lost.
func TestAgentsRestartAndLoseNoConnection(t *testing.T) {
	testutil.LeakCheck(t)
	agents, public := listening(t, "127.0.0.1:0"), listening(t, "127.0.0.1:0")
	defer begin(t, "the relay", func(ctx context.Context) error { return serve(ctx, agents, public) })()
	// newAgent starts an agent with a server of its own, and waits until the relay uses it.
	newAgent := func(name string) (stop func()) {
		target := listening(t, "127.0.0.1:0")
		go answer(target, name)
		stop = begin(t, name, func(ctx context.Context) error {
			return agent(ctx, agents.Addr().String(), target.Addr().String())
		})
		awaitAgent(public.Addr().String(), name)
		return stop
	}
	stop := newAgent("agent 0")
	var load sync.WaitGroup
	var over atomic.Bool
	for i := range 4 {
		load.Go(func() {
			for n := 0; !over.Load(); n++ {
				q := fmt.Sprint("hello ", i, ":", n)
				if a, err := ask(public.Addr().String(), q); !strings.HasPrefix(a, q+", says agent") || err != nil {
					t.Errorf("the answer to %q is %q, %v", q, a, err)
				}
			}
		})
	}
	for n := range 10 {
		next := newAgent(fmt.Sprint("agent ", n+1))
		stop()
		stop = next
	}
	over.Store(true)
	load.Wait()
	stop()
}

// When the relay restarts, the agent connects again.
func TestAgentConnectsAgainWhenTheRelayRestarts(t *testing.T) {
	testutil.LeakCheck(t)
	target, agents, public := listening(t, "127.0.0.1:0"), listening(t, "127.0.0.1:0"), listening(t, "127.0.0.1:0")
	go answer(target, "server")
	stopAgent := begin(t, "the agent", func(ctx context.Context) error {
		return agent(ctx, agents.Addr().String(), target.Addr().String())
	})
	for range 3 {
		stop := begin(t, "the relay", func(ctx context.Context) error { return serve(ctx, agents, public) })
		awaitAgent(public.Addr().String(), "server")
		stop()
		agents, public = listening(t, agents.Addr().String()), listening(t, public.Addr().String())
	}
	stopAgent()
}

// Without an agent, and with a target that nobody can reach, connections are closed.
func TestConnectionsWithoutATargetAreClosed(t *testing.T) {
	testutil.LeakCheck(t)
	nobody, agents, public := listening(t, "127.0.0.1:0"), listening(t, "127.0.0.1:0"), listening(t, "127.0.0.1:0")
	nobody.Close()
	defer begin(t, "the relay", func(ctx context.Context) error { return serve(ctx, agents, public) })()
	for _, hasAgent := range []bool{false, true} {
		if hasAgent {
			defer begin(t, "the agent", func(ctx context.Context) error {
				return agent(ctx, agents.Addr().String(), nobody.Addr().String())
			})()
		}
		if a, _ := ask(public.Addr().String(), "hello"); a != "" {
			t.Errorf("the answer is %q", a)
		}
	}
}

// The flags are explained, and bad ones are refused.
func TestRunExplainsItsFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-target address"},
		{"", 2, "give either -agents and -public"},
		{"-agents x -target y", 2, "give either -agents and -public"},
		{"-x", 2, "not defined"},
		{"-agents x:-1 -public x", 1, "invalid port"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("tunnel %s: code %d, %s", c.args, code, out.String())
		}
	}
}
