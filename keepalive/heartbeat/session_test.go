package heartbeat_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/keepalive/heartbeat"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// sessions starts both ends of a session over a simulated link, and closes them when the test ends.
func sessions(t *testing.T, link simnet.Link, version int) (client, server *session.Session) {
	t.Helper()
	a, b := testutil.SimPair(t, link)
	cfg := &session.Config{Version: version, KeepAlive: ka.Off{}}
	client, err := session.Client(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err = session.Server(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.CloseNow(), server.CloseNow() })
	return client, server
}

// pair opens a stream at a and accepts it at b.
func pair(t *testing.T, a, b *session.Session) (opened, accepted *stream.Stream) {
	t.Helper()
	opened, err := a.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = b.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// eachVersion runs test in a bubble for both versions.
func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			bubble(t, func(t *testing.T) { test(t, version) })
		})
	}
}

// A heartbeat over a stream, and one over Session.Ping, report the round trip of the link.
func TestHeartbeatOverASession(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, simnet.Link{Delay: 40 * ms}, version)
		out, in := pair(t, c, s)
		var served sync.WaitGroup
		served.Go(func() {
			if err := heartbeat.Serve(in); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
		beats, pings := newRecord(), newRecord()
		h := start(t, out, heartbeat.Config{OnBeat: beats.onBeat})
		p, err := heartbeat.StartPinger(c, heartbeat.Config{OnBeat: pings.onBeat})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		beats.want(t, "80ms: 80ms", "10.08s: 80ms")
		pings.want(t, "80ms: 80ms", "10.08s: 80ms")
		_ = h.Close()
		served.Wait() // the stream's close has ended it

		// The end of the session is reported at once: here after half a round trip for each side, and a millisecond for FIN.
		_ = s.CloseNow()
		<-p.Done()
		testutil.WantErr(t, "Err", p.Err(), io.EOF)
		pings.want(t, "15.081s: "+p.Err().Error())
	})
}

// A peer that does not answer pings is reported, and the session goes on.
func TestHeartbeatOverASessionOfAnotherKind(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{})
		c, err := session.Client(a, &session.Config{Version: version, KeepAlive: ka.Off{}})
		if err != nil {
			t.Fatal(err)
		}
		var read sync.WaitGroup
		read.Go(func() { _, _ = io.Copy(io.Discard, b) })
		l := newRecord()
		h, err := heartbeat.StartPinger(c, heartbeat.Config{Interval: 10 * s, Tolerance: 4 * s, OnBeat: l.onBeat})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		l.want(t, "4s: heartbeat: no answer within 4s", "14s: heartbeat: no answer within 4s")
		_ = h.Close()
		<-h.Done()
		if err := c.Err(); err != nil {
			t.Error(err)
		}
		_ = c.CloseNow()
		read.Wait()
	})
}

// Under bulk load in both directions, each round trip is that of the path: the delay, and what the transport itself
// holds in each direction. The data that the session and its windows hold does not count.
func TestHeartbeatTellsTheTruthUnderLoad(t *testing.T) {
	const (
		rate   = 1_000_000
		delay  = 20 * ms
		buffer = 32 << 10
		batch  = 64 << 10 // what the session hands to the transport at once
	)
	eachVersion(t, func(t *testing.T, version int) {
		link := simnet.Link{Rate: rate, Delay: delay, Buffer: buffer, ReadBuffer: buffer}
		c, s := sessions(t, link, version)
		var over sync.WaitGroup
		for range 4 {
			a, b := pair(t, c, s)
			for _, way := range [][2]*stream.Stream{{a, b}, {b, a}} {
				over.Go(func() {
					for err := error(nil); err == nil; {
						_, err = way[0].Write(make([]byte, 256<<10))
					}
				})
				over.Go(func() { _, _ = io.Copy(io.Discard, way[1]) })
			}
		}
		out, in := pair(t, c, s)
		over.Go(func() { _ = heartbeat.Serve(in) })
		var mu sync.Mutex
		var rtts []time.Duration
		onBeat := func(rtt time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			if rtts = append(rtts, rtt); err != nil {
				t.Error(err)
			}
		}
		cfg := heartbeat.Config{Interval: 100 * ms, OnBeat: onBeat}
		h := start(t, out, cfg)
		p, err := heartbeat.StartPinger(c, cfg)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		if len(rtts) < 20 {
			t.Errorf("%d beats in 5 s", len(rtts))
		}
		// In each direction, a beat may wait for the transport's buffers and for two batches.
		const most = 2 * (delay + (2*buffer+2*batch)*time.Second/rate)
		for _, rtt := range rtts {
			if rtt < 2*delay || rtt > most {
				t.Errorf("a round trip of %v, want from %v to %v", rtt, 2*delay, most)
			}
		}
		t.Logf("%d round trips, smoothed %v over a stream and %v over Ping", len(rtts), h.Stats().SmoothedRTT, p.Stats().SmoothedRTT)
		mu.Unlock()
		_, _ = h.Close(), p.Close()
		<-p.Done()
		_, _ = c.CloseNow(), s.CloseNow()
		over.Wait()
	})
}

// A far end that hangs is reported at most Interval and Tolerance later, whatever the network does.
func TestHungPeerIsReportedInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, s := sessions(t, simnet.Link{Delay: ms}, 2)
		out, in := pair(t, c, s)
		stop := make(chan struct{})
		var over sync.WaitGroup
		over.Go(func() { // serves until it hangs
			var b [8]byte
			for {
				if _, err := io.ReadFull(in, b[:]); err != nil {
					return
				}
				select {
				case <-stop:
					<-t.Context().Done()
					return
				default:
				}
				_, _ = in.Write(b[:])
			}
		})
		failed := make(chan error, 1)
		start(t, out, heartbeat.Config{Interval: 5 * time.Second, Tolerance: 2 * time.Second, OnBeat: func(_ time.Duration, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		}})
		time.Sleep(101 * time.Second)
		elapsed := testutil.Clock()
		close(stop)
		testutil.WantErr(t, "OnBeat", <-failed, heartbeat.ErrUnanswered)
		if d := elapsed(); d > 7*time.Second {
			t.Errorf("it was reported after %v", d)
		}
		_ = in.Close()
		_, _ = c.CloseNow(), s.CloseNow()
	})
}

var _ heartbeat.Pinger = (*session.Session)(nil)

// pinger is a function that implements heartbeat.Pinger.
type pinger func(ctx context.Context) (time.Duration, error)

func (p pinger) Ping(ctx context.Context) (time.Duration, error) { return p(ctx) }

// A Pinger of the application's, without a method Done, is called each Interval, with a context that ends after
// Tolerance, or with the heartbeat.
func TestPingerOfTheApplication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newRecord()
		n := 0
		var last error
		h, err := heartbeat.StartPinger(pinger(func(ctx context.Context) (time.Duration, error) {
			n++
			switch {
			case n%2 == 1:
				return time.Duration(n) * ms, nil
			default:
				<-ctx.Done()
				last = context.Cause(ctx)
				return 0, ctx.Err()
			}
		}), heartbeat.Config{Interval: 3 * s, Tolerance: s, OnBeat: l.onBeat})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9500 * ms)
		l.want(t, "0s: 1ms", "4s: heartbeat: no answer within 1s", "6s: 3ms")
		if st := h.Stats(); st.MinRTT != ms || st.RTT != 3*ms || st.SmoothedRTT != ms+ms/4 {
			t.Errorf("Stats = %+v", st)
		}
		_ = h.Close()
		<-h.Done()
		testutil.WantErr(t, "the cause", last, context.Canceled)
	})
}
