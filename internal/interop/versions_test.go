package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xtaci1558 "github.com/xtaci/smux"
	sagernet1534 "peer.test/sagernet1534"
	xtaci1524 "peer.test/xtaci1524"
	xtaci1527 "peer.test/xtaci1527"
	xtaci1534 "peer.test/xtaci1534"
	xtaci1553 "peer.test/xtaci1553"
	xtaci1556 "peer.test/xtaci1556"
)

// The versions of the original, and what differs between them. go.mod gives each version a name of its own.

// A peer is one version of the original.
type peer struct {
	name  string
	crate string // the version of a Rust crate
	start startFunc

	// What the tests expect of it. TestPeersAreAsTheTableSays proves it.
	afterFIN    afterFIN
	closeWrite  bool // it has CloseWrite
	keepsUnread bool // data can still be read when both sides have sent FIN
	// registersLate says that a stream that it opens gets nothing before its OpenStream has returned.
	registersLate bool
	locksBacklog  bool  // it holds the lock of its streams while its backlog is full
	finalizes     bool  // it closes accepted streams that are garbage
	consumed      error // its ErrConsumed
	// racyWrites says that Writes on one stream at the same time are a data race, in version 1.
	racyWrites bool
	// Of the Rust crates alone:
	largestFrame   int  // most bytes of data in a frame that it takes
	emptyEnds      bool // PSH without data ends Read
	answersUnknown bool // data of a stream that is not open is answered with FIN
	silentAfterFIN bool // no FIN is sent after ours has come
}

// A startFunc starts a session. change may be nil.
type startFunc func(conn net.Conn, client bool, version int, change theirConfig) (muxSession, error)

// An afterFIN says what a peer's Write does when the other side has sent FIN.
type afterFIN string

const (
	writesOn          afterFIN = "Write goes on"
	writesFirstWindow afterFIN = "Write goes on, in version 2 until it has to wait for the window"
	writesNothing     afterFIN = "Write fails"
)

// firstWindow is what a stream of version 2 may send before its first window update.
const firstWindow = 262_144

