package heartbeat_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
)

// One side sends beats over a connection, the other side answers them.
func Example() {
	ours, theirs := net.Pipe()
	go heartbeat.Serve(theirs)

	first := make(chan error, 1)
	h, err := heartbeat.Start(ours, heartbeat.Config{
		Interval:  5 * time.Second,
		Tolerance: 15 * time.Second,
		OnBeat: func(rtt time.Duration, err error) {
			select {
			case first <- err:
			default:
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	fmt.Println("the first beat:", <-first)
	rtt, err := h.Beat(context.Background())
	fmt.Println("one more:", rtt > 0, err)
	// Output:
	// the first beat: <nil>
	// one more: true <nil>
}

// A heartbeat may be a service of a session: one line on the side that answers.
func Example_service() {
	ours, theirs := net.Pipe()
	server, err := session.Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.CloseNow()
	mux := new(service.Mux)
	mux.Handle("heartbeat", func(st *service.Stream) { heartbeat.Serve(st) })
	go mux.Serve(context.Background(), server)

	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseNow()
	st, err := service.Open(context.Background(), client, "heartbeat", nil)
	if err != nil {
		log.Fatal(err)
	}
	h, err := heartbeat.Start(st, heartbeat.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	_, err = h.Beat(context.Background())
	fmt.Println(err)
	// Output:
	// <nil>
}

// Between two sessions of this module, no stream and no server is needed. This program closes its session when no answer
// comes in time, although the session's keep-alive may still wait.
func ExampleStartPinger() {
	ours, theirs := net.Pipe()
	server, err := session.Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.CloseNow()
	client, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseNow()

	h, err := heartbeat.StartPinger(client, heartbeat.Config{
		Interval:  time.Second,
		Tolerance: 3 * time.Second,
		OnBeat: func(rtt time.Duration, err error) {
			if errors.Is(err, heartbeat.ErrUnanswered) {
				client.CloseNow()
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	_, err = h.Beat(context.Background())
	fmt.Println(err, h.Stats().Answered > 0)
	// Output:
	// <nil> true
}
