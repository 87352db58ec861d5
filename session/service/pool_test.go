package service_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
)

// Services run between a Dialer and a Listener, over any number of sessions, and From finds the session of their
// streams.
func TestServicesRunBetweenDialerAndListener(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sessions := &session.Listener{Listener: l}
	m := new(service.Mux)
	m.Handle("who", func(st *service.Stream) {
		s, ok := session.From(st)
		if !ok {
			t.Error("the stream has no session")
			return
		}
		fmt.Fprint(st, s.RemoteAddr())
	})
	served := testutil.BackgroundErr(func() error { return m.Serve(context.Background(), sessions) })
	dialer := &session.Dialer{
		StreamsPerSession: 5,
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
	}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			st := open(t, dialer, "who", nil)
			defer st.Close()
			s, ok := session.From(st)
			got, err := io.ReadAll(st)
			if !ok || err != nil || string(got) != s.LocalAddr().String() {
				t.Errorf("the service sees %q, %v, want %v", got, err, s.LocalAddr())
			}
		})
	}
	wg.Wait()
	dialer.Close()
	sessions.Close()
	sessions.CloseNow()
	testutil.WantErr(t, "Serve", (<-served).Err, net.ErrClosed)
}
