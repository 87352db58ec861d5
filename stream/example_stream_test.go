package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// openOne returns a stream of a new session, and hands the stream at the other end to handle.
func openOne(handle func(*stream.Stream)) *stream.Stream {
	ours, theirs := net.Pipe() // usually a TCP or TLS connection
	server, err := session.Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		st, err := server.AcceptStream(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		defer st.Close()
		handle(st)
	}()
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return st
}

// A Stream is a net.Conn. CloseWrite ends one direction: the peer reads io.EOF, and can still answer.
func ExampleStream_CloseWrite() {
	st := openOne(func(st *stream.Stream) {
		question, err := io.ReadAll(st)
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Fprintf(st, "%d bytes", len(question))
	})
	defer st.Close()
	if _, err := io.WriteString(st, "how long is this?"); err != nil {
		log.Fatal(err)
	}
	st.CloseWrite()
	answer, err := io.ReadAll(st)
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// 17 bytes <nil>
}

// A deadline ends a Read that waits. No data is lost: Read goes on after a later deadline was set.
func ExampleStream_SetReadDeadline() {
	late := make(chan struct{})
	st := openOne(func(st *stream.Stream) {
		<-late
		io.WriteString(st, "sorry")
	})
	defer st.Close()
	if err := st.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		log.Fatal(err)
	}
	_, err := st.Read(make([]byte, 100))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	close(late)
	if err := st.SetReadDeadline(time.Time{}); err != nil { // no deadline
		log.Fatal(err)
	}
	answer, err := io.ReadAll(st)
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// true
	// sorry <nil>
}

// Close does not wait until the data is sent. Flush does: call it before the program ends.
func ExampleStream_Flush() {
	received := make(chan string, 1)
	st := openOne(func(st *stream.Stream) {
		report, err := io.ReadAll(st)
		received <- fmt.Sprintf("%s %v", report, err)
	})
	if _, err := io.WriteString(st, "all is well"); err != nil {
		log.Fatal(err)
	}
	st.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(st.Flush(ctx))
	fmt.Println(<-received)
	// Output:
	// <nil>
	// all is well <nil>
}

// Done tells that the peer has closed the stream while neither Read nor Write waits, so that work for it can end.
func ExampleStream_Done() {
	stopped := make(chan error, 1)
	st := openOne(func(st *stream.Stream) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			<-st.Done()
			cancel()
		}()
		<-ctx.Done() // a query that takes long
		stopped <- ctx.Err()
	})
	st.Close() // the client has lost interest
	fmt.Println(<-stopped)
	// Output:
	// context canceled
}

// A backup yields to the other streams of its session: it gets a tenth of their share, and at most 1 MB/s.
func ExampleStream_SetWeight() {
	st := openOne(func(st *stream.Stream) {
		n, err := io.Copy(io.Discard, st)
		fmt.Println("stored:", n, err)
	})
	st.SetWeight(1)
	st.SetSendRate(flow.Rate{BytesPerSecond: 1e6, Burst: 64 << 10})
	// The other streams call SetWeight(10).

	if _, err := st.Write(make([]byte, 50_000)); err != nil {
		log.Fatal(err)
	}
	st.CloseWrite()
	_, err := st.Read(make([]byte, 1)) // the server closes when it has stored all
	fmt.Println(err)
	// Output:
	// stored: 50000 <nil>
	// EOF
}

// Stats say what a stream has carried, what it holds, and what its Writes have waited for.
func ExampleStats() {
	st := openOne(func(st *stream.Stream) { io.Copy(st, st) })
	defer st.Close()
	if _, err := io.WriteString(st, "hello"); err != nil {
		log.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 3)); err != nil {
		log.Fatal(err)
	}
	s := st.Stats()
	fmt.Println("sent", s.BytesSent, "received", s.BytesReceived, "unread", s.Unread, "unsent", s.Unsent)
	fmt.Println("may send", s.SendWindow, "more; has waited", s.BlockedOnWindow)
	// Output:
	// sent 5 received 5 unread 2 unsent 0
	// may send 262139 more; has waited 0s
}
