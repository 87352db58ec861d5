package main

import (
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
	beats := make(chan error, 100)
	beat := func(rtt time.Duration, err error) { beats <- err }
	if err := client(t.Context(), l.Addr().String(), beat); err != nil {
		t.Error(err)
	}
	if err := <-beats; err != nil {
		t.Errorf("the first beat: %v", err)
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
}
