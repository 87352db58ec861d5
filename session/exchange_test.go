package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

// Cuts and stalls at every byte of the exchanges in which sessions and streams end.

// An exchange is what two sessions do until both have ended or nothing is left to do. Its calls are made in the
// background, so that each can be checked for its end.
type exchange struct {
	name   string
	client session.Config
	server session.Config
	bare   bool // the transport has Read, Write and Close alone
	// run begins all calls. The function that it returns checks the results. whole says that nothing disturbed them.
	run func(x *exchanging) (check func(t *testing.T, whole bool))
}

// An exchanging is a run of an exchange.
type exchanging struct {
	c, s  *session.Session
	fault fault
	bare  bool
	calls sync.WaitGroup

	mu      sync.Mutex
	pending map[string]bool
	notes   map[string]outcome
	data    map[string][]byte
	ids     map[string]uint32 // of the streams of ask
	begun   time.Time
}

// do makes a call in the background and notes its error and its time.
func (x *exchanging) do(name string, call func() error) {
	x.mu.Lock()
	x.pending[name] = true
	x.mu.Unlock()
	x.calls.Go(func() {
		err := call()
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.pending, name)
		x.notes[name] = outcome{err: err, after: time.Since(x.begun)}
	})
}

// readAll reads a stream to its end and keeps the data.
func (x *exchanging) readAll(name string, r io.Reader) error {
	data, err := io.ReadAll(struct{ io.Reader }{r})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.data[name] = data
	return err
}

// A fault is what happens to the direction of a transport after some of its bytes.
type fault string

const (
	faultNone   fault = "none"
	faultEnd    fault = "end"   // the transport ends, in both directions
	faultReset  fault = "reset" // it fails, in both directions
	faultStall  fault = "stall" // the direction delivers nothing any more
	faultPause  fault = "pause" // it delivers nothing for 3 s
	pausedFor         = 3 * time.Second
	allCallsEnd       = 5 * time.Minute // far beyond every time-out of an exchange
)

// A pausing is a transport whose Read waits once some bytes have been read.
type pausing struct {
	net.Conn
	fault   fault
	mu      sync.Mutex
	left    int // bytes until the fault
	resumed chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func (p *pausing) Read(b []byte) (int, error) {
	p.mu.Lock()
	left := p.left
	p.mu.Unlock()
	if left == 0 {
		select {
		case <-p.resumed:
		case <-p.closed:
			return 0, net.ErrClosed
		}
		return p.Conn.Read(b)
	}
	n, err := p.Conn.Read(b[:min(len(b), left)])
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left -= n; p.left == 0 && n > 0 && p.fault == faultPause {
		time.AfterFunc(pausedFor, func() { close(p.resumed) })
	}
	return n, err
}

func (p *pausing) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

// runExchange runs an exchange with a fault after this many bytes to the client (at 0) or to the server (at 1), and
// returns how many bytes came to each of them.
func runExchange(t *testing.T, e exchange, version int, f fault, at int, after int) (came [2]int64) {
	bubble(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{Delay: oneWay})
		conns := [2]net.Conn{ca, cb}
		victim := []*simnet.Conn{ca, cb}[at]
		switch f {
		case faultEnd, faultReset:
			cut := simnet.Cut{After: int64(after)}
			if f == faultReset {
				cut.Err = syscall.ECONNRESET
			}
			victim.In().Cut(cut)
		case faultStall, faultPause:
			conns[at] = &pausing{Conn: conns[at], fault: f, left: max(after, 1), resumed: make(chan struct{}), closed: make(chan struct{})}
		case faultNone:
		}
		cc, sc := e.client, e.server
		cc.Version, sc.Version = version, version
		x := &exchanging{
			c: client(t, e.transport(conns[0]), &cc), s: server(t, e.transport(conns[1]), &sc), fault: f, bare: e.bare, begun: time.Now(),
			pending: map[string]bool{}, notes: map[string]outcome{}, data: map[string][]byte{}, ids: map[string]uint32{},
		}
		check := e.run(x)
		time.Sleep(allCallsEnd)
		synctest.Wait()
		x.mu.Lock()
		for name := range x.pending {
			t.Errorf("%s has not returned", name)
		}
		x.mu.Unlock()
		came = [2]int64{ca.In().Counters().Delivered, cb.In().Counters().Delivered}
		if t.Failed() { // end all calls
			_, _ = x.c.CloseNow(), x.s.CloseNow()
		}
		x.calls.Wait()
		if check(t, f == faultNone || f == faultPause); t.Failed() {
			t.Errorf("with %s after byte %d to the %s", f, after, []string{"client", "server"}[at])
		}
		if f == faultEnd || f == faultReset || f == faultStall {
			if came[at] >= int64(after) {
				// The fault came: both sessions learn of it.
				for i, s := range []*session.Session{x.c, x.s} {
					if s.Err() == nil {
						t.Errorf("session %d goes on", i)
					}
				}
			}
		}
	})
	return came
}

