package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A path is a target, a far end before it and a near end before that.
type path struct {
	addr     string // of the near end
	sessions *counted
}

// counted keeps what its listener has accepted.
type counted struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *counted) accepted() []net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns
}

func listen(t *testing.T) *counted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &counted{Listener: l}
}

// newPath starts a path to a target that handles connections with handle.
func newPath(t *testing.T, handle func(*net.TCPConn)) path {
	t.Helper()
	testutil.LeakCheck(t)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	target, far_, near_ := listen(t), listen(t), listen(t)
	wg.Go(func() {
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(c.(*net.TCPConn)) })
		}
	})
	wg.Go(func() { far(ctx, far_, target.Addr().String()) })
	wg.Go(func() { near(ctx, near_, far_.Addr().String()) })
	return path{near_.Addr().String(), far_}
}

func (p path) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// question asks with a half-close and returns the answer.
func (p path) question(t *testing.T, q []byte) []byte {
	t.Helper()
	c := p.dial(t)
	defer c.Close()
	go func() {
		c.Write(q) // the answer shows whether it arrived
		c.CloseWrite()
	}()
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return answer
}

// answerWhole reads everything before it answers with the same.
func answerWhole(c *net.TCPConn) {
	defer c.Close()
	q, _ := io.ReadAll(c)
	c.Write(q)
}

func TestManyConnectionsGoThroughOneSession(t *testing.T) {
	p := newPath(t, answerWhole)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			q := bytes.Repeat([]byte{byte(i)}, 1+i*10_000)
			if got := p.question(t, q); !bytes.Equal(got, q) {
				t.Errorf("connection %d got %d bytes back, want the %d it sent", i, len(got), len(q))
			}
		})
	}
	wg.Wait()
	if n := len(p.sessions.accepted()); n != 1 {
		t.Errorf("%d connections between near and far, want 1", n)
	}
}

func TestAConnectionNobodyReadsStopsNoOther(t *testing.T) {
	stuck := make(chan struct{})
	p := newPath(t, func(c *net.TCPConn) {
		first := make([]byte, 1)
		io.ReadFull(c, first)
		if first[0] == 'x' {
			<-stuck // reads no more
			c.Close()
			return
		}
		defer c.Close()
		c.Write(first)
	})
	c := p.dial(t)
	defer close(stuck)
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	full := make(chan struct{})
	go func() { // until the connection is closed
		defer close(full)
		c.Write(make([]byte, 64<<20))
	}()
	for range 10 {
		if got := p.question(t, []byte("q")); string(got) != "q" {
			t.Fatalf("got %q", got)
		}
	}
	c.SetLinger(0)
	c.Close()
	<-full
}

func TestTheNearEndDialsAgainWhenItsSessionHasEnded(t *testing.T) {
	p := newPath(t, func(c *net.TCPConn) {
		defer c.Close()
		io.Copy(c, c)
	})
	c := p.dial(t)
	defer c.Close()
	if _, err := c.Write([]byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.sessions.accepted()[0].Close()
	if _, err := io.ReadAll(c); err != nil { // closed by the near end
		t.Log(err)
	}
	if got := p.question(t, []byte("two")); string(got) != "two" {
		t.Fatalf("got %q", got)
	}
	if n := len(p.sessions.accepted()); n != 2 {
		t.Errorf("%d connections between near and far, want 2", n)
	}
}

func TestATargetThatCannotBeReachedClosesTheConnection(t *testing.T) {
	p := newPath(t, answerWhole)
	l := listen(t)
	nobody := l.Addr().String()
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lf, ln := listen(t), listen(t)
	go far(ctx, lf, nobody)
	go near(ctx, ln, lf.Addr().String())
	p.addr = ln.Addr().String()
	if got := p.question(t, []byte("anybody?")); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// A download that its client aborts ends at the target: no stream is left that sends to nobody.
func TestAbortedDownloadsEndAtTheTarget(t *testing.T) {
	var writing sync.WaitGroup
	writing.Add(20)
	p := newPath(t, func(c *net.TCPConn) {
		defer writing.Done()
		defer c.Close()
		for {
			if _, err := c.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	})
	for range 20 {
		c := p.dial(t)
		if _, err := io.ReadFull(c, make([]byte, 100_000)); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	writing.Wait()
}

// The flags are explained, and bad ones are refused.
func TestRunExplainsItsFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-target address"},
		{"", 2, "give either -serve and -target"},
		{"-serve x -via y", 2, "give either -serve and -target"},
		{"-x", 2, "not defined"},
		{"-serve x:-1 -target x", 1, "invalid port"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("proxy %s: code %d, %s", c.args, code, out.String())
		}
	}
}

// Ctrl-C at either end lets open connections finish, and takes no new ones.
func TestCtrlCLetsOpenConnectionsFinish(t *testing.T) {
	testutil.LeakCheck(t)
	for _, end := range []string{"far", "near"} {
		target, lf, ln := listen(t), listen(t), listen(t)
		go func() {
			for {
				c, err := target.Accept()
				if err != nil {
					return
				}
				go answerWhole(c.(*net.TCPConn))
			}
		}()
		farCtx, stopFar := context.WithCancel(t.Context())
		farEnded := testutil.BackgroundErr(func() error { return far(farCtx, lf, target.Addr().String()) })
		nearCtx, stopNear := context.WithCancel(t.Context())
		nearEnded := testutil.BackgroundErr(func() error { return near(nearCtx, ln, lf.Addr().String()) })
		p := path{ln.Addr().String(), lf}
		c := p.dial(t)
		if _, err := c.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		if got := p.question(t, []byte("q")); string(got) != "q" { // now the session is there, and c's stream
			t.Errorf("got %q", got)
		}
		if end == "far" {
			stopFar()
		} else {
			stopNear()
			if n, err := net.Dial("tcp", p.addr); err == nil {
				io.ReadAll(n) // it was in the listener's queue
				n.Close()
			}
		}
		if _, err := c.Write([]byte(" and after")); err != nil {
			t.Error(err)
		}
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "before and after" || err != nil {
			t.Errorf("%s: got %q, %v", end, got, err)
		}
		c.Close()
		stopNear()
		testutil.WantErr(t, "near", (<-nearEnded).Err, nil)
		stopFar()
		testutil.WantErr(t, "far", (<-farEnded).Err, nil)
		target.Close()
	}
}
