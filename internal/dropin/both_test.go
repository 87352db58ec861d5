package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	original "github.com/xtaci/smux"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session/smux"
)

// A session is what the sessions of both packages have. Their methods with own types are left out.
type session interface {
	Open() (io.ReadWriteCloser, error)
	Accept() (io.ReadWriteCloser, error)
	Close() error
	CloseChan() <-chan struct{}
	IsClosed() bool
	NumStreams() int
	SetDeadline(time.Time) error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// A streamConn is what the streams of both packages have.
type streamConn interface {
	net.Conn
	io.WriterTo
	CloseWrite() error
	GetDieCh() <-chan struct{}
	ID() uint32
}

// An implementation is one of the two packages.
type implementation struct {
	name           string
	client, server func(conn io.ReadWriteCloser, version int) (session, error)
}

var implementations = []implementation{
	{
		"original",
		func(conn io.ReadWriteCloser, version int) (session, error) {
			return original.Client(conn, originalConfig(version))
		},
		func(conn io.ReadWriteCloser, version int) (session, error) {
			return original.Server(conn, originalConfig(version))
		},
	},
	{
		"session/smux",
		func(conn io.ReadWriteCloser, version int) (session, error) {
			return smux.Client(conn, ourConfig(version))
		},
		func(conn io.ReadWriteCloser, version int) (session, error) {
			return smux.Server(conn, ourConfig(version))
		},
	},
}

func originalConfig(version int) *original.Config {
	cfg := original.DefaultConfig()
	cfg.Version = version
	return cfg
}

func ourConfig(version int) *smux.Config {
	cfg := smux.DefaultConfig()
	cfg.Version = version
	return cfg
}

// describe names an error as programs see it, which compare it with ==.
func describe(err error) string {
	for name, known := range map[string][]error{
		"nil":                {nil},
		"io.EOF":             {io.EOF},
		"io.ErrClosedPipe":   {io.ErrClosedPipe},
		"ErrUnexpectedEOF":   {io.ErrUnexpectedEOF},
		"io.ErrShortWrite":   {io.ErrShortWrite},
		"ErrTimeout":         {original.ErrTimeout, smux.ErrTimeout},
		"ErrInvalidProtocol": {original.ErrInvalidProtocol, smux.ErrInvalidProtocol},
		"ErrGoAway":          {original.ErrGoAway, smux.ErrGoAway},
		"ErrConsumed":        {original.ErrConsumed, smux.ErrConsumed},
	} {
		for _, k := range known {
			if err == k {
				return name
			}
		}
	}
	var ne net.Error
	return fmt.Sprintf("another error, net.Error: %v", errors.As(err, &ne))
}

// An exchange has both ends of a session, both ends of a stream, and the notes that the test compares.
type exchange struct {
	t      *testing.T
	ca, cb net.Conn // the ends of the transport
	c, s   session
	a, b   streamConn
	notes  []string
	settle func() // if not nil, the test is in a bubble, and settle waits until all that was done has arrived
}

// note notes what a call returned.
func (x *exchange) note(what string, n any, err error) {
	x.notes = append(x.notes, fmt.Sprintf("%s: %v, %s", what, n, describe(err)))
	if x.settle != nil {
		x.settle()
	}
}

// begin starts both sessions and opens a stream.
func (x *exchange) begin(impl implementation, version int) {
	t := x.t
	t.Helper()
	if x.settle == nil {
		x.ca, x.cb = testutil.TCPPair(t)
	} else {
		x.ca, x.cb = testutil.SimPair(t, simnet.Link{})
	}
	var err error
	if x.c, err = impl.client(x.ca, version); err != nil {
		t.Fatal(err)
	}
	if x.s, err = impl.server(x.cb, version); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = x.c.Close()
		_ = x.s.Close()
	})
	a, err := x.c.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := x.s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	x.a, x.b = a.(streamConn), b.(streamConn)
}

