package stream_test

import (
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A oneStream is a minimal session: it carries one stream over a transport, and nothing else.
type oneStream struct {
	core  stream.Core
	conn  io.ReadWriter
	ready chan struct{} // the stream has something to send
	begin time.Time
}

// newOneStream starts the session. The two ends of a transport must agree which one opens the stream.
func newOneStream(conn io.ReadWriter, opens bool) *stream.Stream {
	s := &oneStream{conn: conn, ready: make(chan struct{}, 1), begin: time.Now()}
	shared := &stream.Shared{Version: wire.V2, MaxFrameSize: 16 << 10, Budget: flow.NewAccount(1 << 20)}
	s.core.Init(shared, s, 1, opens)
	s.core.Start()
	go s.send()
	go s.receive()
	return s.core.Stream()
}

// These methods make it a stream.Notifier. With one stream it needs no queue.

func (s *oneStream) SendControl(stream.Urgency) { s.Flush() }
func (s *oneStream) SendData(stream.Urgency)    { s.Flush() }
func (s *oneStream) Finished()                  {}
func (s *oneStream) Opened()                    {}
func (s *oneStream) SetWeight(int)              {}
func (s *oneStream) Now() time.Duration         { return time.Since(s.begin) }

func (s *oneStream) Flush() {
	select {
	case s.ready <- struct{}{}:
	default: // it will look in any case
	}
}

// send collects the frames that the stream has to send, and writes them.
func (s *oneStream) send() {
	b := wire.NewBatch(false)
	for range s.ready {
		s.core.AppendControl(b)
		for more := true; more; {
			more = s.core.AppendData(b, wire.MaxPayload)
			_, err := s.conn.Write(b.Bytes())
			b.Release()
			if err != nil {
				s.core.Abort(err, stream.AbortBoth)
				return
			}
		}
	}
}

// receive decodes frames and delivers them to the stream.
func (s *oneStream) receive() {
	dec := wire.NewDecoder(s.conn)
	for {
		h, err := dec.Next()
		var data []byte
		if err == nil {
			data, err = dec.AppendPayload(nil)
		}
		switch {
		case err != nil:
		case h.Command == wire.PSH:
			s.core.Deliver(data, false)
		case h.Command == wire.FIN:
			s.core.HandleFIN()
		case h.Command == wire.UPD:
			var u wire.WindowUpdate
			if u, err = wire.ParseWindowUpdate(data); err == nil {
				err = s.core.HandleUpdate(u)
			}
		}
		if err != nil {
			s.core.Abort(err, stream.AbortBoth)
			return
		}
	}
}

// A Stream works under any session that sends its frames and delivers those of its peer.
func Example() {
	a, b := transport()
	client := newOneStream(a, true)
	server := newOneStream(b, false)

	go func() {
		fmt.Fprint(client, "what time is it?")
		client.CloseWrite()
	}()
	question, err := io.ReadAll(server)
	fmt.Printf("%s %v\n", question, err)

	go func() {
		fmt.Fprint(server, "time to go")
		server.Close()
	}()
	answer, err := io.ReadAll(client)
	fmt.Printf("%s %v\n", answer, err)
	client.Close()

	// Output:
	// what time is it? <nil>
	// time to go <nil>
}

// transport returns the two ends of a reliable and ordered connection.
func transport() (a, b io.ReadWriter) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return readWriter{ar, aw}, readWriter{br, bw}
}

type readWriter struct {
	io.Reader
	io.Writer
}