// transport returns conn, with its other methods or without.
func (e *exchange) transport(conn net.Conn) io.ReadWriteCloser {
	if e.bare {
		return struct{ io.ReadWriteCloser }{conn}
	}
	return conn
}

// Each exchange ends at both sides, whatever byte it is cut after, and whatever byte the transport stalls after. Nothing is
// taken for complete that is not. After a pause that no time-out notices, an exchange ends as without it.
func TestExchangeWithAFaultAfterAnyByteEnds(t *testing.T) {
	step := 1
	if testutil.Race || testing.Short() {
		step = 7 // a header has 8 bytes: each of them has its turn
	}
	for _, e := range exchanges {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", e.name, version), func(t *testing.T) {
				came := runExchange(t, e, version, faultNone, 0, 0)
				for at, n := range came {
					for _, f := range []fault{faultEnd, faultReset, faultStall, faultPause} {
						for after := 0; after < int(n); after += step {
							runExchange(t, e, version, f, at, after)
						}
					}
				}
			})
		}
	}
}

// exchanges are the ways in which streams and sessions end.
var exchanges = []exchange{
	{name: "drain", run: drainExchange},
	{name: "refusal", server: session.Config{MaxStreams: 1}, run: refusalExchange},
	{name: "ping", run: pingExchange},
	{name: "CloseNow", run: closeNowExchange},
	{name: "Close", run: closeExchange},
	{name: "Close of a transport without CloseWrite", bare: true, run: closeExchange},
	{name: "NoHalfClose", client: session.Config{NoHalfClose: true}, server: session.Config{NoHalfClose: true}, run: noHalfCloseExchange},
}

// ask opens a stream, sends a question, and reads the answer to its end.
func (x *exchanging) ask(name string) error {
	st, err := x.c.OpenStream(context.Background())
	if err != nil {
		return err
	}
	defer st.Close()
	x.mu.Lock()
	x.ids[name] = st.ID()
	x.mu.Unlock()
	if _, err := st.Write([]byte("question")); err != nil {
		return err
	}
	return x.readAll(name, st)
}

// answerAll accepts streams, reads a question from each, answers it, and closes the stream.
func (x *exchanging) answerAll() {
	x.do("AcceptStream", func() error {
		for {
			st, err := x.s.AcceptStream(context.Background())
			if err != nil {
				return err
			}
			x.do(fmt.Sprint("answering ", st.ID()), func() error {
				defer st.Close()
				if _, err := io.ReadFull(st, make([]byte, len("question"))); err != nil {
					return err
				}
				time.Sleep(time.Second)
				_, err := st.Write([]byte("answer"))
				return err
			})
		}
	})
}

// wantAnswers checks that each question has its answer, or an error that is not io.EOF.
func (x *exchanging) wantAnswers(t *testing.T, whole bool, names ...string) {
	t.Helper()
	for _, name := range names {
		switch n := x.notes[name]; {
		case n.err == nil && string(x.data[name]) != "answer":
			t.Errorf("%s: io.EOF after %q", name, x.data[name])
		case n.err != nil && whole:
			t.Errorf("%s: %v", name, n.err)
		case !bytes.HasPrefix([]byte("answer"), x.data[name]):
			t.Errorf("%s: read %q", name, x.data[name])
		}
	}
}

