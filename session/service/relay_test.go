package service_test

import (
	"io"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// Streams of services can be joined with other connections, on both sides: half-close passes, and so does a refusal.
func TestServiceStreamsCanBeJoined(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Handle("far", func(st *service.Stream) {
			a, b := testutil.SimPair(t, simnet.Link{})
			go func() {
				got, err := io.ReadAll(b)
				if err != nil {
					t.Error(err)
				}
				b.Write(append([]byte("answer to "), got...))
				b.Close()
			}()
			if _, err := relay.Join(t.Context(), st, a, nil); err != nil {
				t.Error(err)
			}
		})
		c, _ := serve(t, m, session.Config{Version: version})
		for _, name := range []string{"far", "nobody"} {
			a, user := testutil.SimPair(t, simnet.Link{})
			joined := testutil.Background(func() (relay.Result, error) {
				return relay.Join(t.Context(), a, open(t, c, name, nil), nil)
			})
			write(t, user, "request")
			if name == "far" {
				user.CloseWrite()
				if got, err := io.ReadAll(user); string(got) != "answer to request" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				testutil.WantErr(t, "Join", (<-joined).Err, nil)
				continue
			}
			r := <-joined
			wantRefused(t, "Join", r.Err, service.CodeUnknown, "")
			if r.After > 10*time.Millisecond {
				t.Errorf("Join ended after %v", r.After)
			}
		}
	})
}
