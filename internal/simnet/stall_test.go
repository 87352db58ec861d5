package simnet_test

import (
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// Nothing is delivered during a stall.
func TestStallDeliversNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, a, b *simnet.Conn)
	}{
		{"written before, and arrived", func(t *testing.T, a, b *simnet.Conn) {
			mustWrite(t, a, count(5))
			time.Sleep(20 * ms)
			a.Out().Stall()
		}},
		{"written before, and in flight", func(t *testing.T, a, b *simnet.Conn) {
			mustWrite(t, a, count(5))
			a.Out().Stall()
		}},
		{"written during it", func(t *testing.T, a, b *simnet.Conn) {
			a.Out().Stall()
			a.Out().Stall()
			mustWrite(t, a, count(5))
		}},
		{"the end of the stream", func(t *testing.T, a, b *simnet.Conn) {
			a.Out().Stall()
			a.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, simnet.Link{Delay: 10 * ms})
				c.do(t, a, b)
				elapsed := testutil.Clock()
				if err := b.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				n, err := b.Read(make([]byte, 10))
				if n != 0 {
					t.Errorf("Read returned %d bytes", n)
				}
				testutil.WantErr(t, "Read", err, os.ErrDeadlineExceeded)
				testutil.WantTime(t, "Read returned", elapsed(), time.Hour)
			})
		})
	}
}

// A stall of one direction leaves the other open.
func TestStallOfOneDirectionLeavesTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms})
		a.Out().Stall()
		elapsed := testutil.Clock()
		mustWrite(t, b, count(5))
		mustRead(t, a, count(5))
		testutil.WantTime(t, "it arrived", elapsed(), 10*ms)
	})
}

// At the end of a stall bytes that were in flight are there at once. The rest takes its time.
func TestStallEndDeliversWhatWasInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Delay: 100 * ms, Segment: 100})
		mustWrite(t, a, count(300))
		time.Sleep(110 * ms) // 100 bytes are in flight, 100 are being sent
		a.Out().Stall()
		time.Sleep(time.Hour)
		elapsed := testutil.Clock()
		time.AfterFunc(500*ms, b.In().Unstall)
		mustRead(t, b, count(200))
		testutil.WantTime(t, "what was in flight", elapsed(), 500*ms)
		mustRead(t, b, count(300)[200:])
		testutil.WantTime(t, "what was queued", elapsed(), 700*ms)
	})
}

// Bytes that had arrived before a stall are read at once after it.
func TestStallEndLeavesArrivedBytesReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{})
		mustWrite(t, a, count(5))
		a.Out().Stall()
		a.Out().Unstall()
		a.Out().Unstall()
		a.Out().Stall()
		elapsed := testutil.Clock()
		time.AfterFunc(time.Minute, a.Out().Unstall)
		mustRead(t, b, count(5))
		testutil.WantTime(t, "Read returned", elapsed(), time.Minute)
	})
}

// A blocked Write goes on after a stall.
func TestStallEndReleasesABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Buffer: 10})
		a.Out().Stall()
		elapsed := testutil.Clock()
		time.AfterFunc(time.Minute, a.Out().Unstall)
		mustWrite(t, a, count(15))
		testutil.WantTime(t, "Write returned", elapsed(), time.Minute)
		mustRead(t, b, count(15))
	})
}

// A writer learns only after a stall that the reader has closed.
func TestStallDelaysTheNewsOfAClosedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms})
		b.Out().Stall()
		b.Close()
		time.Sleep(time.Hour)
		mustWrite(t, a, count(1)) // and is lost
		a.In().Unstall()
		_, err := a.Write(count(1))
		testutil.WantErr(t, "Write", err, syscall.EPIPE)
		_, err = a.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, io.EOF)
	})
}
