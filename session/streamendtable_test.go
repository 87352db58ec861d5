package session_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// One side ends a stream. The table says what each call of both sides returns, and when. It is the first table of
// docs/endings.md, too: TestStreamEndTableIsInTheDocs compares them.

// errDone is the error of the call that waits for Done.
var errDone = errors.New("closed")

// streamOutcomes are those of the calls of both sides.
type streamOutcomes struct {
	read, write, done             outcome // of the side that makes the call
	peerRead, peerWrite, peerDone outcome
}

// streamCells are the columns of the table.
var streamCells = []struct {
	name string
	of   func(o *streamOutcomes) *outcome
}{
	{"this side's Read", func(o *streamOutcomes) *outcome { return &o.read }},
	{"its Write", func(o *streamOutcomes) *outcome { return &o.write }},
	{"its Done", func(o *streamOutcomes) *outcome { return &o.done }},
	{"the peer's Read, after the data", func(o *streamOutcomes) *outcome { return &o.peerRead }},
	{"the peer's Write", func(o *streamOutcomes) *outcome { return &o.peerWrite }},
	{"the peer's Done", func(o *streamOutcomes) *outcome { return &o.peerDone }},
}

// stays is the outcome of a Done that stays open.
var stays = outcome{text: "stays open"}

// lazyFIN is how much later a FIN is sent if this side has not written since it last read: nobody waits for it then.
const lazyFIN = time.Millisecond

var (
	closedNow  = outcome{err: net.ErrClosed}
	doneNow    = outcome{err: errDone}
	doneLater  = outcome{err: errDone, after: oneWay}
	eofLater   = outcome{err: io.EOF, after: oneWay}
	peerClosed = outcome{err: stream.ErrPeerClosed, after: oneWay}
)

// streamEnds are the calls that end a stream.
var streamEnds = []struct {
	name string
	cfg  session.Config
	act  func(st *stream.Stream) error
	want streamOutcomes
}{
	{
		name: "Close", act: (*stream.Stream).Close,
		want: streamOutcomes{read: closedNow, write: closedNow, done: doneNow, peerRead: eofLater, peerWrite: peerClosed, peerDone: doneLater},
	},
	{
		name: "CloseWrite", act: (*stream.Stream).CloseWrite,
		want: streamOutcomes{read: goesOn, write: closedNow, done: stays, peerRead: eofLater, peerWrite: goesOn, peerDone: stays},
	},
	{
		name: "CloseRead", act: (*stream.Stream).CloseRead,
		want: streamOutcomes{read: closedNow, write: goesOn, done: stays, peerRead: goesOn, peerWrite: goesOn, peerDone: stays},
	},
	{
		name: "CloseRead and CloseWrite",
		act:  func(st *stream.Stream) error { return errors.Join(st.CloseRead(), st.CloseWrite()) },
		want: streamOutcomes{read: closedNow, write: closedNow, done: stays, peerRead: eofLater, peerWrite: goesOn, peerDone: stays},
	},
	{
		name: "Close, with NoHalfClose at both sides", act: (*stream.Stream).Close, cfg: session.Config{NoHalfClose: true},
		want: streamOutcomes{read: closedNow, write: closedNow, done: doneNow, peerRead: eofLater, peerWrite: peerClosed, peerDone: doneLater},
	},
}

// Whichever call ends a stream, at the side that has opened it or at the other, each call of both sides returns what the
// table says, when the table says it. What was written before arrives.
func TestEndOfAStreamIsAsTheTableSays(t *testing.T) {
	for _, way := range streamEnds {
		for _, who := range []string{"opener, wrote last", "opener, read last", "acceptor, wrote last", "acceptor, read last"} {
			t.Run(way.name+"/"+who, func(t *testing.T) {
				readLast := strings.HasSuffix(who, "read last")
				eachVersion(t, func(t *testing.T, version int) {
					ca, cb := testutil.SimPair(t, simnet.Link{Delay: oneWay})
					cfg := way.cfg
					cfg.Version = version
					w := &watcher{mine: client(t, ca, &cfg), peer: server(t, cb, &cfg), stop: make(chan struct{})}
					mine, peers := openPair(t, w.mine, w.peer)
					if strings.HasPrefix(who, "acceptor") {
						mine, peers = peers, mine
					}
					got := w.endStream(t, mine, peers, readLast, way.act)
					for _, c := range streamCells {
						have, want := *c.of(&got), *c.of(&way.want)
						if want.after == oneWay && readLast {
							want.after += lazyFIN
						}
						if have.after != want.after || have.err != want.err && !errors.Is(have.err, want.err) {
							t.Errorf("%s: %v after %v, want %v after %v", c.name, have.err, have.after, want.err, want.after)
						}
					}
				})
			})
		}
	}
}

// endStream ends mine by act, and returns what the calls of both sides returned within a minute.
func (w *watcher) endStream(
	t *testing.T, mine, peers *stream.Stream, readLast bool, act func(st *stream.Stream) error,
) (got streamOutcomes) {
	for _, st := range []*stream.Stream{mine, peers} {
		if _, err := st.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	read := func(st *stream.Stream) func() error {
		return func() error {
			data, err := io.ReadAll(struct{ io.Reader }{st})
			if err == nil {
				err = io.EOF
			}
			if !strings.HasPrefix(string(data), "before") {
				t.Errorf("read %q", data)
			}
			return err
		}
	}
	write := func(st *stream.Stream) func() error {
		return func() error { return second(st.Write([]byte("x"))) }
	}
	done := func(st *stream.Stream) func() error {
		return func() error { <-st.Done(); return errDone }
	}
	w.blocked(&got.read, read(mine))
	w.blocked(&got.peerRead, read(peers))
	w.blocked(&got.done, done(mine))
	w.blocked(&got.peerDone, done(peers))
	synctest.Wait()
	if !readLast {
		if _, err := mine.Write([]byte("more")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
	}
	w.begin = time.Now()
	if err := act(mine); err != nil {
		t.Error(err)
	}
	testutil.WantTime(t, "the call returned", time.Since(w.begin), 0)
	w.polled(&got.write, write(mine))
	w.polled(&got.peerWrite, write(peers))
	time.Sleep(time.Minute)
	close(w.stop)
	synctest.Wait()
	known := func() streamOutcomes {
		w.mu.Lock()
		defer w.mu.Unlock()
		return got
	}()
	_, _ = w.mine.CloseNow(), w.peer.CloseNow()
	w.calls.Wait()
	return known
}

// The first table of docs/endings.md is the one that TestEndOfAStreamIsAsTheTableSays proves.
func TestStreamEndTableIsInTheDocs(t *testing.T) {
	var want strings.Builder
	want.WriteString("| call |")
	for _, c := range streamCells {
		fmt.Fprintf(&want, " %s |", c.name)
	}
	want.WriteString("\n|" + strings.Repeat("---|", 1+len(streamCells)) + "\n")
	for _, way := range streamEnds {
		fmt.Fprintf(&want, "| %s |", way.name)
		for _, c := range streamCells {
			fmt.Fprintf(&want, " %s |", *c.of(&way.want))
		}
		want.WriteString("\n")
	}
	wantInEndings(t, want.String())
}
