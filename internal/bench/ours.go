package main

import (
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

var ours = []*peer{
	ourPeer("ours-v1", session.Config{Version: 1}, nil),
	ourPeer("ours-v2", session.Config{Version: 2}, nil),
}

// oursTraced are version 2 with what watches it, to tell what that costs.
var oursTraced = []*peer{
	aside(ourPeer("no-op", session.Config{Version: 2, Trace: noOpTrace()}, nil)),
	aside(ourPeer("frames", session.Config{Version: 2, Trace: &session.Trace{
		Frame: func(*session.Session, session.Direction, wire.Header) {},
	}}, nil)),
	aside(ourPeer("log", session.Config{Version: 2, Trace: session.LogTrace(slog.New(slog.NewTextHandler(io.Discard, nil)))}, nil)),
	aside(ourPeer("stats", session.Config{Version: 2}, pollStats)),
}

func aside(p *peer) *peer {
	p.ours, p.aside = false, true
	return p
}

// ourPeer is smuxkit with cfg. watch, if not nil, is called with each session.
func ourPeer(name string, cfg session.Config, watch func(*session.Session)) *peer {
	cfg.MaxStreams = 1 << 20
	start := func(f func(io.ReadWriteCloser, *session.Config) (*session.Session, error)) func(net.Conn) (mux, error) {
		return func(c net.Conn) (mux, error) {
			s, err := f(c, &cfg)
			if err == nil && watch != nil {
				go watch(s)
			}
			return s, err
		}
	}
	return &peer{name: name, ours: true, client: start(session.Client), server: start(session.Server)}
}

// pollStats takes the statistics of a session, and of each of its streams, a thousand times a second.
func pollStats(s *session.Session) {
	for range time.Tick(time.Millisecond) {
		s.Stats()
		for st := range s.Streams() {
			st.Stats()
		}
	}
}

// noOpTrace has every function but Frame, and does nothing.
func noOpTrace() *session.Trace {
	return &session.Trace{
		SessionBegin:    func(*session.Session) {},
		SessionEnd:      func(*session.Session, error) {},
		StreamOpened:    func(*session.Session, *stream.Stream) {},
		StreamAccepted:  func(*session.Session, *stream.Stream) {},
		StreamRefused:   func(*session.Session, session.Refusal) {},
		StreamClosed:    func(*session.Session, session.StreamEnd) {},
		StreamStalled:   func(*session.Session, *stream.Stream, int) {},
		DataDropped:     func(*session.Session, int) {},
		ReadPaused:      func(*session.Session, session.Pause) {},
		ReadResumed:     func(*session.Session, session.Pause, time.Duration) {},
		KeepAliveProbe:  func(*session.Session, time.Duration) {},
		KeepAliveGiveUp: func(*session.Session, time.Duration) {},
		DrainBegin:      func(*session.Session) {},
		PeerDraining:    func(*session.Session) {},
	}
}
