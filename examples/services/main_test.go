package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
)

// The client gets its answers from both services, and a round trip.
func TestServicesAnswerAndTheHeartBeats(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() { server(l) })
	if err := client(t.Context(), l.Addr().String(), time.Hour, func(time.Duration, error) {}); err != nil {
		t.Error(err)
	}

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now, err := askTime(t.Context(), s, "UTC")
	if _, perr := time.Parse(time.RFC1123Z, now); err != nil || perr != nil {
		t.Errorf("time is %q, %v", now, err)
	}
	_, err = askTime(t.Context(), s, "nowhere")
	if refused := new(service.RefusedError); !errors.As(err, &refused) || refused.Code != 64 {
		t.Errorf("a zone that does not exist: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	beats := 0
	heartbeat(ctx, s, time.Millisecond, func(rtt time.Duration, err error) {
		if beats++; beats == 3 {
			stop()
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) || err == nil && rtt <= 0 {
			t.Errorf("beat %d: %v, %v", beats, rtt, err)
		}
	})
}
