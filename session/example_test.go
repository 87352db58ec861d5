package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// serveGreetings serves one connection, until its client has gone.
func serveGreetings(conn net.Conn) error {
	s, err := session.Server(conn, nil) // the client chooses the version
	if err != nil {
		conn.Close() // it is still ours
		return err
	}
	defer s.Close() // and conn with it
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		st, err := s.AcceptStream(context.Background())
		if err == io.EOF {
			return nil // the client has closed the connection
		}
		if err != nil {
			return err
		}
		streams.Go(func() {
			defer st.Close()
			question, err := io.ReadAll(st) // until the client's CloseWrite
			if err != nil {
				log.Print(err)
				return
			}
			fmt.Fprintf(st, "%s to you, too", question)
		})
	}
}

// greet says something over a stream of its own, and returns the answer.
func greet(s *session.Session, greeting string) (string, error) {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return "", err
	}
	defer st.Close()
	if _, err := io.WriteString(st, greeting); err != nil {
		return "", err
	}
	st.CloseWrite() // the server reads io.EOF, and can still answer
	answer, err := io.ReadAll(st)
	return string(answer), err
}

// A client and a server talk over TCP.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	served := make(chan error)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		served <- serveGreetings(conn)
	}()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(greet(s, "hello"))
	fmt.Println(greet(s, "good day"))
	s.Close() // closes conn, too
	fmt.Println(<-served)
	// Output:
	// hello to you, too <nil>
	// good day to you, too <nil>
	// <nil>
}

// Session.Listener returns a net.Listener, and streams are net.Conns, so net/http runs over a session. Here the
// side that was dialed makes the requests: it reaches a server that it cannot dial.
func Example_http() {
	near, far := net.Pipe() // or the two ends of a TCP connection

	serving, err := session.Client(far, nil)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(serving.Listener()) }()

	s, err := session.Server(near, nil)
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return s.OpenStream(ctx)
		},
	}}
	resp, err := client.Get("http://anything/tea")
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Println(string(body), err)

	client.CloseIdleConnections()
	// The server's Shutdown stops accepting streams and waits for the answers in flight. The session goes on until
	// its own Shutdown, which waits for all other streams, for example hijacked ones.
	fmt.Println(server.Shutdown(context.Background()), <-done)
	fmt.Println(serving.Shutdown(context.Background()))
	s.Close()
	// Output:
	// you asked for /tea <nil>
	// <nil> http: Server closed
	// <nil>
}

// smux does not encrypt. Run it over TLS.
func Example_tls() {
	test := httptest.NewTLSServer(nil) // for its certificate
	defer test.Close()
	roots := x509.NewCertPool()
	roots.AddCert(test.Certificate())

	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: test.TLS.Certificates})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	served := make(chan error)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		served <- serveGreetings(conn)
	}()

	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com"})
	if err != nil {
		log.Fatal(err)
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(greet(s, "for your eyes only"))
	s.Close()
	fmt.Println(<-served)
	// Output:
	// for your eyes only to you, too <nil>
	// <nil>
}

// Shutdown lets the open streams finish. New ones are refused.
func ExampleSession_Shutdown() {
	ours, theirs := net.Pipe()
	go serveGreetings(theirs)
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}

	// Shutdown waits no longer than its context.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(errors.Is(client.Shutdown(ctx), context.Canceled))
	_, err = client.OpenStream(context.Background())
	fmt.Println(errors.Is(err, session.ErrShutdown))

	done := make(chan error)
	go func() { done <- client.Shutdown(context.Background()) }()
	if _, err := io.WriteString(st, "good bye"); err != nil { // the stream goes on
		log.Fatal(err)
	}
	st.CloseWrite()
	answer, err := io.ReadAll(st)
	fmt.Println(string(answer), err)
	st.Close()
	fmt.Println(<-done, client.Err())
	// Output:
	// true
	// true
	// good bye to you, too <nil>
	// <nil> use of closed network connection
}

// A program that sends something and exits waits until it has arrived.
func Example_flush() {
	a, b := net.Pipe()
	server, err := session.Server(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	reported := make(chan string)
	go func() {
		st, err := server.AcceptStream(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		report, err := io.ReadAll(st)
		reported <- fmt.Sprint(string(report), " ", err)
	}()

	client, err := session.Client(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(st, "all is well")
	st.Close() // does not wait

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(st.Flush(ctx))
	client.CloseNow() // like os.Exit, it sends nothing more
	fmt.Println(<-reported)
	// Output:
	// <nil>
	// all is well <nil>
}

// A server closes streams that carry nothing for a minute, and a session without streams after 20 ms. One stream has a
// time of its own.
func ExampleConfig_idleTimeouts() {
	ours, theirs := net.Pipe()
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server, err := session.Server(theirs, &session.Config{
		StreamIdleTimeout: time.Minute,
		IdleTimeout:       20 * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	opened, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	accepted, err := server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := accepted.SetIdleTimeout(10 * time.Millisecond); err != nil {
		log.Fatal(err)
	}
	_, err = accepted.Read(make([]byte, 1))
	fmt.Println("the server reads an idle time-out:", errors.Is(err, stream.ErrIdleTimeout))
	_, err = opened.Read(make([]byte, 1))
	fmt.Println("the client reads:", err)
	<-server.Done()
	fmt.Println(server.Err())
	// Output:
	// the server reads an idle time-out: true
	// the client reads: EOF
	// session: idle timeout: no stream was open
}

// A server bounds the memory of all its sessions.
func ExampleConfig() {
	config := &session.Config{
		Budget:     flow.NewBudget(256 << 20), // unread data of all sessions
		SendBudget: flow.NewBudget(64 << 20),  // data of all sessions that was written and not sent yet
		MaxStreams: 1000,                      // of each client
	}
	if err := config.Validate(); err != nil {
		log.Fatal(err)
	}
	serve := func(conn net.Conn) (*session.Session, error) {
		return session.Server(conn, config) // the same for every connection
	}
	_ = serve

	// An error names everything that is wrong with a Config.
	fmt.Println((&session.Config{Version: 3, MaxStreamWindow: 1000}).Validate())
	// Output:
	// session: bad Config: Version is 3, must be from 0 to 2
	// MaxStreamWindow is 1000, must be from 16384 to 1073741824
}
