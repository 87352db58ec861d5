package simnet_test

import (
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A blocked Read ends at its deadline, also when that is moved.
func TestBlockedReadEndsAtItsDeadline(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(a *simnet.Conn, start time.Time)
		want time.Duration
	}{
		{"set before", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(time.Second))
		}, time.Second},
		{"set for both", func(a *simnet.Conn, start time.Time) {
			_ = a.SetDeadline(start.Add(time.Second))
		}, time.Second},
		{"in the past", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(-time.Second))
		}, 0},
		{"at this moment", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start)
		}, 0},
		{"without a monotonic reading", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(time.Second).Round(0))
		}, time.Second},
		{"set while blocked", func(a *simnet.Conn, start time.Time) {
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(start.Add(3 * time.Second)) })
		}, 3 * time.Second},
		{"set to the past while blocked", func(a *simnet.Conn, start time.Time) {
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Unix(1, 0)) })
		}, time.Second},
		{"moved closer", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(time.Hour))
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(start.Add(2 * time.Second)) })
		}, 2 * time.Second},
		{"moved away", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(2 * time.Second))
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(start.Add(time.Hour)) })
		}, time.Hour},
		{"taken away and set again", func(a *simnet.Conn, start time.Time) {
			_ = a.SetReadDeadline(start.Add(2 * time.Second))
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Time{}) })
			time.AfterFunc(time.Hour, func() { _ = a.SetReadDeadline(time.Unix(1, 0)) })
		}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, simnet.Link{})
				elapsed := testutil.Clock()
				c.set(a, time.Now())
				for range 2 { // the deadline stays
					n, err := a.Read(make([]byte, 1))
					if n != 0 {
						t.Errorf("Read = %d", n)
					}
					testutil.WantErr(t, "Read", err, os.ErrDeadlineExceeded)
					testutil.WantTime(t, "Read returned", elapsed(), c.want)
				}
				_ = a.SetReadDeadline(time.Time{})
				mustWrite(t, b, count(1))
				mustRead(t, a, count(1))
			})
		})
	}
}

// A blocked Write ends at its deadline and counts what the peer gets.
func TestBlockedWriteEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Buffer: 100, Segment: 1})
		elapsed := testutil.Clock()
		if err := a.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		data := count(5000)
		n, err := a.Write(data)
		testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
		testutil.WantTime(t, "Write returned", elapsed(), time.Second)
		if n < 1000 || n > 1100 {
			t.Errorf("%d bytes were taken", n)
		}
		_, err = a.Write(data)
		testutil.WantErr(t, "Write again", err, os.ErrDeadlineExceeded)
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, a, []byte("end"))
		mustRead(t, b, append(data[:n:n], "end"...))
	})
}

// Deadlines end blocked calls on one processor, too: the timer does not keep the call that it has woken from running.
func TestDeadlineEndsCallsOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Buffer: 1})
		a.Out().Stall()
		for range 300 {
			elapsed := testutil.Clock()
			_ = a.SetReadDeadline(time.Now().Add(20 * ms))
			_, err := a.Read(make([]byte, 1))
			testutil.WantErr(t, "Read", err, os.ErrDeadlineExceeded)
			_ = a.SetWriteDeadline(time.Now().Add(20 * ms))
			_, err = a.Write(make([]byte, 2))
			testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
			testutil.WantTime(t, "both ended", elapsed(), 40*ms)
		}
	})
}

// A deadline in the past ends a blocked Write at once.
func TestDeadlineInThePastEndsABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Buffer: 10})
		a.Out().Stall()
		elapsed := testutil.Clock()
		time.AfterFunc(time.Second, func() { _ = a.SetWriteDeadline(time.Unix(1, 0)) })
		n, err := a.Write(count(11))
		if n != 10 {
			t.Errorf("Write = %d", n)
		}
		testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
		testutil.WantTime(t, "Write returned", elapsed(), time.Second)
	})
}

// A deadline affects neither the other direction nor the other end.
func TestDeadlineConcernsItsDirectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{})
		past := time.Unix(1, 0)
		_ = a.SetReadDeadline(past)
		mustWrite(t, a, count(3))
		mustRead(t, b, count(3))
		_ = a.SetReadDeadline(time.Time{})
		_ = a.SetWriteDeadline(past)
		mustWrite(t, b, count(3))
		mustRead(t, a, count(3))
	})
}

// A deadline wins over bytes that arrive at the same moment.
func TestDeadlineWinsOverBytesOfTheSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: time.Second})
		mustWrite(t, a, count(1))
		_ = b.SetReadDeadline(time.Now().Add(time.Second))
		_, err := b.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, os.ErrDeadlineExceeded)
		_ = b.SetReadDeadline(time.Time{})
		mustRead(t, b, count(1))
	})
}

// A deadline ends Writes that wait for another Write.
func TestDeadlineEndsWritersInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Buffer: 10})
		a.Out().Stall()
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		elapsed := testutil.Clock()
		results := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := a.Write(count(100))
				results <- err
			}()
		}
		for range 3 {
			testutil.WantErr(t, "Write", <-results, os.ErrDeadlineExceeded)
		}
		testutil.WantTime(t, "they returned", elapsed(), time.Second)
	})
}

// A pair passes nettest.
func TestPairPassesNettest(t *testing.T) {
	for name, link := range map[string]simnet.Link{
		"fast":  {},
		"tight": {Rate: simnet.Gbit, Delay: ms / 10, Buffer: 20000, ReadBuffer: 10000, MaxRead: 7000},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b := simnet.Pair(link)
				return a, b, func() { a.Close(); b.Close() }, nil
			})
		})
	}
}
