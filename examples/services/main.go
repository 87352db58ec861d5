// Services runs two services and a heartbeat on one session: "time" has a handler, "web" is a web server, and the client
// measures the round trip meanwhile.
//
//	go run ./examples/services
//
// Ctrl-C ends it earlier.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "Services runs two services and a heartbeat on one session, and uses them. It has no flags.")
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("using two services and a heartbeat on one session with", l.Addr())
	go server(l)
	beat := func(rtt time.Duration, err error) { fmt.Println("round trip:", rtt, err) }
	if err := client(ctx, l.Addr().String(), beat); err != nil {
		log.Fatal(err)
	}
}

// timeout limits how long the client takes.
const timeout = 10 * time.Second

// server serves clients until l is closed.
func server(l net.Listener) {
	mux := new(service.Mux)
	mux.Handle("heartbeat", func(st *service.Stream) { heartbeat.Serve(st) })
	mux.Handle("time", func(st *service.Stream) {
		place, err := time.LoadLocation(st.Metadata()["zone"])
		if err != nil {
			st.Refuse(64, err.Error())
			return
		}
		fmt.Fprint(st, time.Now().In(place).Format(time.RFC1123Z))
	})
	web := mux.Listen("web") // of all sessions
	defer web.Close()
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	}))
	sessions := &session.Listener{Listener: l}
	defer sessions.CloseNow()
	mux.Serve(context.Background(), sessions)
}

// client uses the services of the server at addr. It calls beat with each round trip, until it returns.
func client(ctx context.Context, addr string, beat func(time.Duration, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		conn.Close()
		return err
	}
	defer s.Close()
	beats, err := service.Open(ctx, s, "heartbeat", nil)
	if err != nil {
		return err
	}
	h, err := heartbeat.Start(beats, heartbeat.Config{Interval: time.Second, Tolerance: 5 * time.Second, OnBeat: beat})
	if err != nil {
		return err
	}
	defer h.Close()

	for _, zone := range []string{"UTC", "nowhere"} {
		now, err := askTime(ctx, s, zone)
		fmt.Printf("time in %s: %s %v\n", zone, now, err)
	}
	web := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return service.Open(ctx, s, "web", nil)
		},
	}}
	defer web.CloseIdleConnections()
	for range 3 {
		page, err := get(ctx, web, "http://web/page")
		if err != nil {
			return err
		}
		fmt.Println("web:", page)
	}
	rtt, err := h.Beat(ctx) // one more, now
	fmt.Println("the round trip is", rtt)
	return err
}

// askTime asks the service "time".
func askTime(ctx context.Context, s *session.Session, zone string) (string, error) {
	st, err := service.Open(ctx, s, "time", map[string]string{"zone": zone})
	if err != nil {
		return "", err
	}
	defer st.Close()
	now, err := io.ReadAll(st) // a *service.RefusedError if there is no such zone
	return string(now), err
}

func get(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	return string(page), err
}
