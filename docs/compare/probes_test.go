package compare

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/stream"
)

func choose(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// bothVersions has a server with the default configuration meet a client of a version.
func bothVersions(t *testing.T, lib library, variant string) string {
	if variant == "" {
		return "–"
	}
	if variant == "1" { // the two servers have to be alike
		return bothVersions(t, lib, "2")
	}
	l, r := net.Pipe()
	client, err := lib.start(l, true, variant)
	if err != nil {
		t.Fatal(err)
	}
	server, err := lib.start(r, false, "1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		l.Close()
		r.Close()
		client.Close()
		server.Close()
	}()
	var accepted error
	ok := soon(func() {
		go client.Open()
		_, accepted = server.Accept()
	})
	return choose(ok && accepted == nil, "yes", "no")
}

func listener(t *testing.T, lib library, variant string) string {
	_, ok := newPair(t, lib, variant).client.Session.(net.Listener)
	return choose(ok, "yes", "no")
}

func contexts(t *testing.T, lib library, variant string) string {
	s := newPair(t, lib, variant).client.Session
	var found []string
	_, oursOpens := s.(interface {
		OpenStream(context.Context) (*stream.Stream, error)
	})
	_, opens := s.(interface {
		Open(context.Context) (net.Conn, error)
	})
	if oursOpens || opens {
		found = append(found, "open")
	}
	_, ours := s.(interface {
		AcceptStream(context.Context) (*stream.Stream, error)
	})
	if ours || hasMethod(s, "AcceptStreamWithContext") {
		found = append(found, "accept")
	}
	return choose(len(found) > 0, strings.Join(found, ", "), "none")
}

// passesNettest runs TestNettest in a process of its own, as it may hang. Some pass now and then.
func passesNettest(t *testing.T, lib library, variant string) string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limit := 20 * time.Second // it takes ten
	if lib.name == "smuxkit" {
		limit = 2 * time.Minute // on a machine that is busy
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run=^TestNettest$", "-test.count=20", "-test.failfast")
	cmd.Env = append(os.Environ(), "COMPARE_NETTEST="+lib.name+variant)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Log("hangs")
	} else if err != nil {
		t.Logf("%s", out)
	}
	return choose(err == nil, "yes", "no")
}

func TestNettest(t *testing.T) {
	which := os.Getenv("COMPARE_NETTEST")
	for _, lib := range libraries {
		for _, v := range lib.variants {
			if lib.name+v == which {
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					p := newPair(t, lib, v)
					c1, c2 = p.connect(t)
					return c1, c2, func() {
						c1.Close()
						c2.Close()
						p.client.Close()
						p.server.Close()
					}, nil
				})
			}
		}
	}
}

func halfClose(t *testing.T, lib library, variant string) string {
	client, server := newPair(t, lib, variant).connect(t)
	var found []string
	closeWrite := client.Close
	if c, ok := client.(interface{ CloseWrite() error }); ok {
		closeWrite = c.CloseWrite
		found = append(found, "`CloseWrite`")
	} else {
		found = append(found, "`Close`")
	}
	if hasMethod(client, "CloseRead") {
		found = append(found, "`CloseRead`")
	}
	if err := closeWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read after half-close: %v", err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
		t.Fatalf("answer to a half-close: %v", err)
	}
	return strings.Join(found, ", ")
}

func unreadAnswer(t *testing.T, lib library, variant string) string {
	const size = 200_000 // within every window
	p := newPair(t, lib, variant)
	client, server := p.connect(t)
	if c, ok := client.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	} else {
		client.Close()
	}
	if _, err := io.ReadAll(server); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	p.connectBack(t) // so that the answer and its FIN have come
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	return choose(len(got) == size, "kept", "thrown away")
}

// connectBack has the server open a stream and the client read from it.
func (p *pair) connectBack(t *testing.T) {
	t.Helper()
	(&pair{client: p.server, server: p.client}).connect(t)
}

func cut(t *testing.T, lib library, variant string) string {
	p := newPair(t, lib, variant)
	client, _ := p.connect(t)
	p.far.Close()
	_, err := client.Read(make([]byte, 1))
	return choose(err == io.EOF, "`io.EOF`", "error")
}

func openAndCloseStalled(t *testing.T, lib library, variant string) string {
	p := newPair(t, lib, variant)
	client, _ := p.connect(t)
	p.conn.stall()
	go client.Write(make([]byte, 1000))
	<-p.conn.blocked
	ok := soon(func() {
		if st, err := p.client.Open(); err == nil {
			st.Close()
		}
	})
	return choose(ok, "at once", "blocks")
}

func deadlineStalled(t *testing.T, lib library, variant string) string {
	p := newPair(t, lib, variant)
	client, _ := p.connect(t)
	p.conn.stall()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Write(make([]byte, 1<<20))
	}()
	<-p.conn.blocked
	go client.SetWriteDeadline(time.Now())
	return choose(soon(func() { <-ended }), "yes", "no")
}

func unreadStreams(t *testing.T, lib library, variant string) string {
	p := newPair(t, lib, variant)
	var clients []net.Conn
	for range 32 {
		client, _ := p.connectUnread(t)
		clients = append(clients, client)
	}
	for _, client := range clients {
		go client.Write(make([]byte, 4<<20)) // as much as may be sent
	}
	time.Sleep(300 * time.Millisecond) // for that to arrive
	ok := soon(func() {
		client, err := p.client.Open()
		if err != nil {
			return
		}
		if _, err := client.Write([]byte("hi")); err != nil {
			return
		}
		server, err := p.server.Accept()
		if err != nil {
			return
		}
		io.ReadFull(server, make([]byte, 2))
	})
	return choose(ok, "runs", "stops")
}

var idle sync.Once

func goroutines(t *testing.T, lib library, variant string) string {
	idle.Do(func() { time.Sleep(time.Second) }) // for those that other rows have left
	before := settled()
	p := newPair(t, lib, variant)
	p.connect(t)
	n := settled() - before
	if n%2 != 0 {
		t.Logf("%d goroutines at both ends", n)
	}
	return fmt.Sprint(n / 2)
}

// settled returns the number of goroutines once it stays the same.
func settled() int {
	n, same := runtime.NumGoroutine(), 0
	for same < 20 {
		time.Sleep(10 * time.Millisecond)
		if m := runtime.NumGoroutine(); m == n {
			same++
		} else {
			n, same = m, 0
		}
	}
	return n
}

func hasMethod(v any, name string) bool { return reflect.ValueOf(v).MethodByName(name).IsValid() }
