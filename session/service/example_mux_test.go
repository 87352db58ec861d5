package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
)

// serveConn serves one session over conn with mux, until the session ends.
func serveConn(mux *service.Mux, conn net.Conn) {
	s, err := session.Server(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := mux.Serve(context.Background(), s); err != io.EOF { // io.EOF: the peer has closed the session
		log.Print(err)
	}
}

// ask opens a stream for a service, and returns its answer.
func ask(o service.Opener, name string, metadata map[string]string) (string, error) {
	st, err := service.Open(context.Background(), o, name, metadata)
	if err != nil {
		return "", err
	}
	defer st.Close()
	answer, err := io.ReadAll(st)
	return string(answer), err
}

// Services may be added and removed at any time. A Fallback gets the streams of all other names.
func ExampleMux() {
	mux := &service.Mux{Fallback: func(st *service.Stream) { fmt.Fprintf(st, "no %s today", st.Name()) }}
	mux.Handle("tea", func(st *service.Stream) { fmt.Fprint(st, "here you are") })

	ours, theirs := net.Pipe()
	go serveConn(mux, theirs)
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	fmt.Println(ask(client, "tea", nil))
	fmt.Println(ask(client, "milk", nil))
	mux.Remove("tea")
	fmt.Println(ask(client, "tea", nil))
	// Output:
	// here you are <nil>
	// no milk today <nil>
	// no tea today <nil>
}

// Stats count the streams that a Mux has handed to services, and those that it has refused, by the reason.
func ExampleStats() {
	mux := new(service.Mux)
	mux.Handle("tea", func(st *service.Stream) { fmt.Fprint(st, "here you are") })

	ours, theirs := net.Pipe()
	go serveConn(mux, theirs)
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	fmt.Println(ask(client, "tea", nil))
	_, err = ask(client, "milk", nil)
	fmt.Println(err != nil)
	stats := mux.Stats()
	fmt.Println("served:", stats.Served, "unknown:", stats.Unknown, "malformed:", stats.Malformed)
	// Output:
	// here you are <nil>
	// true
	// served: 1 unknown: 1 malformed: 0
}

// The code of a refusal says whether another try may help. Codes from 64 on belong to the application.
func ExampleRefusedError() {
	const tooEarly service.Code = 64
	mux := new(service.Mux)
	mux.Handle("tea", func(st *service.Stream) { st.Refuse(tooEarly, "not before five o'clock") })

	ours, theirs := net.Pipe()
	go serveConn(mux, theirs)
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for _, name := range []string{"tea", "milk"} {
		_, err := ask(client, name, nil)
		var refused *service.RefusedError
		switch {
		case errors.Is(err, stream.ErrRefused):
			fmt.Println("no application has seen it: try again")
		case errors.As(err, &refused) && refused.Code == tooEarly:
			fmt.Println(refused.Service, "refused:", refused.Text)
		case errors.As(err, &refused) && refused.Code == service.CodeUnknown:
			fmt.Println("there is no", refused.Service)
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// tea refused: not before five o'clock
	// there is no milk
}

// Sessions and Dialers are Openers. With a Dialer, streams for services go over a pool of sessions.
func ExampleOpener() {
	mux := new(service.Mux)
	mux.Handle("tea", func(st *service.Stream) { fmt.Fprint(st, "here you are") })
	d := &session.Dialer{
		Dial: func(context.Context) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe() // usually a net.Dialer's DialContext
			go serveConn(mux, theirs)
			return ours, nil
		},
	}
	defer d.Close()

	var o service.Opener = d
	fmt.Println(ask(o, "tea", nil))
	// Output:
	// here you are <nil>
}

// Sessions and Listeners are Acceptors. With a Listener, one Serve serves the streams of all sessions.
func ExampleAcceptor() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	mux := new(service.Mux)
	mux.Handle("tea", func(st *service.Stream) { fmt.Fprintf(st, "tea for %s", st.Metadata()["name"]) })
	var a service.Acceptor = l
	served := make(chan error)
	go func() { served <- mux.Serve(context.Background(), a) }()

	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client, err := session.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask(client, "tea", map[string]string{"name": "two"}))
	client.Close()

	// To stop, shut the Listener down. Serve returns once the open streams have ended.
	fmt.Println(l.Shutdown(context.Background()))
	fmt.Println(errors.Is(<-served, net.ErrClosed))
	// Output:
	// tea for two <nil>
	// <nil>
	// true
}
