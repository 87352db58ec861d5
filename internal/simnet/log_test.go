package simnet_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/smuxkit/smuxkit/internal/simnet"
)

// Counters tell where the bytes are, the same at both ends.
func TestCountersTellWhereTheBytesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Delay: 100 * ms, Segment: 100})
		mustWrite(t, a, count(200))
		mustWrite(t, a, count(200))
		time.Sleep(200 * ms)
		if _, err := b.Read(make([]byte, 30)); err != nil {
			t.Fatal(err)
		}
		want := simnet.Counters{
			Writes: 2, Reads: 1,
			Written: 400, Delivered: 100, Read: 30,
			Unsent: 200, InFlight: 100, Unread: 70,
		}
		if diff := cmp.Diff(want, a.Out().Counters()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want, b.In().Counters()); diff != "" {
			t.Errorf("both ends see the same direction (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(simnet.Counters{}, b.Out().Counters()); diff != "" {
			t.Errorf("the other direction (-want +got)\n%s", diff)
		}
	})
}

// Log gets each event with its exact time.
func TestLogGetsEachEventWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		record := func(e simnet.Event) { got = append(got, e.String()) }
		a, b := pair(t, simnet.Link{Rate: 1000, Delay: 10 * ms, Segment: 5, Log: record})
		mustWrite(t, a, count(8))
		time.Sleep(time.Second) // no call is made in the meantime
		mustRead(t, b, count(8))
		a.Out().Stall()
		mustWrite(t, a, count(1))
		time.Sleep(time.Second)
		a.Out().Unstall()
		time.Sleep(time.Second)
		a.Close()
		time.Sleep(time.Second)
		b.Break(fmt.Errorf("pulled"))
		want := []string{
			"0s a>b write 8",
			"15ms a>b deliver 5",
			"18ms a>b deliver 3",
			"1s a>b read 8",
			"1s a>b stall 0",
			"1s a>b write 1",
			"2s a>b unstall 0",
			"2.011s a>b deliver 1",
			"3s a>b close 0",
			"3.01s a>b eof 0",
			"4s b>a cut 0: pulled",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
