package simnet_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// With any link, stalls and deadlines all bytes arrive in order, and the counters add up.
func TestRandomCallsKeepOrderAndCounters(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				pick := func(of ...int) int { return of[rng.IntN(len(of))] }
				link := simnet.Link{
					Rate:       int64(pick(0, 1000, 1e6, simnet.Gbit)),
					Delay:      time.Duration(pick(0, 1, 1e6, 1e8)),
					Buffer:     pick(0, 1, 100, 5000),
					ReadBuffer: pick(0, 1, 100, 5000),
					Segment:    pick(0, 1, 33, 1500),
					MaxRead:    pick(0, 1, 1000),
				}
				last := time.Duration(0)
				link.Log = func(e simnet.Event) {
					if e.At < last {
						t.Errorf("%v is logged after %v", e, last)
					}
					last = e.At
				}
				a, b := pair(t, link)
				data := count(3000)

				var done sync.WaitGroup
				defer done.Wait()
				done.Go(func() { // the disturbance
					rng := rand.New(rand.NewPCG(seed, 2))
					for range 20 {
						time.Sleep(time.Duration(rng.Int64N(int64(100 * ms))))
						a.Out().Stall()
						time.Sleep(time.Duration(rng.Int64N(int64(100 * ms))))
						a.Out().Unstall()
					}
				})
				done.Go(func() { // the writer, often interrupted
					rng := rand.New(rand.NewPCG(seed, 3))
					rest := data
					for len(rest) > 0 {
						_ = a.SetWriteDeadline(time.Now().Add(time.Duration(rng.Int64N(int64(50*ms)) + 1)))
						n, _ := a.Write(rest[:min(len(rest), 1+rng.IntN(3000))])
						rest = rest[n:]
					}
					a.Close()
				})
				got, err := io.ReadAll(b)
				if err != nil || string(got) != string(data) {
					t.Errorf("%d of %d bytes came, or others, with %v", len(got), len(data), err)
				}
				c := a.Out().Counters()
				if c.Written != 3000 || c.Delivered != 3000 || c.Read != 3000 || c.Unsent+c.InFlight+c.Unread != 0 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}
