package docs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// The settings of docs/settings.md are valid, and a megabyte each way arrives with each of them.
func TestGuideSettings(t *testing.T) {
	testutil.LeakCheck(t)
	for name, cfg := range map[string]*session.Config{
		"many sessions": settingsForManySessions(),
		"small device":  settingsForASmallDevice(),
		"long path":     settingsForALongPath(),
		"mobile":        settingsForMobile(),
		"internet":      settingsForTheInternet(),
	} {
		t.Run(name, func(t *testing.T) {
			client, server := sessions(t, cfg)
			const size = 1 << 20
			echoed := make(chan error, 1)
			go func() {
				st := accept(t, server)
				_, err := io.Copy(st, st)
				_ = st.Close()
				echoed <- err
			}()
			st := open(t, client)
			data := testutil.Pattern(1)
			sent := testutil.BackgroundErr(func() error {
				_, err := data.Send(st, size, 10_000)
				return errors.Join(err, st.CloseWrite())
			})
			testutil.WantErr(t, "Receive", data.Receive(st, size), nil)
			testutil.WantErr(t, "Send", (<-sent).Err, nil)
			testutil.WantErr(t, "the echo", <-echoed, nil)
		})
	}
}

func settingsForManySessions() *session.Config {
	return &session.Config{
		MaxStreams: 100,                       // of each peer
		Budget:     flow.NewBudget(128 << 20), // unread data of all sessions together
		SendBudget: flow.NewBudget(64 << 20),  // unsent data of all sessions together
	}
}

func settingsForASmallDevice() *session.Config {
	return &session.Config{
		MaxStreams:          16,
		MaxReceiveBuffer:    64 << 10,
		MaxStreamWindow:     16 << 10,
		MaxSendBuffer:       32 << 10,
		MaxStreamSendBuffer: 4 << 10,
		MaxWriteSize:        8 << 10,
	}
}

func settingsForMobile() *session.Config {
	return &session.Config{
		KeepAlive:   keepalive.Periodic{Interval: time.Minute, Timeout: 150 * time.Second}, // a probe wakes the radio
		IdleTimeout: 5 * time.Minute,                                                       // no probes without streams
	}
}

func settingsForALongPath() *session.Config {
	return &session.Config{
		MaxStreamWindow:  256 << 20, // twice 10 Gbit/s x 100 ms
		MaxReceiveBuffer: 1 << 30,
	}
}

// At 1 Gbit/s and 300 ms, a stream reaches the rate with the settings for a long path. With the defaults, it sends a window of
// 16 MiB in 300 ms at most, which is 0.45 of the rate.
func TestGuideSettingsFillALongPath(t *testing.T) {
	testutil.LeakCheck(t)
	const (
		rate = 125e6 // bytes a second
		size = 128 << 20
	)
	for _, test := range []struct {
		name        string
		cfg         *session.Config
		least, most float64 // share of the rate that the second half gets
	}{
		{"defaults", nil, 0.3, 0.46},
		{"settings", settingsForALongPath(), 0.95, 1.01},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := simnet.Pair(simnet.Link{Rate: rate, Delay: 150 * time.Millisecond})
				client, server := sessionsOver(t, a, b, test.cfg)
				sent := testutil.BackgroundErr(func() error {
					st, err := client.OpenStream(t.Context())
					if err != nil {
						return err
					}
					_, err = io.CopyN(st, zeros{}, size)
					return errors.Join(err, st.Close())
				})
				st := accept(t, server)
				if _, err := io.CopyN(io.Discard, st, size/2); err != nil {
					t.Fatal(err)
				}
				half := time.Now()
				if n, err := io.Copy(io.Discard, st); n != size/2 || err != nil {
					t.Errorf("the second half has %d bytes, %v", n, err)
				}
				share := size / 2 / time.Since(half).Seconds() / rate
				if t.Logf("%.2f of the rate", share); share < test.least || share > test.most {
					t.Errorf("want %.2f to %.2f", test.least, test.most)
				}
				testutil.WantErr(t, "the sender", (<-sent).Err, nil)
				_ = st.Close()
				_, _ = client.CloseNow(), server.CloseNow()
			})
		})
	}
}

// zeros is a Reader without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// After the network has changed, checkSessions ends the session whose peer does not answer any more, and keeps the other
// one.
func TestGuideSettingsFindADeadPath(t *testing.T) {
	testutil.LeakCheck(t)
	synctest.Test(t, func(t *testing.T) {
		link := simnet.Link{Delay: 50 * time.Millisecond}
		var ends []*simnet.Conn
		d := &session.Dialer{
			Dial: func(context.Context) (io.ReadWriteCloser, error) {
				here, there := simnet.Pair(link)
				s, err := session.Server(there, nil)
				if err != nil {
					return nil, err
				}
				go func() {
					<-s.Done()
					_ = s.CloseNow()
				}()
				ends = append(ends, here)
				return here, nil
			},
			StreamsPerSession: 1,
		}
		defer d.Close()
		for range 2 {
			st, err := d.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
		}
		ends[0].Out().Stall()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		checkSessions(ctx, d)
		<-ctx.Done()
		synctest.Wait()
		left := 0
		for s := range d.Sessions() {
			left++
			if s.Transport() != ends[1] {
				t.Error("the session on the dead path is still there")
			}
		}
		if left != 1 {
			t.Errorf("%d sessions are left, want 1", left)
		}
		ends[0].Break(net.ErrClosed)
	})
}

func checkSessions(ctx context.Context, d *session.Dialer) {
	for s := range d.Sessions() {
		go func() {
			if _, err := s.Ping(ctx); err != nil {
				s.CloseNow() // calls on its streams fail at once, and new ones go to another session
			}
		}()
	}
}
