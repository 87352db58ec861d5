//go:build linux && amd64 && !race && !portable

package session_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A thousand sessions with common budgets take no more memory than docs/settings.md says, "How much memory", when their peers
// have opened as many streams as they may and more, have sent more than the budget holds, and read nothing. The test runs in
// a process of its own.
func TestManySessionsStayWithinTheFormula(t *testing.T) {
	if alone(t) {
		return
	}
	const (
		count      = 1000
		streams    = 20
		receive    = 32 << 20
		send       = 16 << 20
		perSession = 7_000 + 192<<10
		most       = count*(perSession+streams<<10) + 2*receive + send
	)
	cfg := &session.Config{MaxStreams: streams, Budget: flow.NewBudget(receive), SendBudget: flow.NewBudget(send)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns, peers [count]net.Conn
	for i := range conns {
		if peers[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if err := peers[i].(*net.TCPConn).SetWriteBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		if conns[i], err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	frames := worstFrames(streams)
	chunk := make([]byte, 4000) // short enough to be copied at once
	before := inUse()
	var all [count]*session.Session
	for i := range all {
		if all[i], err = session.Server(conns[i], cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := peers[i].Write(frames); err != nil {
			t.Fatal(err)
		}
		st, err := all[i].AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(chunk[:1]); err != nil { // now the window is 0
			t.Fatal(err)
		}
		for range 8 {
			if cfg.SendBudget.Used() > send-4*len(chunk) {
				break // a Write that is not copied waits
			}
			if _, err := st.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	for cfg.Budget.Used() < receive*99/100 {
		time.Sleep(time.Millisecond)
	}
	used := inUse() - before
	t.Logf("%d bytes, of at most %d; unread %d of %d, unsent %d of %d", used, most, cfg.Budget.Used(), receive, cfg.SendBudget.Used(), send)
	if used > most {
		t.Errorf("%d sessions take %d bytes, want at most %d", count, used, most)
	}
	if cfg.SendBudget.Used() < send*9/10 {
		t.Error("the send budget is not used")
	}
	for i, s := range all {
		_ = s.CloseNow()
		_ = peers[i].Close()
	}
}

// worstFrames are what each peer sends: twice as many streams as it may open, each with a byte; before that, for the first
// one, a window of 0; and then data for the streams, more than a thousandth of the budget, with a frame as long as can be at the end.
func worstFrames(streams int) (frames []byte) {
	add := func(f testutil.Frame) { frames = f.Append(frames) }
	id := func(i int) uint32 { return uint32(2*i + 1) }
	for i := range 2 * streams {
		add(testutil.SYN(wire.V2, id(i)))
		if i == 0 {
			add(testutil.UPD(wire.V2, id(0), 0, 0))
		}
		add(testutil.PSH(wire.V2, id(i), []byte{1}))
	}
	for i := range streams {
		add(testutil.PSH(wire.V2, id(i), make([]byte, 2100))) // 4 KiB of memory
	}
	add(testutil.PSH(wire.V2, id(1), make([]byte, wire.MaxPayload)))
	return frames
}

// inUse returns the bytes of the heap and of stacks in use, after garbage collection.
func inUse() int {
	heap := heapSpans()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap + int(m.StackInuse)
}
