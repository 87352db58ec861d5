package session_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// One side restarts. The table says what each call of both sides returns, and when. It is a table of docs/endings.md,
// too: TestRestartTableIsInTheDocs compares them.

const (
	// oneWay is how long a byte travels: half a round trip.
	oneWay = 10 * time.Millisecond
	// workTime is when the applications of both sides close their streams, after the restart began.
	workTime = time.Minute
)

// An outcome is what a call returned, and how long after the restart began.
type outcome struct {
	err   error
	after time.Duration
	text  string // how the docs say when, if the time is none of those that when knows
}

// goesOn is the outcome of a call that the restart changes nothing for.
var goesOn = outcome{text: "goes on"}

// untilClosed is the outcome of a call that the restart changes nothing for, until the application closes its stream.
var untilClosed = outcome{err: net.ErrClosed, after: workTime, text: "goes on until the application closes the stream"}

// outcomes are those of the calls of both sides. This side restarts. Calls of a side that is gone are not made.
type outcomes struct {
	call                 outcome // the call that begins the restart
	streams              outcome // Read and Write of this side's open streams
	open                 outcome // OpenStream of this side
	peerRead, peerWrite  outcome // of the peer's open streams; Read after all that was written before
	peerWaiting          outcome // Read of a stream of the peer that this side has not accepted
	peerOpen, peerAccept outcome
}

// restarts are the ways in which this side restarts.
var restarts = []struct {
	name string
	gone bool // this side makes no calls any more
	act  func(s *session.Session, conn *simnet.Conn) error
	want outcomes
}{
	{
		name: "Session.Shutdown; the streams are closed by their applications later",
		act:  func(s *session.Session, _ *simnet.Conn) error { return s.Shutdown(context.Background()) },
		want: outcomes{
			call:        outcome{after: workTime + 2*oneWay, text: "a round trip after the last stream has ended"},
			streams:     untilClosed,
			open:        outcome{err: session.ErrShutdown},
			peerRead:    untilClosed,
			peerWrite:   untilClosed,
			peerWaiting: outcome{err: stream.ErrRefused, after: session.DefaultCloseTimeout + oneWay, text: "after CloseTimeout"},
			peerOpen:    outcome{err: session.ErrPeerShutdown, after: oneWay},
			peerAccept:  outcome{err: io.EOF, after: workTime + oneWay, text: "when all streams have ended"},
		},
	},
	{
		name: "Close of a Session.Listener, and nothing else",
		act:  func(s *session.Session, _ *simnet.Conn) error { return s.Listener().Close() },
		want: outcomes{
			streams:     untilClosed,
			peerRead:    untilClosed,
			peerWrite:   untilClosed,
			peerWaiting: outcome{err: stream.ErrRefused, after: session.DefaultCloseTimeout + oneWay, text: "after CloseTimeout"},
			peerOpen:    outcome{err: session.ErrPeerShutdown, after: oneWay},
			open:        goesOn,
			peerAccept:  goesOn,
		},
	},
	{
		name: "Session.Close",
		act:  func(s *session.Session, _ *simnet.Conn) error { return s.Close() },
		want: outcomes{
			call:        outcome{after: 2 * oneWay},
			streams:     outcome{err: net.ErrClosed},
			open:        outcome{err: net.ErrClosed},
			peerRead:    outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWrite:   outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWaiting: outcome{err: stream.ErrRefused, after: oneWay},
			peerOpen:    outcome{err: io.EOF, after: oneWay},
			peerAccept:  outcome{err: io.EOF, after: oneWay},
		},
	},
	{
		name: "Session.CloseNow",
		act:  func(s *session.Session, _ *simnet.Conn) error { return s.CloseNow() },
		want: outcomes{
			streams:     outcome{err: net.ErrClosed},
			open:        outcome{err: net.ErrClosed},
			peerRead:    outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWrite:   outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWaiting: outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerOpen:    outcome{err: io.EOF, after: oneWay},
			peerAccept:  outcome{err: io.EOF, after: oneWay},
		},
	},
	{
		name: "the process is killed, and its system closes the transport",
		gone: true,
		act:  func(_ *session.Session, conn *simnet.Conn) error { return conn.Close() },
		want: outcomes{
			peerRead:    outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWrite:   outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerWaiting: outcome{err: io.ErrUnexpectedEOF, after: oneWay},
			peerOpen:    outcome{err: io.EOF, after: oneWay},
			peerAccept:  outcome{err: io.EOF, after: oneWay},
		},
	},
	{
		name: "its system resets the transport",
		gone: true,
		act:  func(_ *session.Session, conn *simnet.Conn) error { conn.Break(syscall.ECONNRESET); return nil },
		want: outcomes{
			peerRead:    reset,
			peerWrite:   reset,
			peerWaiting: reset,
			peerOpen:    reset,
			peerAccept:  reset,
		},
	},
	{
		name: "the host vanishes",
		gone: true,
		act:  func(_ *session.Session, conn *simnet.Conn) error { conn.Out().Stall(); conn.In().Stall(); return nil },
		want: outcomes{
			peerRead:    silent,
			peerWrite:   silent,
			peerWaiting: silent,
			peerOpen:    silent,
			peerAccept:  silent,
		},
	},
}