// drainExchange: the server shuts down while two questions are under way. They are answered, and the client may open no
// stream any more.
func drainExchange(x *exchanging) func(*testing.T, bool) {
	x.answerAll()
	x.do("a", func() error { return x.ask("a") })
	x.do("b", func() error { return x.ask("b") })
	x.do("Shutdown", func() error {
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return x.s.Shutdown(ctx)
	})
	x.do("OpenStream", func() error {
		time.Sleep(500 * time.Millisecond)
		select {
		case <-x.c.Draining():
		case <-x.c.Done():
		}
		return second(x.c.OpenStream(context.Background()))
	})
	return func(t *testing.T, whole bool) {
		x.wantAnswers(t, whole, "a", "b")
		switch err := x.notes["OpenStream"].err; {
		case err == nil:
			t.Error("OpenStream after the drain: no error")
		case whole:
			testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
		}
		if err := x.notes["Shutdown"].err; whole {
			testutil.WantErr(t, "Shutdown", err, nil)
		}
		if d := x.notes["Shutdown"].after; d > time.Minute+100*time.Millisecond {
			t.Errorf("Shutdown returned after %v", d)
		}
	}
}

// secondFIN is how long Read waits for the second FIN of a refusal.
const secondFIN = 5 * time.Second

// refusalExchange: the server takes one stream at a time. The second is refused and says so, unless the session ends.
func refusalExchange(x *exchanging) func(*testing.T, bool) {
	x.answerAll()
	x.do("a", func() error { return x.ask("a") })
	x.do("b", func() error {
		time.Sleep(500 * time.Millisecond)
		return x.ask("b")
	})
	x.do("the end", func() error {
		time.Sleep(2 * time.Minute)
		return x.c.Close()
	})
	return func(t *testing.T, whole bool) {
		x.wantAnswers(t, whole, "a")
		refused := errors.Is(x.notes["b"].err, stream.ErrRefused)
		switch {
		case x.notes["b"].err == nil && len(x.data["b"]) == 0 && x.fault == faultStall && x.notes["b"].after > secondFIN:
			// The stall was between the two FINs: see TestReadWaitsForASecondFINFor5s.
		case x.notes["b"].err == nil && len(x.data["b"]) == 0:
			t.Error("the refused stream looks like an empty answer")
		case refused && x.s.Stats().StreamsRefused == 0:
			t.Error("nobody has refused the stream")
		case x.s.Stats().StreamsAccepted == 2:
			// A pause may let the first stream end before the second arrives.
			x.wantAnswers(t, whole, "b")
		case whole && !refused:
			t.Errorf("b: %v", x.notes["b"].err)
		}
	}
}

// pingExchange: both sides measure the round trip at the same time, twice.
func pingExchange(x *exchanging) func(*testing.T, bool) {
	rtts := map[string]time.Duration{}
	for name, s := range map[string]*session.Session{"client": x.c, "server": x.s} {
		for n := range 2 {
			name := fmt.Sprint(name, " ", n)
			x.do(name, func() error {
				time.Sleep(time.Duration(n) * 100 * time.Millisecond)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				rtt, err := s.Ping(ctx)
				x.mu.Lock()
				defer x.mu.Unlock()
				rtts[name] = rtt
				return err
			})
		}
	}
	x.do("the end", func() error {
		time.Sleep(2 * time.Minute)
		return x.c.Close()
	})
	return func(t *testing.T, whole bool) {
		for name, rtt := range rtts {
			switch n := x.notes[name]; {
			case n.err == nil && rtt < 2*oneWay, n.err != nil && whole, n.after > time.Minute+100*time.Millisecond:
				t.Errorf("%s: %v, %v after %v", name, rtt, n.err, n.after)
			}
		}
	}
}

