package main

import (
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session/smux"
)

// Streams pass golang.org/x/net/nettest.
func TestStreamsPassNettest(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": testutil.TCPPair, "pipe": testutil.PipePair} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", name, version), func(t *testing.T) {
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					ca, cb := pair(t)
					c, err := smux.Client(ca, ourConfig(version))
					if err != nil {
						return nil, nil, nil, err
					}
					s, err := smux.Server(cb, ourConfig(version))
					if err != nil {
						return nil, nil, nil, err
					}
					a, err := c.OpenStream()
					if err != nil {
						return nil, nil, nil, err
					}
					b, err := s.AcceptStream()
					if err != nil {
						return nil, nil, nil, err
					}
					return a, b, func() {
						_, _, _, _ = c.Close(), s.Close(), a.Close(), b.Close() // a stream that nobody reads waits in Close
					}, nil
				})
			})
		}
	}
}

// Everything that the original exports is exported here, with the same type. Variables and constants have the same values
// as far as the type tells.
func TestExportedAPIHasAllOfTheOriginals(t *testing.T) {
	theirDir, err := originalDir()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := newSuite(dir, root, true, false); err != nil {
		t.Fatal(err)
	}
	ours, theirs := exported(t, filepath.Join(root, "session", "smux")), exported(t, theirDir)
	for name, want := range theirs {
		if ours[name] != want {
			t.Errorf("%s\noriginal: %s\nours:     %s", name, want, ours[name])
		}
	}
}

// exported returns what the package in dir exports: names and types, with fields and methods.
func exported(t *testing.T, dir string) map[string]string {
	t.Helper()
	p, err := importer.ForCompiler(token.NewFileSet(), "source", nil).(types.ImporterFrom).ImportFrom(".", dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	inPackage := func(q *types.Package) string {
		if q == p {
			return ""
		}
		return q.Path()
	}
	all := make(map[string]string)
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		if _, isType := o.(*types.TypeName); !isType {
			all[name] = types.TypeString(o.Type(), inPackage)
			if c, ok := o.(*types.Const); ok {
				all[name] += " = " + c.Val().String()
			}
			continue
		}
		all[name] = "type"
		if s, ok := o.Type().Underlying().(*types.Struct); ok {
			for i := range s.NumFields() {
				if f := s.Field(i); f.Exported() {
					all[name+"."+f.Name()] = types.TypeString(f.Type(), inPackage)
				}
			}
		}
		for _, typ := range []types.Type{o.Type(), types.NewPointer(o.Type())} {
			set := types.NewMethodSet(typ)
			for i := range set.Len() {
				if m := set.At(i).Obj(); m.Exported() {
					all[types.TypeString(typ, inPackage)+"."+m.Name()] = types.TypeString(set.At(i).Type(), inPackage)
				}
			}
		}
	}
	return all
}

// GetDieCh starts no goroutine, and neither does a stream that is idle.
func TestIdleStreamsHaveNoGoroutine(t *testing.T) {
	testutil.LeakCheck(t)
	ca, cb := testutil.TCPPair(t)
	c, err := smux.Client(ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := smux.Server(cb, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open := func() {
		a, err := c.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.AcceptStream()
		if err != nil {
			t.Fatal(err)
		}
		a.GetDieCh()
		b.GetDieCh()
	}
	open()
	before := runtime.NumGoroutine()
	for range 1000 {
		open()
	}
	if n := runtime.NumGoroutine() - before; n > 100 {
		t.Errorf("1000 streams have %d goroutines", n)
	}
}

// The keep-alive closes a session whose peer is silent, although the peer's host acknowledges everything, and not one
// without keep-alive. Calls then return io.ErrClosedPipe.
func TestKeepAliveClosesTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{})
		cfg := smux.DefaultConfig()
		cfg.KeepAliveInterval, cfg.KeepAliveTimeout = time.Second, 3*time.Second
		c, err := smux.Client(ca, cfg)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, cb) }()
		st, err := c.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-c.CloseChan()
		if d := time.Since(began); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("closed after %v", d)
		}
		_, readErr := st.Read(make([]byte, 1))
		_, acceptErr := c.Accept()
		_, openErr := c.Open()
		for name, err := range map[string]error{"Read": readErr, "Accept": acceptErr, "Open": openErr, "Close": c.Close(), "the stream's Close": st.Close()} {
			if err != io.ErrClosedPipe {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	bubble(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{})
		cfg := smux.DefaultConfig()
		cfg.KeepAliveDisabled = true
		c, err := smux.Client(ca, cfg)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, cb) }()
		time.Sleep(24 * time.Hour)
		if c.IsClosed() {
			t.Error("closed without keep-alive")
		}
		_ = c.Close()
	})
}

