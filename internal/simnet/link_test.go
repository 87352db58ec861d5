package simnet_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A byte arrives exactly one Delay after it was written.
func TestByteArrivesAfterTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 100 * ms})
		elapsed := testutil.Clock()
		mustWrite(t, a, []byte{7})
		testutil.WantTime(t, "Write returned", elapsed(), 0)
		mustRead(t, b, []byte{7})
		testutil.WantTime(t, "the byte arrived", elapsed(), 100*ms)
	})
}

// Each byte takes its time on the link.
func TestBytesTakeTheirTimeOnTheLink(t *testing.T) {
	for _, c := range []struct {
		name  string
		link  simnet.Link
		bytes int
		want  time.Duration
	}{
		{"one byte at 1 Gbit/s", simnet.Link{Rate: simnet.Gbit}, 1, 8},
		{"a million bytes at 1 Gbit/s", simnet.Link{Rate: simnet.Gbit}, 1e6, 8e6},
		{"the delay comes on top", simnet.Link{Rate: simnet.Gbit, Delay: 50 * ms}, 1e6, 50*ms + 8e6},
		{"10 Mbit/s", simnet.Link{Rate: 10 * simnet.Mbit}, 1e6, 800 * ms},
		{"rounding does not add up", simnet.Link{Rate: 3, Segment: 1}, 3000, 1000 * time.Second},
		{"the last byte is rounded up", simnet.Link{Rate: 3}, 1, 333333334},
		{"through a small buffer", simnet.Link{Rate: simnet.Mbit, Buffer: 10}, 125000, time.Second},
		{"through a receive buffer of one segment", simnet.Link{Rate: simnet.Mbit, Delay: 30 * ms, ReadBuffer: 250}, 125000, 1030 * ms},
		{"through a buffer of one byte", simnet.Link{Rate: 1000, Buffer: 1}, 1000, time.Second},
		{"in large segments", simnet.Link{Rate: simnet.Mbit, Segment: 1 << 20}, 125000, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, c.link)
				elapsed := testutil.Clock()
				data := count(c.bytes)
				written := make(chan error, 1)
				go func() {
					_, err := a.Write(data)
					written <- err
				}()
				mustRead(t, b, data)
				testutil.WantTime(t, "the last byte arrived", elapsed(), c.want)
				testutil.WantErr(t, "Write", <-written, nil)
			})
		})
	}
}

// A long transfer takes exactly its bytes divided by Rate, plus Delay.
func TestLongTransferTakesBytesByRatePlusDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunk, chunks = 32 << 10, 1024
		a, b := pair(t, simnet.Link{Rate: simnet.Gbit, Delay: 50 * ms})
		elapsed := testutil.Clock()
		go func() {
			data := make([]byte, chunk)
			for range chunks {
				if _, err := a.Write(data); err != nil {
					t.Error(err)
				}
			}
			a.Close()
		}()
		n, err := io.Copy(io.Discard, b)
		if n != chunk*chunks || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		testutil.WantTime(t, "it ended", elapsed(), chunk*chunks*8+50*ms)
	})
}

// Each direction has its own rate and delay.
func TestDirectionsHaveTheirOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.AsymmetricPair(
			simnet.Link{Rate: 1000, Delay: ms},
			simnet.Link{Rate: 10, Delay: 100 * ms},
		)
		defer a.Close()
		defer b.Close()
		elapsed := testutil.Clock()
		mustWrite(t, a, count(10))
		mustWrite(t, b, count(10))
		mustRead(t, b, count(10))
		testutil.WantTime(t, "a to b", elapsed(), 11*ms)
		mustRead(t, a, count(10))
		testutil.WantTime(t, "b to a", elapsed(), 1100*ms)
	})
}

// Writes queue behind each other. An idle link saves nothing up.
func TestWritesQueueBehindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(100))
		time.Sleep(50 * ms)
		mustWrite(t, a, count(100)) // waits for 50 ms more of the first
		mustRead(t, b, count(100))
		testutil.WantTime(t, "the first", elapsed(), 100*ms)
		mustRead(t, b, count(100))
		testutil.WantTime(t, "the second", elapsed(), 200*ms)
		time.Sleep(time.Second) // the link is idle: nothing is saved up
		mustWrite(t, a, count(100))
		mustRead(t, b, count(100))
		testutil.WantTime(t, "the third", elapsed(), 1300*ms)
	})
}

// A slow link delivers what it sends in two milliseconds at a time.
func TestSlowLinkDeliversEveryTwoMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 10 * simnet.Mbit})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(10000))
		buf := make([]byte, 10000)
		for i := range 4 {
			n, err := b.Read(buf)
			if n != 2500 || err != nil {
				t.Fatalf("Read = %d, %v", n, err)
			}
			testutil.WantTime(t, "Read returned", elapsed(), time.Duration(i+1)*2*ms)
		}
	})
}

// A segment arrives as a whole.
func TestSegmentArrivesAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Segment: 100})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(250))
		buf := make([]byte, 1000)
		for _, want := range []struct {
			n  int
			at time.Duration
		}{{100, 100 * ms}, {100, 200 * ms}, {50, 250 * ms}} {
			n, err := b.Read(buf)
			if n != want.n || err != nil {
				t.Fatalf("Read = %d, %v, want %d", n, err, want.n)
			}
			testutil.WantTime(t, "Read returned", elapsed(), want.at)
		}
	})
}

// A link without a rate stops an endless writer after 16 MiB in flight.
func TestEndlessWriterIsStoppedWithoutARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Delay: time.Hour})
		if err := a.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		written := 0
		buf := make([]byte, 1<<20)
		for {
			n, err := a.Write(buf)
			written += n
			if err != nil {
				break
			}
		}
		if want := 16<<20 + 2*256<<10; written != want {
			t.Errorf("%d bytes were written, want %d", written, want)
		}
	})
}

// A link with a negative field panics.
func TestNegativeLinkFieldPanics(t *testing.T) {
	for name, l := range map[string]simnet.Link{
		"rate":        {Rate: -1},
		"delay":       {Delay: -1},
		"buffer":      {Buffer: -1},
		"read buffer": {ReadBuffer: -1},
		"segment":     {Segment: -1},
		"max read":    {MaxRead: -1},
		"max write":   {MaxWrite: -1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			simnet.Pair(l)
		})
	}
}
