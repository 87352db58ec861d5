package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/session"
)

// A server that rejects each session after it has answered the Dialer's ping gets pauses between the dials.
func TestDialerPausesForAServerThatRejects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sim := newSimListener(simnet.Link{Delay: 5 * time.Millisecond})
		l, _ := listening(t, &session.Listener{OnSession: func(context.Context, *session.Session) error {
			time.Sleep(20 * time.Millisecond) // it looks the client up
			return errors.New("unknown client")
		}})
		l.Listener = sim
		defer l.CloseNow()
		acceptFrom(l)
		d := closing(t, &session.Dialer{Dial: sim.dial, Config: &session.Config{KeepAlive: off}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			st, err := d.OpenStream(ctx)
			if err != nil {
				break
			}
			_, _ = st.Read(make([]byte, 1))
			_ = st.Close()
		}
		if n := d.Stats().Dials; n > 100 {
			t.Errorf("%d dials in a minute", n)
		}
	})
}