// A nil *Stream is not in the interface that Open and Accept return with an error.
func TestFailedOpenAndAcceptReturnNil(t *testing.T) {
	ca, _ := testutil.TCPPair(t)
	c, err := smux.Client(ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if st, err := c.Open(); st != nil || err == nil {
		t.Errorf("Open = %v, %v", st, err)
	}
	if st, err := c.Accept(); st != nil || err == nil {
		t.Errorf("Accept = %v, %v", st, err)
	}
}

// Every value that VerifyConfig of the original takes or rejects is taken or rejected here.
func TestVerifyConfigHasTheOriginalsLimits(t *testing.T) {
	for name, change := range map[string]func(version, interval, timeout, frame, receive, stream *int, disabled *bool){
		"defaults":  func(_, _, _, _, _, _ *int, _ *bool) {},
		"version 0": func(v, _, _, _, _, _ *int, _ *bool) { *v = 0 },
		"version 3": func(v, _, _, _, _, _ *int, _ *bool) { *v = 3 },
		"interval":  func(_, i, _, _, _, _ *int, _ *bool) { *i = 0 },
		"interval, disabled": func(_, i, _, _, _, _ *int, d *bool) {
			*i, *d = 0, true
		},
		"timeout":          func(_, i, o, _, _, _ *int, _ *bool) { *i, *o = 20, 19 },
		"timeout, equal":   func(_, i, o, _, _, _ *int, _ *bool) { *i, *o = 20, 20 },
		"frame 0":          func(_, _, _, f, _, _ *int, _ *bool) { *f = 0 },
		"frame 1":          func(_, _, _, f, _, _ *int, _ *bool) { *f = 1 },
		"frame 65535":      func(_, _, _, f, _, _ *int, _ *bool) { *f = 65535 },
		"frame 65536":      func(_, _, _, f, _, _ *int, _ *bool) { *f = 65536 },
		"receive 0":        func(_, _, _, _, r, s *int, _ *bool) { *r, *s = 0, 0 },
		"receive 1":        func(_, _, _, _, r, s *int, _ *bool) { *r, *s = 1, 1 },
		"receive 1<<31-1":  func(_, _, _, _, r, s *int, _ *bool) { *r, *s = 1<<31-1, 1<<31-1 },
		"stream 0":         func(_, _, _, _, _, s *int, _ *bool) { *s = 0 },
		"stream, too much": func(_, _, _, _, r, s *int, _ *bool) { *r, *s = 100, 101 },
	} {
		t.Run(name, func(t *testing.T) {
			version, interval, timeout, frame, receive, stream, disabled := 1, 10, 30, 32768, 4<<20, 65536, false
			change(&version, &interval, &timeout, &frame, &receive, &stream, &disabled)
			theirs, ours := originalConfig(version), ourConfig(version)
			theirs.KeepAliveDisabled, ours.KeepAliveDisabled = disabled, disabled
			theirs.KeepAliveInterval, ours.KeepAliveInterval = time.Duration(interval)*time.Second, time.Duration(interval)*time.Second
			theirs.KeepAliveTimeout, ours.KeepAliveTimeout = time.Duration(timeout)*time.Second, time.Duration(timeout)*time.Second
			theirs.MaxFrameSize, ours.MaxFrameSize = frame, frame
			theirs.MaxReceiveBuffer, ours.MaxReceiveBuffer = receive, receive
			theirs.MaxStreamBuffer, ours.MaxStreamBuffer = stream, stream
			want, got := verifyOriginal(theirs), smux.VerifyConfig(ours)
			if (want == nil) != (got == nil) {
				t.Errorf("the original says %v, ours %v", want, got)
			}
			ca, _ := testutil.TCPPair(t)
			s, err := smux.Client(ca, ours)
			if (err == nil) != (want == nil) {
				t.Errorf("Client: %v", err)
			}
			if err == nil {
				_ = s.Close()
			} else if strings.Contains(err.Error(), "session:") {
				t.Errorf("%v: it is package session's", err)
			}
		})
	}
	if *smux.DefaultConfig() != smux.Config(*originalDefault()) {
		t.Errorf("the defaults are %+v, want %+v", smux.DefaultConfig(), originalDefault())
	}
}

// ErrTimeout is a net.Error that asks to try again, as net/http wants it.
func TestErrTimeoutIsATemporaryTimeout(t *testing.T) {
	var ne net.Error
	if !errors.As(smux.ErrTimeout, &ne) || !ne.Timeout() || smux.ErrTimeout.Error() != "timeout" {
		t.Error(smux.ErrTimeout)
	}
}
