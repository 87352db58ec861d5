package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A session that is fed with hostile bytes must end, and until then keep to its limits. Whatever it
// leaves running is a deadlock of the bubble. If the application reads at leisure, a model says exactly what it
// must get to read, and why the session ends.

func FuzzServer(f *testing.F) { fuzzSession(f, false) }

func FuzzClient(f *testing.F) { fuzzSession(f, true) }

func fuzzSession(f *testing.F, client bool) {
	for v := wire.V1; v <= wire.V2; v++ {
		r := role{client: client, version: v, transport: transport("sim")}
		a, b := r.theirs(0), r.theirs(1)
		scripts := [][]testutil.Frame{
			nil,
			{r.nop()},
			{r.syn(a), r.psh(a, []byte("data")), r.fin(a)},
			{r.syn(a), r.psh(a, []byte("data")), r.fin(a), r.psh(a, []byte("late")), r.fin(a), r.fin(a)},
			{r.syn(a), r.syn(b), r.psh(b, make([]byte, 9000)), r.psh(a, nil), r.psh(a, make([]byte, 65535)), r.fin(b), r.fin(a)},
			{r.psh(a, []byte("to nobody")), r.fin(b)},
			append([]testutil.Frame{r.syn(a)}, r.pshs(a, make([]byte, flow.InitialWindow+70_000))...),
		}
		for _, violation := range violations {
			if violation.only == 0 || violation.only == v {
				scripts = append(scripts, append([]testutil.Frame{r.syn(a)}, violation.frames(r)...))
			}
		}
		for _, flood := range floods {
			if flood.only == 0 || flood.only == v {
				frames := []testutil.Frame{r.syn(a), r.syn(b)}
				for n := range 20 {
					frames = append(frames, flood.frame(r, n))
				}
				scripts = append(scripts, frames)
			}
		}
		for n, script := range scripts {
			data := appendAll(script)
			plan := uint8(n * 37)
			if len(data) > 20_000 {
				plan |= 0xA0 // not by single bytes
			}
			f.Add(uint8(v), plan, data)
			f.Add(uint8(v), uint8(0xE0), data) // the model, read at once
			if len(data) > 5 {
				f.Add(uint8(v), plan^0x1F, data[:len(data)-5])
			}
		}
	}
	f.Add(uint8(0), uint8(1), []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"))
	f.Fuzz(func(t *testing.T, version, plan uint8, data []byte) {
		if len(data) > 1<<19 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			feed(t, client, int(version%3), newPlan(plan), data)
		})
	})
}

// plan is what the transport and the application do, taken from the bits of a byte.
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
	appWaits  appPlan = iota // reads when the session has ended: the model knows what
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

// hostile is a transport that delivers bytes and takes what comes.
type hostile struct {
	plan   plan
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	in      []byte
	written int
}

func (h *hostile) Read(p []byte) (int, error) {
	h.mu.Lock()
	n := copy(p, h.in[:min(len(h.in), h.plan.chunk)])
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

// feed runs a session on data and checks how it fares.
func feed(t *testing.T, client bool, version int, plan plan, data []byte) {
	const budget = 64 << 10
	cfg := &session.Config{Version: version, MaxReceiveBuffer: budget, MaxStreams: 50, AcceptBacklog: 20}
	if plan.app == appWaits {
		cfg.MaxReceiveBuffer, cfg.MaxStreams, cfg.AcceptBacklog = 64<<20, 1<<20, 1<<20
	}
	conn := &hostile{plan: plan, in: data, closed: make(chan struct{})}
	start := session.Server
	if client {
		start = session.Client
	}
	s, err := start(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var app sync.WaitGroup
	serve := func(st *stream.Stream) {
		switch plan.app {
		case appReads:
			_, _ = io.Copy(io.Discard, st)
		case appTalks:
			app.Go(func() { _, _ = st.Write(make([]byte, 20_000)) })
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{st})
		}
		_ = st.Close()
	}
	if plan.app != appWaits {
		app.Go(func() {
			for {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					return
				}
				app.Go(func() { serve(st) })
			}
		})
	}
	if plan.app == appTalks {
		for range 3 {
			app.Go(func() {
				if st, err := s.OpenStream(context.Background()); err == nil {
					serve(st)
				}
			})
		}
	}
	frames := len(data)/wire.HeaderSize + 1
	ended := false
	for begin := time.Now(); !ended; {
		select {
		case <-s.Done():
			ended = true
		case <-time.After(time.Second):
			if time.Since(begin) > 2*time.Minute {
				t.Error("it does not end")
				_ = s.Close()
			}
		}
		if n := s.Stats().Unread; plan.app != appWaits && n > budget+wire.MaxPayload {
			t.Errorf("%d bytes are unread", n)
		}
		if n := s.NumStreams(); plan.app != appWaits && n > cfg.MaxStreams+3 {
			t.Errorf("%d streams are open", n)
		}
	}
	app.Wait()
	err = s.Err()
	if err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Err = %v", err)
	}
	conn.mu.Lock()
	// An update and two FINs for each frame, and some NOPs.
	if most := frames*(8+16+16) + 100; plan.app != appTalks && conn.written > most {
		t.Errorf("%d frames were answered with %d bytes", frames, conn.written)
	}
	conn.mu.Unlock()
	if plan.app == appWaits && (plan.write == writeWorks || plan.write == writeBlocks) {
		checkModel(t, s, newModel(client, version, data), plan)
	}
}

