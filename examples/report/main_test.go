package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// TestMain lets a test run this binary as the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("REPORT_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A buffer collects reports, and tells of each.
type buffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer // guarded by mu
	some chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	b.some <- struct{}{}
	return len(p), nil
}

// Reports of programs that exit arrive whole.
func TestReportsOfProgramsThatExitArrive(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	const programs = 5
	got := &buffer{some: make(chan struct{}, programs)}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() {
		if err := collect(ctx, l, got); err != nil {
			t.Errorf("collect: %v", err)
		}
	})

	report := strings.Repeat("all is well\n", 20_000)
	for range programs {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-connect", l.Addr().String())
			cmd.Env = append(os.Environ(), "REPORT_TEST_MAIN=1")
			cmd.Stdin = strings.NewReader(report)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for range programs {
		<-got.some
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if want := strings.Repeat(report, programs); got.buf.String() != want {
		t.Errorf("%d bytes arrived, want %d", got.buf.Len(), len(want))
	}
}

// A report to nobody fails.
func TestReportToNobodyFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := send(t.Context(), l.Addr().String(), strings.NewReader("help")); err == nil {
		t.Error("no error")
	}
}

// A collector that takes nothing and breaks off makes the report fail.
func TestReportThatDoesNotArriveFails(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := testutil.BackgroundErr(func() error { return send(t.Context(), l.Addr().String(), bytes.NewReader(make([]byte, 20<<20))) })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if r := <-sent; r.Err == nil {
		t.Error("no error")
	}
}

// The flags are explained, and bad ones are refused.
func TestRunExplainsItsFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "-connect address"},
		{"", 2, "give either -listen or -connect"},
		{"-listen x -connect y", 2, "give either -listen or -connect"},
		{"-x", 2, "not defined"},
		{"-listen x:-1", 1, "invalid port"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), nil, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("report %s: code %d, %s", c.args, code, out.String())
		}
	}
}
