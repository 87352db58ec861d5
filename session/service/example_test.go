package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
)

// newSessions returns both sides of a session, for the examples.
func newSessions() (client, server *session.Session) {
	a, b := net.Pipe()
	client, err := session.Client(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	if server, err = session.Server(b, nil); err != nil {
		log.Fatal(err)
	}
	return client, server
}

// Two services on one session: a handler, and a web server.
func Example() {
	client, server := newSessions()
	defer client.Close()
	defer server.Close()

	mux := new(service.Mux)
	mux.Handle("greet", func(st *service.Stream) {
		fmt.Fprintf(st, "hello, %s", st.Metadata()["name"])
	})
	pages := mux.Listen("web")
	defer pages.Close()
	go http.Serve(pages, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	}))
	go mux.Serve(context.Background(), server)

	st, err := service.Open(context.Background(), client, "greet", map[string]string{"name": "gopher"})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	answer, err := io.ReadAll(st)
	fmt.Printf("%s %v\n", answer, err)

	web := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return service.Open(ctx, client, "web", nil)
		},
	}}
	resp, err := web.Get("http://web/page")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// hello, gopher <nil>
	// you asked for /page <nil>
}

// A handler refuses a stream with a code of the application, and the opener finds out why.
func ExampleStream_Refuse() {
	client, server := newSessions()
	defer client.Close()
	defer server.Close()
	const codeNoSuchUser = 64

	mux := new(service.Mux)
	mux.Handle("mail", func(st *service.Stream) {
		st.Refuse(codeNoSuchUser, "no mail for "+st.Metadata()["user"])
	})
	go mux.Serve(context.Background(), server)

	for _, name := range []string{"mail", "news"} {
		st, err := service.Open(context.Background(), client, name, map[string]string{"user": "nobody"})
		if err != nil {
			log.Fatal(err)
		}
		_, err = io.ReadAll(st)
		var refused *service.RefusedError
		if errors.As(err, &refused) {
			fmt.Println(refused.Code == codeNoSuchUser, refused)
		}
		if errors.Is(err, stream.ErrRefused) {
			fmt.Println("worth another try") // not here
		}
		st.Close()
	}
	// Output:
	// true service: "mail" refused by peer: code 64: "no mail for nobody"
	// false service: "news" refused by peer: unknown service
}

// A proxy dials before it accepts, so that the opener knows whether the target was reached before any data comes.
func ExampleStream_AwaitAnswer() {
	client, server := newSessions()
	defer client.Close()
	defer server.Close()

	mux := new(service.Mux)
	mux.Handle("dial", func(st *service.Stream) {
		conn, err := net.Dial("tcp", st.Metadata()["address"])
		if err != nil {
			st.Refuse(64, err.Error())
			return
		}
		defer conn.Close()
		st.Accept()
		// relay.Join(ctx, st, conn, nil)
	})
	go mux.Serve(context.Background(), server)

	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	st, err := service.Open(context.Background(), client, "dial", map[string]string{"address": target.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	fmt.Println(st.AwaitAnswer(context.Background()))
	// Output:
	// <nil>
}
