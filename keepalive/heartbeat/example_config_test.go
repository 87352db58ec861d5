package heartbeat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
)

// This program gives a peer up when it does not answer within the Tolerance. Such a peer may still read.
func ExampleConfig() {
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs) // reads, and never answers

	silent := make(chan struct{})
	h, err := heartbeat.Start(ours, heartbeat.Config{
		Interval:  time.Minute,
		Tolerance: 10 * time.Millisecond, // usually some seconds
		OnBeat: func(rtt time.Duration, err error) {
			if errors.Is(err, heartbeat.ErrUnanswered) {
				fmt.Println(err)
				close(silent)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	<-silent
	h.Close() // closes the connection, too
	fmt.Println(h.Err())
	// Output:
	// heartbeat: no answer within 10ms
	// heartbeat: closed by this side
}

// The interval may change while a Heartbeat runs, and a program can ask for one more beat at any time.
func ExampleHeartbeat() {
	ours, theirs := net.Pipe()
	go heartbeat.Serve(theirs)
	h, err := heartbeat.Start(ours, heartbeat.Config{Interval: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if err := h.SetInterval(time.Minute); err != nil { // nobody looks any more
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rtt, err := h.Beat(ctx)
	fmt.Println(rtt > 0, err)

	h.Close()
	<-h.Done() // it would also end if the connection failed
	fmt.Println(h.Err(), errors.Is(h.Err(), net.ErrClosed))
	// Output:
	// true <nil>
	// heartbeat: closed by this side true
}

// Stats sums the beats up: a SmoothedRTT far above MinRTT says that the beats wait behind other data.
func ExampleStats() {
	ours, theirs := net.Pipe()
	go heartbeat.Serve(theirs)
	h, err := heartbeat.Start(ours, heartbeat.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	for range 3 {
		if _, err := h.Beat(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	s := h.Stats()
	fmt.Println("answered:", s.Answered >= 3, "unanswered:", s.Unanswered)
	fmt.Println("plausible:", s.MinRTT <= s.SmoothedRTT && s.RTT > 0)
	// Output:
	// answered: true unanswered: 0
	// plausible: true
}

// A database is a Pinger: anything is that can answer a question.
type database struct {
	ask func(ctx context.Context) error
}

func (d *database) Ping(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	err := d.ask(ctx)
	return time.Since(begin), err
}

// StartPinger takes any Pinger. An error that is not that of ctx ends the heartbeat.
func ExamplePinger() {
	db := &database{ask: func(ctx context.Context) error { return errors.New("the database has gone") }}
	h, err := heartbeat.StartPinger(db, heartbeat.Config{Interval: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	<-h.Done()
	fmt.Println(h.Err())
	// Output:
	// the database has gone
}
