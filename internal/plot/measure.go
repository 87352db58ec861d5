package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/session"
)

const (
	linkRate  = 100 * simnet.Mbit
	roundTrip = 20 * time.Millisecond

	// The peer has this much to send in each period.
	period  = 1500 * time.Millisecond
	message = 6_000_000

	runTime = 3 * period
	binTime = 50 * time.Millisecond
)

var (
	unlimited = flow.Rate{}
	limit     = flow.Rate{BytesPerSecond: 4e6, Burst: 1e6}
)

// received returns the MB/s that a session with this ReceiveRate reads from its transport in each bin.
func received(t *testing.T, rate flow.Rate) []float64 {
	var mu sync.Mutex
	bins := make([]float64, runTime/binTime)
	count := func(e simnet.Event) {
		if bin := int(e.At / binTime); e.Op == simnet.OpRead && bin < len(bins) {
			mu.Lock()
			defer mu.Unlock()
			bins[bin] += float64(e.N) / binTime.Seconds() / 1e6
		}
	}
	there := simnet.Link{Rate: linkRate, Delay: roundTrip / 2, Log: count}
	back := simnet.Link{Rate: linkRate, Delay: roundTrip / 2}
	a, b := simnet.AsymmetricPair(there, back)
	peer, err := session.Client(a, &session.Config{Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Server(b, &session.Config{Version: 2, ReceiveRate: rate})
	if err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.Close()
	defer peer.Close()
	out, err := peer.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		// The period does not depend on when earlier data was taken.
		due := time.NewTicker(period)
		defer due.Stop()
		for range runTime / period {
			if _, err := out.Write(make([]byte, message)); err != nil {
				return // the run is over
			}
			<-due.C
		}
	})
	wg.Go(func() {
		in, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		buf := make([]byte, 64<<10)
		for err == nil {
			_, err = in.Read(buf)
		}
	})
	time.Sleep(runTime)
	mu.Lock()
	defer mu.Unlock()
	return append([]float64(nil), bins...)
}
