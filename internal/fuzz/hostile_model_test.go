package fuzz

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A hostileModel is the result of a session's input if the application does nothing meanwhile.
type hostileModel struct {
	streams map[uint32]*hostileStream
	order   []uint32
	wrong   *wire.Header // the violation, if there was one
	clean   bool         // the input ended between two frames
	unsure  bool         // the result depends on how fast the session sends
}

type hostileStream struct {
	data    []byte
	ended   bool
	overrun bool // the peer has sent too much beyond its window
}

const (
	// hostileBudget has room for everything, so that nothing waits. A stream may overrun its window by less than
	// that.
	hostileBudget  = 512 << 10
	hostileOverrun = hostileBudget / 8
)

func newHostileModel(client bool, version int, data []byte) *hostileModel {
	if client && version == 0 {
		version = 2
	}
	m := &hostileModel{streams: map[uint32]*hostileStream{}}
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
			if st != nil && st.overrun {
				m.unsure = true // the stream may be forgotten
				return m
			}
			if st != nil || (h.StreamID%2 == 1) == client {
				m.wrong = &h
				return m
			}
			m.streams[h.StreamID] = &hostileStream{}
			m.order = append(m.order, h.StreamID)
		case wire.FIN:
			if st != nil {
				st.ended = true
			}
		case wire.PSH:
			if st == nil || st.ended || st.overrun {
				break
			}
			st.data = append(st.data, payload...)
			st.overrun = v == wire.V2 && len(st.data) > flow.InitialWindow+hostileOverrun
		case wire.UPD:
			if len(payload) < wire.UpdateSize {
				return m // the input ends here
			}
			// Nothing was sent. A number far beyond that counts as an old one.
			if u, _ := wire.ParseWindowUpdate(payload); st != nil && int32(-u.Consumed) < 0 {
				m.wrong, m.unsure = &h, st.overrun
				return m
			}
		}
		if len(payload) < int(h.Length) {
			return m
		}
	}
}

// check compares a session that has ended with the model.
func (m *hostileModel) check(t *testing.T, s *session.Session, plan plan) {
	t.Helper()
	if m.unsure {
		closeAll(s)
		return
	}
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
		switch {
		case want.overrun:
			if len(got) > 0 || !errors.Is(readErr, flow.ErrWindow) {
				t.Errorf("stream %d: read %d bytes, %v, after the window was overrun", st.ID(), len(got), readErr)
			}
		case !bytes.Equal(got, want.data):
			t.Errorf("stream %d: read %d bytes, want %d", st.ID(), len(got), len(want.data))
		case want.ended != (readErr == nil):
			t.Errorf("stream %d ends with %v, FIN came: %v", st.ID(), readErr, want.ended)
		}
		_ = st.Close()
	}
	if !slices.Equal(order, m.order) {
		t.Errorf("accepted streams %v, want %v", order, m.order)
	}
}