// closeNowExchange: the server ends at once while it answers. The client gets a part of the answer and no io.EOF.
func closeNowExchange(x *exchanging) func(*testing.T, bool) {
	x.do("serving", func() error {
		st, err := x.s.AcceptStream(context.Background())
		if err != nil {
			return err
		}
		for {
			if _, err := st.Write([]byte("answer")); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	x.do("a", func() error { return x.ask("a") })
	var took time.Duration
	x.do("CloseNow", func() error {
		time.Sleep(100 * time.Millisecond)
		elapsed := testutil.Clock()
		err := x.s.CloseNow()
		took = elapsed()
		return err
	})
	return func(t *testing.T, whole bool) {
		testutil.WantErr(t, "CloseNow", x.notes["CloseNow"].err, nil)
		testutil.WantTime(t, "CloseNow returned", took, 0)
		if err := x.notes["a"].err; err == nil || whole && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the client read %q, %v", x.data["a"], err)
		}
		if err := x.notes["serving"].err; err == nil || whole && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server's calls: %v", err)
		}
	}
}

// closeExchange: the server answers, and closes its session. If Close returns nil, the client has got the answer, unless
// the transport has told the server that the client has closed it.
func closeExchange(x *exchanging) func(*testing.T, bool) {
	x.answerAll()
	x.do("a", func() error { return x.ask("a") })
	x.do("b", func() error { return x.ask("b") })
	x.do("Close", func() error {
		time.Sleep(1100 * time.Millisecond)
		if err := x.s.Err(); err != nil {
			return err // the fault came before
		}
		return x.s.Close()
	})
	return func(t *testing.T, whole bool) {
		x.wantAnswers(t, false, "a", "b")
		n := x.notes["Close"]
		if d := n.after - 1100*time.Millisecond; d > session.DefaultCloseTimeout+100*time.Millisecond {
			t.Errorf("Close took %v", d)
		}
		if whole && !(x.fault == faultPause && errors.Is(n.err, session.ErrNotFlushed)) {
			testutil.WantErr(t, "Close", n.err, nil) // in a pause, the server cannot know that the peer will answer
		}
		// What the server had written has arrived: the answers, unless the questions had not. Over a transport with
		// CloseWrite, nil does not say that if the peer does not close, or ends before.
		proves := x.bare || x.fault == faultReset
		for _, name := range []string{"a", "b"} {
			answered := x.notes[fmt.Sprint("answering ", x.ids[name])]
			if n.err == nil && proves && answered.err == nil && answered.after > 0 {
				x.wantAnswers(t, true, name)
			}
		}
	}
}

// noHalfCloseExchange: the client closes its streams while the server writes without end, and the server's Write ends.
func noHalfCloseExchange(x *exchanging) func(*testing.T, bool) {
	x.do("serving", func() error {
		for {
			st, err := x.s.AcceptStream(context.Background())
			if err != nil {
				return err
			}
			x.do(fmt.Sprint("writing ", st.ID()), func() error {
				defer st.Close()
				for {
					if _, err := st.Write([]byte("answer")); err != nil {
						return err
					}
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
	})
	for n := range 2 {
		name := fmt.Sprint("reading ", n)
		x.do(name, func() error {
			st, err := x.c.OpenStream(context.Background())
			if err != nil {
				return err
			}
			if err := st.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
				return fmt.Errorf("CloseWrite: %w", err)
			}
			_, err = io.ReadFull(st, make([]byte, 12))
			_ = st.Close()
			return err
		})
	}
	x.do("the end", func() error {
		time.Sleep(2 * time.Minute)
		return x.c.Close()
	})
	return func(t *testing.T, whole bool) {
		for name, n := range x.notes {
			switch {
			case !whole:
			case name[0] == 'r':
				testutil.WantErr(t, name, n.err, nil)
			case name[0] == 'w':
				testutil.WantErr(t, name, n.err, stream.ErrPeerClosed)
			}
		}
	}
}
