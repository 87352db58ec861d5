package simnet_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A cut delivers exactly After bytes, and then both sides fail.
func TestCutDeliversExactlyItsBytes(t *testing.T) {
	const size = 12
	lost := errors.New("lost")
	for _, c := range []struct {
		name            string
		err             error
		read, writeFail error
	}{
		{"clean", nil, io.EOF, syscall.EPIPE},
		{"reset", syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
		{"an error of the test's own", lost, lost, lost},
	} {
		for name, link := range map[string]simnet.Link{
			"at once":           {},
			"delayed":           {Delay: 30 * ms},
			"rated":             {Rate: 1000, Delay: 30 * ms, Segment: 5},
			"with short reads":  {MaxRead: 2},
			"with tiny buffers": {Buffer: 1, ReadBuffer: 1, Rate: 10},
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				for after := range int64(size) {
					synctest.Test(t, func(t *testing.T) {
						a, b := pair(t, link)
						a.Out().Cut(simnet.Cut{After: after, Err: c.err})
						written := make(chan error, 1)
						go func() {
							_, err := a.Write(count(3 * size))
							written <- err
						}()
						got := 0
						buf := make([]byte, size)
						for {
							n, err := b.Read(buf)
							got += n
							if err != nil {
								testutil.WantErr(t, "b's Read", err, c.read)
								break
							}
						}
						if got != int(after) {
							t.Errorf("cut after %d: %d bytes were read", after, got)
						}
						if err := <-written; err != nil { // Write was blocked, or came too late
							testutil.WantErr(t, "a's Write", err, c.writeFail)
						}
						_, err := a.Write(buf)
						testutil.WantErr(t, "a's next Write", err, c.writeFail)
						_, err = a.Read(buf)
						testutil.WantErr(t, "a's Read", err, c.read)
						_, err = b.Write(buf)
						testutil.WantErr(t, "b's Write", err, c.writeFail)
					})
				}
			})
		}
	}
}

// A cut happens when its last byte arrives.
func TestCutHappensWhenItsLastByteArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Delay: 100 * ms, Segment: 50})
		a.Out().Cut(simnet.Cut{After: 70})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(200))
		_, err := a.Read(make([]byte, 1)) // blocked on the other direction
		testutil.WantErr(t, "a's Read", err, io.EOF)
		testutil.WantTime(t, "the cut came", elapsed(), 170*ms)
		mustRead(t, b, count(70))
		testutil.WantTime(t, "b read on", elapsed(), 170*ms)
		_, err = b.Read(make([]byte, 1))
		testutil.WantErr(t, "b's Read", err, io.EOF)
	})
}

// A cut ends all blocked calls at once.
func TestCutEndsAllBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms, Buffer: 10})
		a.Out().Stall()
		b.Out().Stall()
		results := make(chan error, 4)
		for _, c := range []*simnet.Conn{a, b} {
			go func() {
				_, err := c.Read(make([]byte, 1))
				results <- err
			}()
			go func() {
				_, err := c.Write(make([]byte, 100))
				results <- err
			}()
		}
		synctest.Wait()
		elapsed := testutil.Clock()
		a.Break(syscall.ECONNRESET)
		for range 4 {
			testutil.WantErr(t, "a blocked call", <-results, syscall.ECONNRESET)
		}
		testutil.WantTime(t, "they returned", elapsed(), 0)
	})
}

// A cut loses bytes in flight in the other direction.
func TestCutLosesBytesInFlightTheOtherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 100 * ms})
		mustWrite(t, b, count(3))
		time.Sleep(50 * ms)
		mustWrite(t, b, count(4))
		time.Sleep(50 * ms)
		b.Break(nil)
		mustRead(t, a, count(3)) // had arrived
		_, err := a.Read(make([]byte, 10))
		testutil.WantErr(t, "a's Read", err, io.EOF)
	})
}

// A cut of one direction leaves the other open.
func TestCutOfOneDirectionLeavesTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{})
		a.Out().Cut(simnet.Cut{After: 3, Err: syscall.ECONNRESET, OneWay: true})
		mustWrite(t, a, count(5))
		mustRead(t, b, count(3))
		_, err := b.Read(make([]byte, 1))
		testutil.WantErr(t, "b's Read", err, syscall.ECONNRESET)
		_, err = a.Write(count(1))
		testutil.WantErr(t, "a's Write", err, syscall.ECONNRESET)
		mustWrite(t, b, count(5))
		mustRead(t, a, count(5))
		a.Close()
		_, err = b.Write(count(1))
		testutil.WantErr(t, "b's Write after a closed", err, syscall.EPIPE)
	})
}

// A cut after a byte that has arrived already happens at once.
func TestCutAtAPassedByteHappensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms})
		mustWrite(t, a, count(5))
		time.Sleep(10 * ms)
		mustWrite(t, a, count(5))
		a.Out().Cut(simnet.Cut{After: 2})
		got, err := io.ReadAll(b)
		if len(got) != 5 || err != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// A cut after a byte that is in flight is exact.
func TestCutOfBytesInFlightIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: 10 * ms})
		mustWrite(t, a, count(100))
		a.Out().Cut(simnet.Cut{After: 50})
		a.Out().Cut(simnet.Cut{After: 42}) // the last one counts
		got, err := io.ReadAll(b)
		if len(got) != 42 || err != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// A cut waits for the end of a stall.
func TestCutWaitsForTheEndOfAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{})
		a.Out().Cut(simnet.Cut{After: 1})
		a.Out().Stall()
		mustWrite(t, a, count(2))
		time.Sleep(time.Hour)
		mustWrite(t, b, count(1)) // nothing is broken yet
		elapsed := testutil.Clock()
		time.AfterFunc(time.Hour, a.Out().Unstall)
		mustRead(t, b, count(1))
		testutil.WantTime(t, "the byte arrived", elapsed(), time.Hour)
		_, err := b.Write(count(1))
		testutil.WantErr(t, "Write", err, syscall.EPIPE)
	})
}

// A closed end still reports net.ErrClosed after a break.
func TestClosedEndStaysClosedAfterABreak(t *testing.T) {
	a, b := pair(t, simnet.Link{})
	a.Close()
	b.Break(syscall.ECONNRESET)
	_, err := a.Read(make([]byte, 1))
	testutil.WantErr(t, "Read", err, net.ErrClosed)
	_, err = a.Write(count(1))
	testutil.WantErr(t, "Write", err, net.ErrClosed)
}
