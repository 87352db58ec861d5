package session_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A session logs to a slog.Logger. Streams that are opened and closed are logged at level Debug, refused ones at
// level Warn.
func ExampleLogTrace() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	cfg := &session.Config{Trace: session.LogTrace(logger)}

	ours, theirs := net.Pipe()
	go func() {
		s, err := session.Server(theirs, nil)
		if err != nil {
			log.Fatal(err)
		}
		<-s.Done()
	}()
	s, err := session.Client(ours, cfg)
	if err != nil {
		log.Fatal(err)
	}
	s.Close()

	// Output:
	// level=INFO msg="session begins" session.side=client session.local=pipe session.remote=pipe
	// level=INFO msg="session ends" session.side=client session.local=pipe session.remote=pipe reason="use of closed network connection"
}

// withoutTime removes the time from log records, so that the output is always the same.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// serveOne reads one stream of a client to its end, and closes it.
func serveOne(conn net.Conn) {
	s, err := session.Server(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.Accept()
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.ReadAll(st)
	st.Close()
}

// A Trace gets the header of each frame, here of those that a client sends for one request.
func ExampleTrace_frame() {
	ended := make(chan struct{})
	cfg := &session.Config{Trace: &session.Trace{
		SessionEnd: func(*session.Session, error) { close(ended) },
		Frame: func(s *session.Session, d session.Direction, h wire.Header) {
			if d == session.Sent && h.StreamID != 0 {
				fmt.Println(h.Command, h.StreamID, h.Length)
			}
		},
	}}

	ours, theirs := net.Pipe()
	go serveOne(theirs)
	s, err := session.Client(ours, cfg)
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(st, "hello")
	st.CloseWrite()
	_, _ = io.ReadAll(st)
	s.Close()
	<-ended // no call of the Trace comes after SessionEnd

	// Output:
	// SYN 1 0
	// PSH 1 5
	// FIN 1 0
	// UPD 1 8
}