// peers are ordered by version. The last is the newest, with which everything is tested; see somePeers.
var peers = []*peer{
	{
		name: "xtaci 1.5.24", locksBacklog: true, registersLate: true, afterFIN: writesFirstWindow, racyWrites: true, keepsUnread: true, consumed: xtaci1524.ErrConsumed,
		start: starter(xtaci1524.DefaultConfig, xtaci1524.Client, xtaci1524.Server, func(c *xtaci1524.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "xtaci 1.5.27", locksBacklog: true, registersLate: true, afterFIN: writesFirstWindow, racyWrites: true, keepsUnread: true, consumed: xtaci1527.ErrConsumed,
		start: starter(xtaci1527.DefaultConfig, xtaci1527.Client, xtaci1527.Server, func(c *xtaci1527.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "xtaci 1.5.34", locksBacklog: true, registersLate: true, finalizes: true, afterFIN: writesNothing, racyWrites: true, keepsUnread: true, consumed: xtaci1534.ErrConsumed,
		start: starter(xtaci1534.DefaultConfig, xtaci1534.Client, xtaci1534.Server, func(c *xtaci1534.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "sagernet 1.5.34-mod.2", locksBacklog: true, registersLate: true, finalizes: true, afterFIN: writesNothing, racyWrites: true, keepsUnread: true, consumed: sagernet1534.ErrConsumed,
		start: starter(sagernet1534.DefaultConfig, sagernet1534.Client, sagernet1534.Server, func(c *sagernet1534.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "xtaci 1.5.53", registersLate: true, finalizes: true, afterFIN: writesNothing, keepsUnread: true, consumed: xtaci1553.ErrConsumed,
		start: starter(xtaci1553.DefaultConfig, xtaci1553.Client, xtaci1553.Server, func(c *xtaci1553.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "xtaci 1.5.56", registersLate: true, finalizes: true, afterFIN: writesOn, closeWrite: true, consumed: xtaci1556.ErrConsumed,
		start: starter(xtaci1556.DefaultConfig, xtaci1556.Client, xtaci1556.Server, func(c *xtaci1556.Config) *theirSettings { return (*theirSettings)(c) }),
	},
	{
		name: "xtaci 1.5.58", afterFIN: writesOn, closeWrite: true, keepsUnread: true, consumed: xtaci1558.ErrConsumed,
		start: starter(xtaci1558.DefaultConfig, xtaci1558.Client, xtaci1558.Server, func(c *xtaci1558.Config) *theirSettings { return (*theirSettings)(c) }),
	},
}

// newest is the newest version.
var newest = peers[len(peers)-1]

// halfCloses reports whether a stream goes on when either side has half-closed it.
func (p *peer) halfCloses() bool { return p.closeWrite && p.afterFIN == writesOn }

// somePeers returns the peers for which want returns true; nil selects all. If the original takes our place, that is
// the newest version, and so is its peer.
func somePeers(want func(*peer) bool) (some []*peer) {
	for _, p := range peers {
		if (want == nil || want(p)) && (!standIn || p == newest) {
			some = append(some, p)
		}
	}
	return some
}

// theirSettings has the fields of Config of every version.
type theirSettings struct {
	Version           int
	KeepAliveDisabled bool
	KeepAliveInterval time.Duration
	KeepAliveTimeout  time.Duration
	MaxFrameSize      int
	MaxReceiveBuffer  int
	MaxStreamBuffer   int
}

// theirConfig changes a version's defaults. nil changes nothing.
type theirConfig func(*theirSettings)

// theirSession is a session of some version.
type theirSession[S theirStream] interface {
	OpenStream() (S, error)
	AcceptStream() (S, error)
	Close() error
	NumStreams() int
}

// theirStream is a stream of some version.
type theirStream interface {
	net.Conn
	io.WriterTo
}

// starter returns the startFunc of a version: its functions, and how a pointer to its Config is converted.
func starter[C any, S theirStream, T theirSession[S]](
	defaults func() *C, client, server func(io.ReadWriteCloser, *C) (T, error), settings func(*C) *theirSettings,
) startFunc {
	return func(conn net.Conn, isClient bool, version int, change theirConfig) (muxSession, error) {
		cfg := defaults()
		settings(cfg).Version = version
		if change != nil {
			change(settings(cfg))
		}
		start := server
		if isClient {
			start = client
		}
		s, err := start(conn, cfg)
		if err != nil {
			return nil, err
		}
		return original[S]{s}, nil
	}
}

// original is a session of some version, as a muxSession.
type original[S theirStream] struct{ theirSession[S] }

func (o original[S]) Open() (muxStream, error)   { return adapt(o.OpenStream()) }
func (o original[S]) Accept() (muxStream, error) { return adapt(o.AcceptStream()) }

func adapt[S theirStream](st S, err error) (muxStream, error) {
	if err != nil {
		return nil, err
	}
	return &originalStream{theirStream: st}, nil
}

// originalStream hides differences of the original that are not failures. When both ends have sent FIN the stream is
// closed: Close returns io.ErrClosedPipe, and Read that or io.EOF. WriteTo returns io.EOF where io.WriterTo
// requires nil.
type originalStream struct {
	theirStream
	halfClosed atomic.Bool
}

// CloseWrite fails with errors.ErrUnsupported if the version has none.
func (s *originalStream) CloseWrite() error {
	half, ok := s.theirStream.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	s.halfClosed.Store(true)
	return half.CloseWrite()
}

func (s *originalStream) Read(p []byte) (int, error) {
	n, err := s.theirStream.Read(p)
	if errors.Is(err, io.ErrClosedPipe) && s.halfClosed.Load() {
		err = io.EOF
	}
	return n, err
}

func (s *originalStream) WriteTo(w io.Writer) (int64, error) {
	n, err := s.theirStream.WriteTo(w)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (s *originalStream) Close() error {
	err := s.theirStream.Close()
	if errors.Is(err, io.ErrClosedPipe) && s.halfClosed.Load() {
		return nil
	}
	return err
}

// Every version does what the table says: after our FIN, and when both sides have sent FIN.
func TestPeersAreAsTheTableSays(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		skipStandIn(t, "takes both places")
		ours, theirs := connect(t, l.our(), l.their())
		mustCloseWrite(t, "ours", ours)
		readAll(t, "theirs", theirs, nil)
		const size = firstWindow + 100_000
		got := make(chan int, 1)
		read := func() {
			b, err := io.ReadAll(ours)
			if err != nil {
				t.Errorf("ours: read: %v", err)
			}
			got <- len(b)
		}
		late := l.peer.afterFIN == writesFirstWindow && l.version == 2
		if !late { // otherwise a window update may come before their Write waits for it
			go read()
		}
		n, werr := theirs.Write(make([]byte, size))
		mustClose(t, "theirs", theirs)
		if late {
			read()
		}
		arrived := <-got
		want, fails := size, false
		switch l.peer.afterFIN {
		case writesNothing:
			want, fails = 0, true
		case writesFirstWindow:
			if late {
				want, fails = firstWindow, true
			}
		case writesOn:
		}
		if arrived != want || fails != (werr != nil) {
			t.Errorf("after our FIN their Write = %d, %v, and %d bytes arrived; want %d", n, werr, arrived, want)
		}
		switch {
		case l.peer.afterFIN == writesNothing:
			l.shows(t, emptyAnswer)
		case fails:
			l.shows(t, cutAnswer)
		}
		mustClose(t, "ours", ours)

		ours, theirs = connect(t, l.our(), l.their())
		if err := theirs.CloseWrite(); errors.Is(err, errors.ErrUnsupported) == l.peer.closeWrite {
			t.Errorf("CloseWrite: %v", err)
		} else if err != nil {
			l.shows(t, noCloseWrite)
		}
		mustWrite(t, "ours", ours, []byte("unread"))
		mustClose(t, "ours", ours)
		echo(t, l) // their side has read the FINs
		unread, err := io.ReadAll(theirs)
		if kept := string(unread) == "unread"; err != nil || kept != l.peer.keepsUnread {
			t.Errorf("after both FINs they read %q, %v, want that it is kept: %v", unread, err, l.peer.keepsUnread)
		} else if !kept {
			l.shows(t, unreadLost)
		}
		mustClose(t, "theirs", theirs)
		wantNoStreams(t, l)
	})
}

// After our Close, their Write does what the table says for our FIN, and in version 2 it waits when the window is used up:
// nobody reads.
func TestTheirWriteAfterOurClose(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		skipStandIn(t, "takes both places")
		ours, theirs := connect(t, l.our(), l.their())
		mustClose(t, "ours", ours)
		for what, err := range map[string]error{"read": readErr(ours), "write": writeErr(ours)} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("ours: %s after close: %v", what, err)
			}
		}
		readAll(t, "theirs", theirs, nil)
		waits := l.version == 2 && l.peer.afterFIN == writesOn
		if waits {
			if err := theirs.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
		n, err := theirs.Write(make([]byte, firstWindow+100_000))
		fails := l.peer.afterFIN == writesNothing || l.version == 2
		if fails != (err != nil) || err != nil && timedOut(err) != waits {
			t.Errorf("theirs: write = %d, %v; want that it fails: %v, by its deadline: %v", n, err, fails, waits)
		}
		switch {
		case waits:
			l.shows(t, theirWriteWaits)
		case !fails:
			l.shows(t, theirWriteGoesOn)
		}
		if err := theirs.SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		mustClose(t, "theirs", theirs)
		echo(t, l)
		wantNoStreams(t, l)
	})
}

func readErr(s muxStream) error {
	_, err := s.Read(make([]byte, 1))
	return err
}

func writeErr(s muxStream) error {
	_, err := s.Write([]byte("x"))
	return err
}

// The tests run with the versions that the names of the peers say.
func TestPeersAreThoseOfGoMod(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		implementation, version, _ := strings.Cut(p.name, " ")
		want := fmt.Sprintf("github.com/%s/smux v%s\n", implementation, version)
		if !strings.Contains(string(mod), want) {
			t.Errorf("go.mod has no %s", want)
		}
	}
}