// A model is what a session makes of its input if the application does nothing meanwhile.
type model struct {
	streams map[uint32]*modelStream
	order   []uint32
	wrong   *wire.Header // the violation, if there was one
	clean   bool         // the input ended between two frames
}

type modelStream struct {
	data  []byte
	ended bool
}

func newModel(client bool, version int, data []byte) *model {
	if client && version == 0 {
		version = 1
	}
	m := &model{streams: map[uint32]*modelStream{}}
	v := wire.Version(version)
	for {
		if len(data) < wire.HeaderSize {
			m.clean = len(data) == 0
			return m
		}
		h, err := wire.ParseHeader(data)
		if v == 0 {
			v = h.Version
		}
		if err != nil || h.Version != v {
			m.wrong = &h
			return m
		}
		data = data[wire.HeaderSize:]
		payload := data[:min(int(h.Length), len(data))]
		data = data[len(payload):]
		st := m.streams[h.StreamID]
		switch h.Command {
		case wire.SYN:
			if st != nil || (h.StreamID%2 == 1) == client {
				m.wrong = &h
				return m
			}
			m.streams[h.StreamID] = &modelStream{}
			m.order = append(m.order, h.StreamID)
		case wire.FIN:
			if st != nil {
				st.ended = true
			}
		case wire.PSH:
			if st == nil || st.ended {
				break
			}
			st.data = append(st.data, payload...)
		case wire.UPD:
			if len(payload) < wire.UpdateSize {
				return m // the input ends here
			}
			// Nothing was sent; a figure that is far beyond counts as an old one.
			if u, _ := wire.ParseWindowUpdate(payload); st != nil && int32(u.Consumed) > 0 {
				m.wrong = &h
				return m
			}
		}
		if len(payload) < int(h.Length) {
			return m
		}
	}
}

func checkModel(t *testing.T, s *session.Session, m *model, plan plan) {
	t.Helper()
	err := s.Err()
	var protocol *session.ProtocolError
	switch {
	case m.wrong != nil:
		if !errors.As(err, &protocol) || protocol.Header != *m.wrong {
			t.Errorf("Err = %v, want a ProtocolError about %v", err, *m.wrong)
		}
	case plan.stays:
		if !errors.Is(err, session.ErrKeepAlive) {
			t.Errorf("Err = %v, want the keep-alive's", err)
		}
	case m.clean != (err == io.EOF) || !m.clean && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("Err = %v, clean %v", err, m.clean)
	}
	var order []uint32
	for {
		st, acceptErr := s.AcceptStream(context.Background())
		if acceptErr != nil {
			if !errors.Is(acceptErr, err) {
				t.Errorf("Accept ends with %v, want %v", acceptErr, err)
			}
			break
		}
		order = append(order, st.ID())
		want := m.streams[st.ID()]
		if want == nil {
			continue
		}
		got, readErr := io.ReadAll(st)
		if !bytes.Equal(got, want.data) {
			t.Errorf("stream %d: read %d bytes, want %d", st.ID(), len(got), len(want.data))
		}
		if want.ended != (readErr == nil) {
			t.Errorf("stream %d ends with %v, FIN came: %v", st.ID(), readErr, want.ended)
		}
		_ = st.Close()
	}
	if !slices.Equal(order, m.order) {
		t.Errorf("accepted streams %v, want %v", order, m.order)
	}
}