// endTransport ends the transport's direction from a to b. Close would reset it if something had arrived unread.
func (x *exchange) endTransport() { _ = x.ca.(*net.TCPConn).CloseWrite() }

// read notes what Read returns, and write what Write does.
func (x *exchange) read(what string, st net.Conn) {
	p := make([]byte, 100)
	n, err := st.Read(p)
	x.note(what, string(p[:n]), err)
}

func (x *exchange) write(what string, st net.Conn, size int) {
	n, err := st.Write(make([]byte, size))
	x.note(what, n, err)
}

// The two packages return the same from the same calls.
func TestCallsReturnWhatTheOriginalsDo(t *testing.T) {
	past := time.Unix(1, 0)
	for name, calls := range map[string]func(x *exchange){
		"after Close of the stream": func(x *exchange) {
			x.note("Close", "", x.a.Close())
			x.note("Close", "", x.a.Close())
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.read("Read", x.a)
			x.write("Write", x.a, 10)
			x.write("Write of nothing", x.a, 0)
			n, err := x.a.Read(nil)
			x.note("Read of nothing", n, err)
			k, err := x.a.WriteTo(io.Discard)
			x.note("WriteTo", k, err)
			x.note("SetDeadline", "", x.a.SetDeadline(time.Now()))
			<-x.a.GetDieCh()
			x.note("NumStreams", x.c.NumStreams(), nil)
			x.read("the peer's Read", x.b)
			x.note("the peer's Close", "", x.b.Close())
		},
		"after CloseWrite": func(x *exchange) {
			x.write("Write", x.a, 10)
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.note("CloseWrite", "", x.a.CloseWrite())
			x.write("Write", x.a, 10)
			n, err := x.b.WriteTo(io.Discard)
			x.note("the peer's WriteTo", n, err)
			x.read("the peer's Read", x.b)
			x.write("the peer's Write", x.b, 20)
			x.note("the peer's CloseWrite", "", x.b.CloseWrite())
			<-x.b.GetDieCh()
			x.note("the peer's Close", "", x.b.Close())
			n, err = x.a.WriteTo(io.Discard)
			x.note("WriteTo", n, err)
			<-x.a.GetDieCh()
			x.note("Close", "", x.a.Close())
			x.read("Read", x.a)
		},
		"at deadlines": func(x *exchange) {
			x.note("SetReadDeadline", "", x.a.SetReadDeadline(past))
			x.read("Read", x.a)
			n, err := x.a.WriteTo(io.Discard)
			x.note("WriteTo", n, err)
			x.note("SetReadDeadline", "", x.a.SetReadDeadline(time.Time{}))
			x.write("the peer's Write", x.b, 10)
			x.read("Read", x.a)
			x.note("SetDeadline of the session", "", x.s.SetDeadline(past))
			_, err = x.s.Accept()
			x.note("Accept", "", err)
			x.note("SetDeadline of the session", "", x.s.SetDeadline(time.Time{}))
			if _, err := x.c.Open(); err != nil {
				x.t.Error(err)
			}
			_, err = x.s.Accept()
			x.note("Accept", "", err)
		},
		"a writer that takes less": func(x *exchange) {
			x.write("the peer's Write", x.b, 10)
			n, err := x.a.WriteTo(short{})
			x.note("WriteTo", n, err)
		},
		"after Close of the session": func(x *exchange) {
			blocked := testutil.BackgroundErr(func() error { _, err := x.a.Read(make([]byte, 1)); return err })
			accepting := testutil.BackgroundErr(func() error { _, err := x.c.Accept(); return err })
			x.note("Close", "", x.c.Close())
			x.note("the Read that waits", "", (<-blocked).Err)
			x.note("the Accept that waits", "", (<-accepting).Err)
			x.note("Close", "", x.c.Close())
			<-x.c.CloseChan()
			<-x.a.GetDieCh()
			x.note("IsClosed", x.c.IsClosed(), nil)
			x.note("NumStreams", x.c.NumStreams(), nil)
			_, err := x.c.Open()
			x.note("Open", "", err)
			_, err = x.c.Accept()
			x.note("Accept", "", err)
			x.read("Read", x.a)
			x.write("Write", x.a, 10)
			x.note("the stream's Close", "", x.a.Close())
			x.note("the stream's CloseWrite", "", x.a.CloseWrite())
			x.read("the peer's Read", x.b)
			_, err = x.s.Accept()
			x.note("the peer's Accept", "", err)
			x.note("the peer's Close", "", x.s.Close())
			x.note("the peer's Close", "", x.s.Close())
		},
		"the transport ends between frames": func(x *exchange) {
			x.write("Write", x.a, 10)
			x.endTransport()
			x.read("the peer's Read", x.b)
			x.read("the peer's Read", x.b)
			_, err := x.s.Accept()
			x.note("the peer's Accept", "", err)
		},
		"the transport ends within a header": func(x *exchange) {
			_, _ = x.ca.Write([]byte{1})
			x.endTransport()
			x.read("the peer's Read", x.b)
			_, err := x.s.Accept()
			x.note("the peer's Accept", "", err)
		},
		"the peer breaks the protocol": func(x *exchange) {
			_, _ = x.ca.Write([]byte("GET / HTTP/1.1\r\n"))
			x.read("the peer's Read", x.b)
			_, err := x.s.Accept()
			x.note("the peer's Accept", "", err)
		},
		"this side closes the transport": func(x *exchange) {
			_ = x.ca.Close()
			for _, call := range []func() error{
				func() error { _, err := x.a.Write(make([]byte, 10)); return err },
				func() error { _, err := x.a.Read(make([]byte, 10)); return err },
				func() error { _, err := x.c.Accept(); return err },
			} {
				x.note("a call fails", call() != nil, nil)
			}
		},
		"the addresses": func(x *exchange) {
			x.note("LocalAddr", x.c.LocalAddr() == x.ca.LocalAddr() && x.a.LocalAddr() == x.ca.LocalAddr(), nil)
			x.note("RemoteAddr", x.c.RemoteAddr() == x.ca.RemoteAddr() && x.a.RemoteAddr() == x.ca.RemoteAddr(), nil)
		},
	} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", name, version), func(t *testing.T) {
				var notes [2][]string
				for i, impl := range implementations {
					x := &exchange{t: t}
					x.begin(impl, version)
					calls(x)
					notes[i] = x.notes
				}
				if diff := cmp.Diff(notes[0], notes[1]); diff != "" {
					t.Errorf("the original's -, ours +:\n%s", diff)
				}
			})
		}
	}
}

type short struct{}

func (short) Write([]byte) (int, error) { return 3, nil }

// A peer that acknowledges more than was sent gets the same error.
func TestConsumedBeyondSentIsTheOriginalsError(t *testing.T) {
	var got [2]string
	for i, impl := range implementations {
		x := &exchange{t: t}
		x.begin(impl, 2)
		frame := []byte{2, 4, 8, 0}
		frame = binary.LittleEndian.AppendUint32(frame, x.b.ID())
		frame = binary.LittleEndian.AppendUint32(frame, 1000)
		frame = binary.LittleEndian.AppendUint32(frame, 1<<20)
		if _, err := x.ca.Write(frame); err != nil {
			t.Fatal(err)
		}
		for { // until the update has been read
			if _, err := x.b.Write(make([]byte, 1)); err != nil {
				got[i] = describe(err)
				break
			}
		}
	}
	if got[0] != got[1] {
		t.Errorf("the original's Write: %s, ours: %s", got[0], got[1])
	}
}

func verifyOriginal(c *original.Config) error { return original.VerifyConfig(c) }

func originalDefault() *original.Config { return original.DefaultConfig() }

// bubble runs test in a bubble, where time is virtual.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		test(t)
	})
}
