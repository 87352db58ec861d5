package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A Dialer is the dialer of an http.Client, and a Listener is the net.Listener of an http.Server. All requests go
// over few connections, which the Dialer replaces when they end.
func ExampleDialer() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()

	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		},
	}
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	for _, path := range []string{"/tea", "/milk"} {
		resp, err := client.Get("http://server" + path)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(string(body), err)
	}
	client.CloseIdleConnections()
	d.Shutdown(context.Background()) // waits until all streams are closed

	// A graceful stop of the server: clients are told to open no more streams, those that are open are served to
	// the end, and idle ones are closed.
	server.SetKeepAlivesEnabled(false)
	fmt.Println(l.Shutdown(context.Background()))
	fmt.Println(errors.Is(<-served, net.ErrClosed))
	fmt.Println(server.Shutdown(context.Background()))
	// Output:
	// you asked for /tea <nil>
	// you asked for /milk <nil>
	// <nil>
	// true
	// <nil>
}

// A server may refuse a stream, for instance because it has too many. No application has seen such a stream, so a request
// that failed with stream.ErrRefused can be sent again. A Dialer does not do that by itself: it cannot know the request.
func ExampleDialer_OpenStream() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	defer l.CloseNow()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				question, _ := io.ReadAll(conn)
				fmt.Fprintf(conn, "%s to you, too", question)
			}()
		}
	}()
	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		},
	}
	defer d.Close()

	once := func(ctx context.Context, question string) ([]byte, error) {
		st, err := d.OpenStream(ctx)
		if err != nil {
			return nil, err
		}
		defer st.Close()
		if _, err := io.WriteString(st, question); err != nil {
			return nil, err
		}
		st.CloseWrite()
		return io.ReadAll(st)
	}
	ask := func(ctx context.Context, question string) (answer []byte, err error) {
		for range 3 {
			answer, err = once(ctx, question)
			if !errors.Is(err, stream.ErrRefused) {
				break
			}
		}
		return answer, err
	}
	answer, err := ask(context.Background(), "hello")
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// hello to you, too <nil>
}

// OnSession authenticates each transport before its streams are accepted, here by a password on a stream of its own.
// From leads from a request to the session that it came over.
func ExampleListener() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	type key struct{}
	l := &session.Listener{
		Listener:    tcp,
		MaxSessions: 1000,
		OnSession: func(ctx context.Context, s *session.Session) error {
			st, err := s.AcceptStream(ctx)
			if err != nil {
				return err
			}
			defer st.Close()
			if password, err := io.ReadAll(st); err != nil || string(password) != "sesame" {
				return errors.New("wrong password")
			}
			return nil
		},
		OnError: func(err error) { log.Print(err) },
	}
	server := &http.Server{
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			s, _ := session.From(conn)
			return context.WithValue(ctx, key{}, s)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := r.Context().Value(key{}).(*session.Session)
			fmt.Fprintf(w, "this session has opened %d streams", s.Stats().StreamsAccepted)
		}),
	}
	go server.Serve(l)
	defer l.CloseNow()

	d := &session.Dialer{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		},
		OnSession: func(ctx context.Context, s *session.Session) error {
			st, err := s.OpenStream(ctx)
			if err != nil {
				return err
			}
			defer st.Close()
			_, err = io.WriteString(st, "sesame")
			return err
		},
	}
	defer d.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	resp, err := client.Get("http://server/")
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Println(string(body), err)
	// Output:
	// this session has opened 2 streams <nil>
}
