package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A oneStream is a minimal session: it carries one stream over a transport, and nothing else.
type oneStream struct {
	core    stream.Core
	conn    io.ReadWriter
	ready   chan struct{}       // the stream has something to send
	written chan struct{}       // holds a token while the transport is being written
	ended   chan stream.Outcome // how the stream has ended
	begin   time.Time
}

// newOneStream starts the session. The two ends of a transport must agree which one opens the stream.
func newOneStream(conn io.ReadWriter, opens bool) *oneStream {
	s := &oneStream{
		conn:    conn,
		ready:   make(chan struct{}, 1),
		written: make(chan struct{}, 1),
		ended:   make(chan stream.Outcome, 1),
		begin:   time.Now(),
	}
	shared := &stream.Shared{Version: wire.V2, MaxFrameSize: 16 << 10, Budget: flow.NewAccount(1 << 20)}
	s.core.Init(shared, s, 1, opens)
	s.core.Start()
	go s.send()
	go s.receive()
	return s
}

// These methods make it a stream.Notifier. With one stream it needs no queue.

func (s *oneStream) SendControl(stream.Urgency) { s.Flush() }
func (s *oneStream) SendData(stream.Urgency)    { s.Flush() }
func (s *oneStream) Finished()                  { s.ended <- s.core.Outcome() }
func (s *oneStream) Opened()                    {}
func (s *oneStream) SetWeight(int)              {}
func (s *oneStream) Now() time.Duration         { return time.Since(s.begin) }

func (s *oneStream) Flush() {
	select {
	case s.ready <- struct{}{}:
	default: // it will look in any case
	}
}

// AwaitDelivery makes it a stream.Deliverer. A Write of an io.Pipe returns when the peer has read the data, so what was
// written has reached the peer.
func (s *oneStream) AwaitDelivery(ctx context.Context) error {
	select {
	case s.written <- struct{}{}: // nothing is being written
		<-s.written
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WatchIdle makes it a stream.IdleNotifier.
func (s *oneStream) WatchIdle(d time.Duration) {
	time.AfterFunc(d, func() {
		if again := s.core.CloseIdle(s.Now(), s.Now()); again > 0 {
			s.WatchIdle(again)
		}
	})
}

// Both are optional.
var (
	_ stream.Deliverer    = (*oneStream)(nil)
	_ stream.IdleNotifier = (*oneStream)(nil)
)

// send collects the frames that the stream has to send, and writes them.
func (s *oneStream) send() {
	b := wire.NewBatch(false)
	for range s.ready {
		for more := true; more; {
			s.written <- struct{}{}
			s.core.AppendControl(b)
			more = s.core.AppendData(b, wire.MaxPayload)
			_, err := s.conn.Write(b.Bytes())
			b.Release()
			<-s.written
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
		if err == nil {
			err = s.handle(h, data)
		}
		if err != nil {
			s.core.Abort(err, stream.AbortBoth)
			return
		}
	}
}

// handle handles a frame. A session with many streams would look the stream up by its id.
func (s *oneStream) handle(h wire.Header, data []byte) error {
	switch {
	case h.Command == wire.PSH && len(data) == 0:
		s.core.HandleEmpty()
	case h.Command == wire.PSH:
		s.core.Deliver(data, false)
	case h.Command == wire.FIN:
		s.core.HandleFIN()
	case h.Command == wire.UPD:
		u, err := wire.ParseWindowUpdate(data)
		if err != nil {
			return err
		}
		return s.core.HandleUpdate(u)
	}
	return nil
}

// A Core works under any session that sends its frames and delivers those of its peer. Most callers should use package
// session instead.
func ExampleCore() {
	a, b := transport()
	opener, accepter := newOneStream(a, true), newOneStream(b, false)
	client, server := opener.core.Stream(), accepter.core.Stream()

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
	fmt.Println("complete:", <-opener.ended == stream.OutcomeComplete)

	// Output:
	// what time is it? <nil>
	// time to go <nil>
	// complete: true
}

// A Notifier that is a Deliverer makes Stream.Flush work.
func ExampleDeliverer() {
	a, b := transport()
	s := newOneStream(a, true)
	server := newOneStream(b, false).core.Stream()
	st := s.core.Stream()
	fmt.Fprint(st, "good night")
	st.Close()
	fmt.Println(st.Flush(context.Background()))
	message, err := io.ReadAll(server)
	fmt.Printf("%s %v\n", message, err)
	// Output:
	// <nil>
	// good night <nil>
}

// A Notifier that is an IdleNotifier makes Stream.SetIdleTimeout work.
func ExampleIdleNotifier() {
	a, b := transport()
	newOneStream(b, false)
	s := newOneStream(a, true)
	st := s.core.Stream()
	if err := st.SetIdleTimeout(10 * time.Millisecond); err != nil {
		fmt.Println(err)
		return
	}
	_, err := st.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, stream.ErrIdleTimeout))
	// Output:
	// true
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
