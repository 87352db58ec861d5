package docs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// serve is what docs/testing.md tests: it hangs up on a client that says nothing for a minute.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go echoLines(conn)
	}
}

func echoLines(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for {
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "you said %s", line)
	}
}

// pair returns the two ends of a session in memory.
func pair(t *testing.T, cfg *session.Config) (client, server *session.Session) {
	t.Helper()
	a, b := net.Pipe()
	client, err := session.Client(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err = session.Server(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.CloseNow(); server.CloseNow() })
	return client, server
}

var quiet = &session.Config{KeepAlive: keepalive.Off{}}

// The test of docs/testing.md.
func TestEchoHangsUpAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, quiet)
		go serve(server.Listener())
		st, err := client.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second) // takes no time
		fmt.Fprintln(st, "hello")
		begin := time.Now()
		got, err := io.ReadAll(st)
		if string(got) != "you said hello\n" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if d := time.Since(begin).Round(time.Second); d != time.Minute {
			t.Errorf("it hung up after %v", d)
		}
		synctest.Wait() // until all goroutines wait, so that the server has handled the end
		if n := server.NumStreams(); n != 0 {
			t.Errorf("the server has %d open streams", n)
		}
	})
}

// A cable connects two conns, until it is cut: then nothing arrives, and nobody is told.
type cable struct {
	net.Conn
	cut chan struct{}
}

func (c cable) Write(p []byte) (int, error) {
	select {
	case <-c.cut:
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

// A client whose server vanishes gets the keep-alive's error after 30 s.
func TestReadFailsIfTheServerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		cut := make(chan struct{})
		client, err := session.Client(cable{a, cut}, nil) // with keep-alive
		if err != nil {
			t.Fatal(err)
		}
		server, err := session.Server(cable{b, cut}, quiet) // so that the client is the first to give up
		if err != nil {
			t.Fatal(err)
		}
		go serve(server.Listener())
		st, err := client.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(st, "hello")
		if got, err := bufio.NewReader(st).ReadString('\n'); got != "you said hello\n" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		begin := time.Now()
		close(cut)
		if _, err := st.Read(make([]byte, 1)); !errors.Is(err, session.ErrKeepAlive) {
			t.Errorf("Read: %v", err)
		}
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("it took %v", d)
		}
		<-server.Done() // the client has closed its end of the pipe
	})
}

// The faults of the table of docs/testing.md have these effects.
func TestFaultsHaveTheEffectsOfTheGuide(t *testing.T) {
	ask := func(t *testing.T, fault func(client, server *session.Session)) error {
		client, server := pair(t, quiet)
		st, err := client.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(st, "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := server.AcceptStream(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		fault(client, server)
		_, err = st.Read(make([]byte, 1))
		return err
	}
	for _, c := range []struct {
		name  string
		fault func(client, server *session.Session)
		want  error
	}{
		{"the connection ends", func(_, server *session.Session) { _ = server.Transport().Close() }, io.ErrUnexpectedEOF},
		{"the server is killed", func(_, server *session.Session) { _ = server.CloseNow() }, io.ErrUnexpectedEOF},
		{"the server closes", func(_, server *session.Session) { _ = server.Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := ask(t, c.fault); !errors.Is(err, c.want) {
					t.Errorf("Read: %v, want %v", err, c.want)
				}
			})
		})
	}
	t.Run("the server refuses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := pair(t, &session.Config{KeepAlive: keepalive.Off{}, MaxStreams: 1})
			for _, want := range []error{nil, stream.ErrRefused} {
				st, err := client.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(st, "hello"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := io.WriteString(st, "x"); !errors.Is(err, want) {
					t.Errorf("Write: %v, want %v", err, want)
				}
			}
			if n := server.Stats().StreamsRefused; n != 1 {
				t.Errorf("%d streams were refused", n)
			}
		})
	})
	t.Run("the server drains", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := pair(t, quiet)
			st, err := client.OpenStream(t.Context()) // so that the server knows the version
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if _, err := io.WriteString(st, "hello"); err != nil {
				t.Fatal(err)
			}
			_ = server.Listener().Close()
			synctest.Wait()
			if _, err := client.OpenStream(t.Context()); !errors.Is(err, session.ErrPeerShutdown) {
				t.Errorf("OpenStream: %v", err)
			}
		})
	})
}

// pipes is a net.Listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipes) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// A Dialer and a Listener work over pipes in a bubble: a stream that is opened while the server is away waits.
func TestPipesConnectDialerAndListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d := &session.Dialer{Dial: p.Dial, Config: quiet}
		defer d.Close()
		go func() {
			time.Sleep(5 * time.Second)
			l := &session.Listener{Listener: p, Config: quiet}
			t.Cleanup(func() { _ = l.CloseNow() })
			serve(l)
		}()
		st, err := d.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		fmt.Fprintln(st, "hello")
		if got, err := bufio.NewReader(st).ReadString('\n'); got != "you said hello\n" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
	})
}

// The test of docs/testing.md over a socket, where the bubble's clock would stand still.
func TestEchoOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	defer l.CloseNow()
	go serve(l)
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		},
	}
	defer d.Close()
	st, err := d.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	fmt.Fprintln(st, "hello")
	if got, err := bufio.NewReader(st).ReadString('\n'); got != "you said hello\n" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// A test that waits for ever is reported by synctest if its sessions have no keep-alive.
func TestHangIsReportedWithoutKeepAlive(t *testing.T) {
	const child = "SMUXKIT_HANG"
	if os.Getenv(child) != "" {
		synctest.Test(t, func(t *testing.T) {
			client, _ := pair(t, quiet)
			_, _ = client.AcceptStream(context.Background())
		})
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "deadlock") || !strings.Contains(string(out), "AcceptStream") {
		t.Errorf("%v:\n%s", err, out)
	}
}
