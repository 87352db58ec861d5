package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// newClientAndServer starts both sides of a session on the two ends of a pipe, which is in place of a connection.
func newClientAndServer() (client, server *session.Session) {
	ours, theirs := net.Pipe()
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	server, err = session.Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	return client, server
}

// Ping measures the round trip to the peer's session. Other implementations do not answer, so give it a context that ends.
func ExampleSession_Ping() {
	client, server := newClientAndServer()
	defer client.Close()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rtt, err := client.Ping(ctx)
	fmt.Println(rtt > 0, err)

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = client.Ping(ended)
	fmt.Println(errors.Is(err, session.ErrPingUnanswered))
	// Output:
	// true <nil>
	// true
}

// A client learns that its server is about to stop, and opens its next streams elsewhere. A Dialer does so by itself.
func ExampleSession_Draining() {
	client, server := newClientAndServer()
	defer client.Close()
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	accepted, err := server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- server.Shutdown(context.Background()) }()

	<-client.Draining()
	_, err = client.OpenStream(context.Background())
	fmt.Println(errors.Is(err, session.ErrPeerShutdown))
	if _, err := io.WriteString(st, "last words"); err != nil { // the open stream goes on
		log.Fatal(err)
	}
	st.Close()
	words, err := io.ReadAll(accepted)
	accepted.Close()
	fmt.Println(string(words), err)
	fmt.Println(<-stopped)
	// Output:
	// true
	// last words <nil>
	// <nil>
}

// CloseNow throws unsent data away and does not wait. It is for a session whose data does not matter any more.
func ExampleSession_CloseNow() {
	client, server := newClientAndServer()
	waiting := make(chan error)
	go func() {
		_, err := client.AcceptStream(context.Background())
		waiting <- err
	}()
	fmt.Println(client.CloseNow())
	fmt.Println(errors.Is(<-waiting, net.ErrClosed), client.Err() == net.ErrClosed)
	<-server.Done() // the peer finds its connection closed
	// Output:
	// <nil>
	// true true
}

// A session whose streams have become idle is kept alive at longer intervals, for example to save a battery.
func ExampleSession_SetKeepAlive() {
	client, server := newClientAndServer()
	defer client.Close()
	defer server.Close()
	fmt.Println(client.SetKeepAlive(keepalive.Periodic{Interval: 2 * time.Minute, Timeout: 5 * time.Minute}))
	fmt.Println(client.SetKeepAlive(keepalive.Periodic{Interval: time.Minute, Timeout: time.Second}))
	// Output:
	// <nil>
	// session: bad policy: keepalive: Periodic.Timeout is 1s: it must exceed Periodic.Interval, which is 1m0s
}

// A function that gets a net.Conn finds the session behind it, also below conns that have a method NetConn, as *tls.Conn.
func ExampleFrom() {
	client, server := newClientAndServer()
	defer client.Close()
	defer server.Close()
	var conn net.Conn
	conn, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	s, ok := session.From(conn)
	fmt.Println(s == client, ok)
	// Output:
	// true true
}
