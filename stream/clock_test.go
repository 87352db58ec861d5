package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A clocked counts how often its stream reads the clock.
type clocked struct {
	*fake
	reads int
}

func (c *clocked) Now() time.Duration {
	c.reads++
	return c.fake.Now()
}

// A stream that carries little data never reads the clock. Once an update was due, it does.
func TestStreamReadsTheClockOnlyForItsWindow(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		c := &clocked{fake: f}
		f.core = stream.Core{}
		f.core.Init(&f.cfg, c, 1, true)
		f.core.Start()
		s := f.stream()
		exchange := func(n int) {
			t.Helper()
			for range n {
				f.deliver(make([]byte, 1000))
				if got, err := s.Read(make([]byte, 1000)); got != 1000 || err != nil {
					t.Fatalf("Read = %d, %v", got, err)
				}
				s.Write([]byte("answer"))
				f.take(1 << 20)
			}
		}
		exchange(10)
		if c.reads != 0 {
			t.Errorf("read %d times after 10,000 bytes", c.reads)
		}
		exchange(90)
		if got, want := c.reads > 0, v == wire.V2; got != want {
			t.Errorf("after 100,000 bytes the clock was read: %v, want %v", got, want)
		}
		c.reads = 0
		s.Close()
		if got, want := c.reads > 0, v == wire.V2; got != want {
			t.Errorf("Close read the clock: %v, want %v", got, want)
		}
	})
}

// A Read that waits flushes what was queued with less urgency than SendNow, and nothing else.
func TestReadFlushesWhatIsNotBeingSent(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		s := f.stream()
		flushes := func() (n int) {
			t.Helper()
			reading := testutil.Background(func() (int, error) { return s.Read(make([]byte, 10)) })
			defer func() {
				f.deliver([]byte("x"))
				<-reading
			}()
			synctest.Wait()
			for _, call := range f.called() {
				if call == "flush" {
					n++
				}
			}
			return n
		}
		if n := flushes(); n != 1 {
			t.Errorf("after OpenStream: flushed %d times", n)
		}
		f.take(1 << 20)
		s.Write([]byte("now"))
		if n := flushes(); n != 0 {
			t.Errorf("after the first Write: flushed %d times", n)
		}
		f.take(1 << 20)
		s.Write([]byte("now"))
		s.Write([]byte("soon"))
		f.take(1 << 20)
		s.Write([]byte("soon"))
		if n := flushes(); n != 1 {
			t.Errorf("after the second Write: flushed %d times", n)
		}
	})
}