// silent is the outcome of a call when nothing has come for keep-alive's Timeout. The last byte came before the restart.
var silent = outcome{err: session.ErrKeepAlive, after: 30*time.Second - lastHeard, text: "30 s after the last byte (the Timeout of keep-alive)"}

// reset is the outcome of a call when the transport is reset, which takes no time on a simulated link.
var reset = outcome{err: syscall.ECONNRESET, text: "when the reset arrives"}

// lastHeard is how long before the restart both sides have heard of each other last.
const lastHeard = time.Second

// Whichever way one side restarts, client or server, each call of both sides returns what the table says, when the table
// says it. What was written before arrives.
func TestRestartOfEitherSideIsAsTheTableSays(t *testing.T) {
	for _, way := range restarts {
		for _, who := range []string{"server", "client"} {
			t.Run(way.name+"/"+who, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					ca, cb := testutil.SimPair(t, simnet.Link{Delay: oneWay})
					cfg := &session.Config{Version: version}
					w := &watcher{mine: server(t, cb, cfg), peer: client(t, ca, cfg), stop: make(chan struct{})}
					conn := cb
					if who == "client" {
						w.mine, w.peer, conn = w.peer, w.mine, ca
					}
					got := w.run(t, way.gone, func() error { return way.act(w.mine, conn) })
					for _, c := range cells {
						if way.gone && c.mine {
							continue
						}
						have, want := *c.of(&got), *c.of(&way.want)
						if want == goesOn {
							have.after = 0
						}
						if have.after != want.after || !errors.Is(have.err, want.err) {
							t.Errorf("%s: %v after %v, want %v after %v", c.name, have.err, have.after, want.err, want.after)
						}
					}
				})
			})
		}
	}
}

// cells are the columns of the table.
var cells = []struct {
	name string
	mine bool // a call of this side
	of   func(o *outcomes) *outcome
}{
	{"the call", true, func(o *outcomes) *outcome { return &o.call }},
	{"Read and Write here", true, func(o *outcomes) *outcome { return &o.streams }},
	{"OpenStream here", true, func(o *outcomes) *outcome { return &o.open }},
	{"the peer's Read", false, func(o *outcomes) *outcome { return &o.peerRead }},
	{"the peer's Write", false, func(o *outcomes) *outcome { return &o.peerWrite }},
	{"the peer's Read of a stream that waits", false, func(o *outcomes) *outcome { return &o.peerWaiting }},
	{"the peer's OpenStream", false, func(o *outcomes) *outcome { return &o.peerOpen }},
	{"the peer's Accept", false, func(o *outcomes) *outcome { return &o.peerAccept }},
}

// A watcher makes the calls of a restart and records their outcomes.
type watcher struct {
	mine, peer *session.Session
	stop       chan struct{} // closed when polled calls are to end
	calls      sync.WaitGroup

	mu    sync.Mutex
	begin time.Time
}

