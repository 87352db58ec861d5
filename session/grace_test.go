package session_test

import (
	"io"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// A reader that is slow, or limited to a rate, reads everything that its peer sent before Shutdown, even if that
// takes longer than CloseTimeout and its own side can send nothing any more.
func TestShutdownLosesNothingOfASlowReader(t *testing.T) {
	const size = 300 << 10
	for _, tt := range []struct {
		name  string
		cfg   session.Config
		pause time.Duration // before each Read
	}{
		{"slow", session.Config{MaxReceiveBuffer: 64 << 10}, time.Second},
		{"held to a rate", session.Config{ReceiveRate: flow.Rate{BytesPerSecond: 4 << 10}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				ca, cb := testutil.SimPair(t, simnet.Link{ReadBuffer: 512 << 10})
				tt.cfg.Version = version
				tt.cfg.KeepAlive = keepalive.Periodic{Interval: time.Second, Timeout: time.Hour} // fails at some time
				c := client(t, ca, &session.Config{Version: version})
				s := server(t, cb, &tt.cfg)
				a, b := openPair(t, c, s)
				sent := testutil.Background(func() (int64, error) { return testutil.Pattern(1).Send(a, size, 10_000) })
				elapsed := testutil.Clock()
				go func() {
					<-sent
					a.Close()
					testutil.WantErr(t, "Shutdown", c.Shutdown(t.Context()), nil)
				}()
				if err := testutil.Pattern(1).Receive(slowReader{b, tt.pause}, size); err != nil {
					t.Errorf("after %v: %v", elapsed(), err)
				}
				if d := elapsed(); d < 2*session.DefaultCloseTimeout {
					t.Errorf("reading took %v, too short to show anything", d)
				}
			})
		})
	}
}

// slowReader pauses before each Read.
type slowReader struct {
	io.Reader
	pause time.Duration
}

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.Reader.Read(p)
}
