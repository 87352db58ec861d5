package session_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// exitEnv is set in the processes that TestProgramThatFlushesLosesNothing starts: network, address, role, version, way to
// end, transport, and the server's certificate or "-".
const exitEnv = "SMUXKIT_TEST_EXIT"

// A program that calls Flush, Session.Close or Shutdown before it exits, or sets WriteThrough, loses nothing that it has
// written, nor the end of the stream. The program is a process of its own, which exits with no further ado.
func TestProgramThatFlushesLosesNothing(t *testing.T) {
	if os.Getenv(exitEnv) != "" {
		exitingProgram()
	}
	testutil.LeakCheck(t)
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	runs := 4
	if testing.Short() || testutil.Race {
		runs = 1
	}
	for _, transport := range []string{"tcp", "tls", "unix", "portable"} {
		for i, way := range []string{"flush", "close", "shutdown", "through"} {
			t.Run(transport+"/"+way, func(t *testing.T) {
				for n := range runs {
					role := []string{"client", "server"}[(n+i)%2]
					version := 1 + n/2%2
					received, err := runExiting(t, certified, transport, role, version, way)
					if want := exitSize(version); err != nil || received != want {
						t.Errorf("%s, version %d: %d of %d bytes arrived, then %v", role, version, received, want, err)
					}
				}
			})
		}
	}
	t.Run("none", func(t *testing.T) {
		if os.Getenv("SMUXKIT_TEST_LOSS") == "" {
			t.Skip("set SMUXKIT_TEST_LOSS to see what is lost without them: that depends on luck")
		}
		for _, transport := range []string{"tcp", "tls", "unix", "portable"} {
			lost := 0
			for range 30 {
				if received, err := runExiting(t, certified, transport, "client", 2, "none"); err != nil || received != exitSize(2) {
					lost++
				}
			}
			t.Logf("%s: data was lost in %d of 30 runs", transport, lost)
		}
	})
}

// exitSize returns how many bytes a program writes.
func exitSize(version int) int { return 30_000 * version }

// runExiting runs a program that writes to a stream and exits, and returns how much it reads of the stream.
func runExiting(t *testing.T, certified *httptest.Server, transport, role string, version int, way string) (received int, err error) {
	t.Helper()
	network, address, certificate := "tcp", "127.0.0.1:0", "-"
	switch transport {
	case "unix":
		dir, err := os.MkdirTemp("", "smux") // the path of t.TempDir may be too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		network, address = "unix", filepath.Join(dir, "socket")
	case "tls":
		certificate = hex.EncodeToString(certified.Certificate().Raw)
	}
	l, err := net.Listen(network, address)
	if err != nil && network == "unix" {
		t.Skipf("no Unix sockets: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProgramThatFlushesLosesNothing$")
	child.Env = append(os.Environ(), exitEnv+"="+strings.Join([]string{
		network, l.Addr().String(), role, strconv.Itoa(version), way, transport, certificate,
	}, " "))
	var output bytes.Buffer
	child.Stdout, child.Stderr = &output, &output
	if err := child.Start(); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no program can be started here, as under an emulator or in a WASI runtime: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	ended := testutil.BackgroundErr(child.Wait)
	awaitEnd := sync.OnceFunc(func() {
		if r := <-ended; r.Err != nil {
			t.Errorf("the program: %v\n%s", r.Err, output.Bytes())
		}
	})
	defer awaitEnd()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	conn, err := l.Accept()
	if err != nil {
		return 0, err
	}
	var rwc io.ReadWriteCloser = conn
	if transport == "tls" {
		rwc = tls.Server(conn, &tls.Config{Certificates: certified.TLS.Certificates})
	}
	start := session.Server
	if role == "server" {
		start = session.Client
	}
	s, err := start(rwc, &session.Config{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := s.AcceptStream(ctx)
	if err != nil {
		return 0, err
	}
	defer st.Close()
	_ = st.SetReadDeadline(time.Now().Add(time.Minute))
	data, err := io.ReadAll(st)
	if portable || transport == "portable" {
		awaitEnd() // this side has to answer; the kernel answers in any case
	}
	return len(data), err
}

// exitingProgram is the other process. It does not return.
func exitingProgram() {
	var network, address, role, way, transport, certificate string
	var version int
	_, err := fmt.Sscan(os.Getenv(exitEnv), &network, &address, &role, &version, &way, &transport, &certificate)
	exitIf(err)
	conn, err := net.Dial(network, address)
	exitIf(err)
	cfg := &session.Config{Version: version, Portable: transport == "portable", WriteThrough: way == "through"}
	var rwc io.ReadWriteCloser = conn
	if certificate != "-" {
		der, err := hex.DecodeString(certificate)
		exitIf(err)
		parsed, err := x509.ParseCertificate(der)
		exitIf(err)
		roots := x509.NewCertPool()
		roots.AddCert(parsed)
		rwc = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	}
	start := session.Client
	if role == "server" {
		start = session.Server
	}
	s, err := start(rwc, cfg)
	exitIf(err)
	exitIf(endProgram(s, exitSize(version), way))
	os.Exit(0)
}

func endProgram(s *session.Session, size int, way string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	st, err := s.OpenStream(ctx)
	if err != nil {
		return err
	}
	for ; size > 0; size -= 1000 {
		if _, err := st.Write(make([]byte, 1000)); err != nil {
			return err
		}
	}
	if err := st.Close(); err != nil {
		return err
	}
	switch way {
	case "flush":
		return st.Flush(ctx)
	case "close":
		return s.Close()
	case "shutdown":
		return s.Shutdown(ctx)
	}
	return nil
}

func exitIf(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
