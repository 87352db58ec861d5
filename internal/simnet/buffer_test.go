package simnet_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// fill writes until Write has been blocked for a second, and returns the number of bytes.
func fill(t *testing.T, c *simnet.Conn) int {
	t.Helper()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Write(make([]byte, 8<<20))
	testutil.WantErr(t, "Write", err, os.ErrDeadlineExceeded)
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// A writer whose direction is stalled blocks after exactly Buffer bytes.
func TestStalledWriterBlocksAfterItsBuffer(t *testing.T) {
	for _, size := range []int{1, 2, 1000, 4096, 300000} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := pair(t, simnet.Link{Buffer: size})
			a.Out().Stall()
			if n := fill(t, a); n != size {
				t.Errorf("%d bytes were taken, want %d", n, size)
			}
		})
	}
}

// A writer without a reader blocks after the bytes that both buffers and the path hold.
func TestWriterWithoutReaderBlocksAfterBuffersAndPath(t *testing.T) {
	for _, c := range []struct {
		name string
		link simnet.Link
		want int
	}{
		{"defaults", simnet.Link{}, 512 << 10},
		{"small buffers", simnet.Link{Buffer: 10, ReadBuffer: 7}, 17},
		{"a long path holds more", simnet.Link{Rate: 1e6, Delay: 50 * ms, Buffer: 1000, ReadBuffer: 2000}, 53000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := pair(t, c.link)
				if n := fill(t, a); n != c.want {
					t.Errorf("%d bytes were taken, want %d", n, c.want)
				}
			})
		})
	}
}

// A blocked Write returns when its last byte fits into the buffer.
func TestBlockedWriteReturnsWhenItsLastByteFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Rate: 1000, Buffer: 100, Segment: 10})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(100))
		testutil.WantTime(t, "the first Write returned", elapsed(), 0)
		mustWrite(t, a, count(1))
		testutil.WantTime(t, "a Write of one byte returned", elapsed(), 10*ms)
		mustWrite(t, a, count(109)) // the last segments of the earlier Writes are short
		testutil.WantTime(t, "a Write of more than the buffer returned", elapsed(), 110*ms)
		mustRead(t, b, append(append(count(100), count(1)...), count(109)...))
		testutil.WantTime(t, "all arrived", elapsed(), 210*ms)
	})
}

// Bytes in flight do not count against Buffer.
func TestBufferDoesNotCountBytesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, simnet.Link{Rate: 1e6, Delay: time.Hour, Buffer: 1000})
		elapsed := testutil.Clock()
		mustWrite(t, a, count(1e6))
		testutil.WantTime(t, "Write returned", elapsed(), 999*ms)
		got := a.Out().Counters()
		if got.Unsent != 1000 || got.InFlight != 999000 {
			t.Errorf("%+v", got)
		}
	})
}

// Reading makes room for a blocked writer.
func TestReadMakesRoomForABlockedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Buffer: 10, ReadBuffer: 10})
		data := count(1000)
		go func() {
			if _, err := a.Write(data); err != nil {
				t.Error(err)
			}
			a.Close()
		}()
		got := []byte{}
		for {
			synctest.Wait()
			buf := make([]byte, 3)
			n, err := b.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if string(got) != string(data) {
			t.Error("other bytes than were written")
		}
	})
}

// MaxRead bounds each Read.
func TestMaxReadBoundsEachRead(t *testing.T) {
	a, b := pair(t, simnet.Link{MaxRead: 3})
	mustWrite(t, a, count(8))
	for _, want := range []int{3, 3, 2} {
		if n, err := b.Read(make([]byte, 100)); n != want || err != nil {
			t.Errorf("Read = %d, %v, want %d", n, err, want)
		}
	}
	mustWrite(t, a, count(8))
	if n, err := b.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Errorf("Read into 2 bytes = %d, %v", n, err)
	}
}

// A Write of more than MaxWrite bytes is cut short with io.ErrShortWrite.
func TestMaxWriteCutsAWriteShort(t *testing.T) {
	a, b := pair(t, simnet.Link{MaxWrite: 3})
	n, err := a.Write(count(5))
	if n != 3 {
		t.Errorf("%d bytes were taken", n)
	}
	testutil.WantErr(t, "Write", err, io.ErrShortWrite)
	mustRead(t, b, count(3))
	mustWrite(t, a, count(3))
	mustRead(t, b, count(3))
}

// Reads and Writes of no bytes do nothing.
func TestZeroLengthReadsAndWritesDoNothing(t *testing.T) {
	a, b := pair(t, simnet.Link{})
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
}

// The caller may reuse its buffer when Write has returned.
func TestWriteLeavesItsBufferToTheCaller(t *testing.T) {
	a, b := pair(t, simnet.Link{})
	buf := count(100)
	mustWrite(t, a, buf)
	clear(buf)
	mustRead(t, b, count(100))
}

// Concurrent Writes are not mixed.
func TestConcurrentWritesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, size = 8, 1000
		a, b := pair(t, simnet.Link{Rate: 1e6, Buffer: 30, Segment: 7})
		for i := range writers {
			go func() {
				block := make([]byte, size)
				for j := range block {
					block[j] = byte(i)
				}
				if _, err := a.Write(block); err != nil {
					t.Error(err)
				}
			}()
		}
		seen := map[byte]bool{}
		for range writers {
			block := make([]byte, size)
			if _, err := io.ReadFull(b, block); err != nil {
				t.Fatal(err)
			}
			seen[block[0]] = true
			for _, c := range block {
				if c != block[0] {
					t.Fatal("two Writes are mixed")
				}
			}
		}
		if len(seen) != writers {
			t.Errorf("%d of %d Writes came through", len(seen), writers)
		}
	})
}
