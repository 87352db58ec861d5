package fuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A session that reads hostile bytes must end, and keep its limits until then. If the application reads after the
// end, a model says exactly what it must read, and why the session ends.

// FuzzServer feeds a server with arbitrary bytes.
func FuzzServer(f *testing.F) { fuzzHostile(f, false) }

// FuzzClient does the same to a client.
func FuzzClient(f *testing.F) { fuzzHostile(f, true) }

func fuzzHostile(f *testing.F, client bool) {
	for n, script := range hostileSeeds {
		for version := wire.V1; version <= wire.V2; version++ {
			data := shorthand(script, client, version)
			f.Add(uint8(version), uint8(n*37), data)
			f.Add(uint8(version), uint8(0xE0), data) // the model, read at once
			f.Add(uint8(version), uint8(n*37)^0x1F, data[:len(data)-len(data)/8])
		}
	}
	for n, script := range hostileSeeds[:5] { // of an unknown version, or the default
		f.Add(uint8(128+n), uint8(0xE0), shorthand(script, client, wire.Version(1+n%2)))
	}
	f.Add(uint8(0), uint8(1), []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"))
	f.Fuzz(func(t *testing.T, version, plan uint8, data []byte) {
		bubble(t, func(t *testing.T) {
			feed(t, client, int(version%3), version >= 128, newPlan(plan), expand(data[:min(len(data), maxInput)]))
		})
	})
}

// maxHostile is the most bytes that a session gets.
const maxHostile = 400_000

// expand adds the data of PSH frames to a shorthand that has only their headers. A short input can thus carry much
// data.
func expand(short []byte) (long []byte) {
	for len(short) >= wire.HeaderSize && len(long) < maxHostile {
		h, _ := wire.ParseHeader(short)
		long = append(long, short[:wire.HeaderSize]...)
		short = short[wire.HeaderSize:]
		if h.Command == wire.PSH {
			long = append(long, pattern(0).bytes(len(long), int(h.Length))...)
			continue
		}
		n := min(len(short), int(h.Length))
		long = append(long, short[:n]...)
		short = short[n:]
	}
	return append(long, short...)
}

// shorthand makes the shorthand of frames written as text: the command, the stream, and the length of a PSH or the
// contents of an UPD. The peer's streams are a and b, o is one of the session's own, and z is none. A number is a
// wrong command and version.
func shorthand(script string, client bool, version wire.Version) (b []byte) {
	ids := map[string]uint32{"a": 1, "b": 3, "o": 2, "z": 0}
	if client {
		ids = map[string]uint32{"a": 2, "b": 4, "o": 1, "z": 0}
	}
	commands := map[string]wire.Command{"SYN": wire.SYN, "FIN": wire.FIN, "PSH": wire.PSH, "NOP": wire.NOP, "UPD": wire.UPD}
	for _, line := range strings.Split(script, "; ") {
		var name, id string
		var x, y uint32
		if n, err := fmt.Sscan(line, &name, &id, &x, &y); n < 2 {
			panic(fmt.Sprintf("%q: %v", line, err))
		}
		command, ok := commands[strings.TrimRight(name, "!")]
		if !ok {
			command = 9
		}
		h := wire.Header{Version: version, Command: command, StreamID: ids[id], Length: uint16(x)}
		if strings.HasSuffix(name, "!") {
			h.Version = 3 - version
		}
		switch {
		case command == wire.UPD:
			h.Length = wire.UpdateSize
			b = wire.WindowUpdate{Consumed: x, Window: y}.Append(h.Append(b))
		case command != wire.PSH:
			b = append(h.Append(b), make([]byte, x)...)
		default:
			b = h.Append(b)
		}
	}
	return b
}

var hostileSeeds = []string{
	"NOP z",
	"SYN a; PSH a 4; FIN a",
	"SYN a; PSH a 4; FIN a; PSH a 4; FIN a; FIN a",
	"SYN a; SYN b; PSH b 9000; PSH a 0; PSH a 65535; FIN b; FIN a",
	"PSH a 9; FIN b; UPD a 0 1000",
	"SYN a; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 5; FIN a",       // more than the window
	"SYN a; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 5", // as far as is taken,
	"SYN a; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 65535; PSH a 6", // and beyond
	"SYN a; SYN b; PSH a 65535; PSH b 65535; PSH a 65535; FIN a; FIN b",               // more than the budget
	"SYN a; UPD a 0 100; UPD a 0 0; UPD a 0 4294967295; FIN a; UPD a 0 65536",
	"SYN a; UPD a 1 262144", // CONSUMED of what was never sent
	"SYN a; UPD o 1 262144",
	"SYN a; NOP! z",
	"SYN a; PSH! a 4",
	"SYN a; other a",
	"SYN a; SYN b 1",
	"SYN a; FIN a 9",
	"SYN a; NOP z 8",
	"SYN a; NOP a",
	"SYN z",
	"SYN a; PSH z 1",
	"SYN a; FIN z",
	"SYN a; UPD z 0 1",
	"SYN a; SYN o",
	"SYN a; SYN a",
	"SYN a; FIN a; SYN a",
	"SYN a; PSH a 0; PSH a 0; PSH a 0; FIN a; FIN a; FIN a; FIN a",
	"SYN a; FIN a; SYN b; FIN b; FIN a; FIN b; PSH a 1; PSH b 1; PSH a 1",
}

// plan is what the transport and the application do, decoded from the bits of a byte.
type plan struct {
	app   appPlan
	write writePlan
	stays bool // the transport does not end, but falls silent
	chunk int  // bytes a Read
}

type (
	appPlan   uint8
	writePlan uint8
)

const (
	appWaits  appPlan = iota // reads when the session has ended, as the model does
	appReads                 // reads everything at once
	appCloses                // closes every stream, read or not
	appTalks                 // opens streams, writes, and reads

	writeWorks writePlan = iota - 4
	writeBlocks
	writeFails
	writeCutsShort
)

func newPlan(b uint8) plan {
	return plan{
		app:   appPlan(b & 3),
		write: writePlan(b >> 2 & 3),
		stays: b>>4&1 != 0,
		chunk: []int{1, 3, 8, 9, 100, 5000, 40_000, 1 << 20}[b>>5],
	}
}

// hostile is a transport that delivers bytes and takes everything.
type hostile struct {
	plan    plan
	session atomic.Pointer[session.Session]
	check   func(*session.Session) // called when the session wants more
	closed  chan struct{}
	once    sync.Once

	mu      sync.Mutex
	in      []byte
	written int
}

func (h *hostile) Read(p []byte) (int, error) {
	if s := h.session.Load(); s != nil {
		h.check(s)
	}
	h.mu.Lock()
	chunk := h.plan.chunk
	if len(h.in) > 2*maxInput {
		chunk = max(chunk, 100) // or it takes too long
	}
	n := copy(p, h.in[:min(len(h.in), chunk)])
	h.in = h.in[n:]
	h.mu.Unlock()
	if n == 0 && h.plan.stays {
		<-h.closed
		return 0, net.ErrClosed
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (h *hostile) Write(p []byte) (int, error) {
	h.mu.Lock()
	h.written += len(p)
	h.mu.Unlock()
	switch h.plan.write {
	case writeBlocks:
		<-h.closed
		return 0, net.ErrClosed
	case writeFails:
		return 0, io.ErrClosedPipe
	case writeCutsShort:
		return len(p) / 2, nil
	}
	return len(p), nil
}

func (h *hostile) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// feed runs a session on data and checks the result.
func feed(t *testing.T, client bool, version int, shared bool, plan plan, data []byte) {
	const bound = 64 << 10
	cfg := &session.Config{Version: version, MaxReceiveBuffer: bound, MaxStreams: 50, AcceptBacklog: 20}
	if plan.app == appWaits {
		cfg.MaxReceiveBuffer, cfg.MaxStreams, cfg.AcceptBacklog = hostileBudget, 1<<20, 0
	}
	if shared {
		cfg.Budget, cfg.MaxReceiveBuffer = flow.NewBudget(cfg.MaxReceiveBuffer), 0
	}
	conn := &hostile{plan: plan, in: data, closed: make(chan struct{})}
	conn.check = func(s *session.Session) {
		if n := s.Stats().Unread; plan.app != appWaits && n > bound+wire.MaxPayload {
			t.Errorf("%d bytes are unread", n)
		}
		if n := s.NumStreams(); plan.app != appWaits && n > cfg.MaxStreams+3 {
			t.Errorf("%d streams are open", n)
		}
	}
	start := session.Server
	if client {
		start = session.Client
	}
	s, err := start(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn.session.Store(s)
	var app sync.WaitGroup
	use(s, plan.app, &app)
	select {
	case <-s.Done():
	case <-time.After(2 * time.Minute):
		t.Error("it does not end")
		_ = s.Close()
	}
	app.Wait()
	err = s.Err()
	if err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Err = %v", err)
	}
	conn.mu.Lock()
	frames := len(data)/wire.HeaderSize + 1
	// An update and two FINs for each frame, and some NOPs.
	if most := frames*(8+16+16) + 100; plan.app != appTalks && conn.written > most {
		t.Errorf("%d frames were answered with %d bytes", frames, conn.written)
	}
	conn.mu.Unlock()
	if plan.app == appWaits {
		m := newHostileModel(client, version, data)
		if plan.write == writeWorks || plan.write == writeBlocks {
			m.check(t, s, plan)
		} else {
			closeAll(s)
		}
	}
	if shared && (cfg.Budget.Used() != 0 || cfg.Budget.Committed() != 0) {
		t.Errorf("of the budget %d bytes are used and %d promised in the end", cfg.Budget.Used(), cfg.Budget.Committed())
	}
}

// use is an application that uses the session.
func use(s *session.Session, how appPlan, app *sync.WaitGroup) {
	if how == appWaits {
		return
	}
	serve := func(st *stream.Stream) {
		switch how {
		case appReads:
			_, _ = io.Copy(io.Discard, st)
		case appTalks:
			app.Go(func() { _, _ = st.Write(pattern(1).bytes(0, 20_000)) })
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{st})
		}
		_ = st.Close()
	}
	app.Go(func() {
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			app.Go(func() { serve(st) })
		}
	})
	if how == appTalks {
		for range 3 {
			app.Go(func() {
				if st, err := s.OpenStream(context.Background()); err == nil {
					serve(st)
				}
			})
		}
	}
}

// closeAll closes the streams that were not accepted.
func closeAll(s *session.Session) {
	for {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		_ = st.Close()
	}
}