// run lets mine restart by act, and returns what the calls of both sides returned.
func (w *watcher) run(t *testing.T, gone bool, act func() error) (got outcomes) {
	time.Sleep(time.Second) // both know each other, and the first NOPs have passed
	opened, accepted := openPair(t, w.mine, w.peer)
	back, taken := openPair(t, w.peer, w.mine)
	waiting := open(t, w.peer)
	streams := []*stream.Stream{opened, accepted, back, taken, waiting}
	for _, st := range streams {
		if _, err := st.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(oneWay + lastHeard)
	synctest.Wait()

	w.begin = time.Now()
	readAfter := func(st *stream.Stream) func() error {
		return func() error {
			data, err := io.ReadAll(st)
			if !bytes.HasPrefix(data, []byte("before")) {
				t.Errorf("stream %d: %q arrived", st.ID(), data)
			}
			return err
		}
	}
	accept := func(s *session.Session) func() error {
		return func() error { return second(s.AcceptStream(context.Background())) }
	}
	openOne := func(s *session.Session) func() error {
		return func() error {
			st, err := s.OpenStream(context.Background())
			if err == nil {
				_ = st.Close()
			}
			return err
		}
	}
	w.blocked(&got.peerRead, readAfter(accepted))
	w.blocked(&got.streams, readAfter(opened))
	w.blocked(&got.peerAccept, accept(w.peer))
	w.blocked(&got.peerWaiting, func() error { return second(waiting.Read(make([]byte, 1))) })
	synctest.Wait()
	w.blocked(&got.call, act)
	synctest.Wait()
	w.polled(&got.peerWrite, func() error { return second(back.Write([]byte("x"))) })
	w.polled(&got.peerOpen, openOne(w.peer))
	if _, err := taken.Write([]byte("x")); err != nil && !gone {
		testutil.WantErr(t, "Write here", err, net.ErrClosed)
	}
	w.polled(&got.open, func() error {
		err := openOne(w.mine)()
		if err == nil { // this side goes on: one stream says it
			return errGoesOn
		}
		return err
	})

	time.Sleep(workTime)
	for _, st := range streams {
		_ = st.Close()
	}
	time.Sleep(time.Minute)
	close(w.stop)
	w.endPending(&got)
	return got
}

// errGoesOn is the error of a call that has succeeded and is not repeated.
var errGoesOn = errors.New("goes on")

// endPending ends the calls that still wait, whose outcomes are that they go on.
func (w *watcher) endPending(got *outcomes) {
	w.mu.Lock()
	known := *got
	w.mu.Unlock()
	_ = w.mine.CloseNow()
	_ = w.peer.CloseNow()
	w.calls.Wait()
	*got = known
	if got.open.err == errGoesOn {
		got.open = outcome{}
	}
}

// blocked makes a call that waits until something ends it.
func (w *watcher) blocked(to *outcome, call func() error) {
	w.calls.Go(func() { w.note(to, call(), 0) })
}

// tick is the time between two calls of polled.
const tick = time.Millisecond

// polled makes a call again and again until it fails, half a tick after each tick, so that no event coincides with it.
// After a while it does so every ten ticks.
func (w *watcher) polled(to *outcome, call func() error) {
	w.calls.Go(func() {
		time.Sleep(tick / 2)
		for n := 0; ; n++ {
			begin := time.Now()
			if err := call(); err != nil {
				late := tick / 2
				if time.Since(begin) > 0 {
					late = 0 // the call waited
				}
				w.note(to, err, late)
				return
			}
			pause := tick
			if n >= 100 {
				pause = 10 * tick
			}
			select {
			case <-w.stop:
				return
			case <-time.After(pause):
			}
		}
	})
}

func (w *watcher) note(to *outcome, err error, late time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*to = outcome{err: err, after: time.Since(w.begin) - late}
}

// The table of docs/endings.md about restarts is the one that TestRestartOfEitherSideIsAsTheTableSays proves.
func TestRestartTableIsInTheDocs(t *testing.T) {
	var want strings.Builder
	want.WriteString("| this side |")
	for _, c := range cells {
		fmt.Fprintf(&want, " %s |", c.name)
	}
	want.WriteString("\n|" + strings.Repeat("---|", 1+len(cells)) + "\n")
	for _, way := range restarts {
		fmt.Fprintf(&want, "| %s |", way.name)
		for _, c := range cells {
			text := "–"
			if !way.gone || !c.mine {
				text = c.of(&way.want).String()
			}
			fmt.Fprintf(&want, " %s |", text)
		}
		want.WriteString("\n")
	}
	wantInEndings(t, want.String())
}

// wantInEndings checks that docs/endings.md has the table.
func wantInEndings(t *testing.T, table string) {
	t.Helper()
	docs, err := os.ReadFile("../docs/endings.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docs), table) {
		t.Errorf("docs/endings.md has no such table:\n%s", table)
	}
}

// String is how the docs say it.
func (o outcome) String() string {
	when := map[time.Duration]string{0: "at once", oneWay: "half a round trip later", 2 * oneWay: "a round trip later"}
	at := cmp.Or(o.text, when[o.after])
	if o == goesOn || o == untilClosed || o == stays {
		return at
	}
	for err, name := range map[error]string{
		net.ErrClosed: "net.ErrClosed", io.EOF: "io.EOF", io.ErrUnexpectedEOF: "io.ErrUnexpectedEOF",
		syscall.ECONNRESET: "the transport's error", session.ErrShutdown: "`session.ErrShutdown`",
		session.ErrPeerShutdown: "`session.ErrPeerShutdown`", session.ErrKeepAlive: "`session.ErrKeepAlive`",
		stream.ErrRefused: "`stream.ErrRefused`", stream.ErrPeerClosed: "`stream.ErrPeerClosed`", errDone: "closed",
	} {
		if o.err == err {
			return name + ", " + at
		}
	}
	return "nil, " + at
}
