package stream_test

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Large Writes that follow each other.

// writeBulk makes Writes of 32 KiB until the stream takes them for bulk data, and sends them all.
func (f *fake) writeBulk() {
	f.t.Helper()
	for range 10 {
		done := write(f.stream(), make([]byte, 32<<10))
		synctest.Wait()
		f.take(wire.MaxPayload)
		if r := <-done; r.Err != nil {
			f.t.Fatal(r.Err)
		}
	}
	synctest.Wait()
	f.take(wire.MaxPayload)
	f.called()
}

// newBulk returns a fake whose stream carries bulk data. A peer of version 2 has this window.
func newBulk(t *testing.T, v wire.Version, window uint32) *fake {
	t.Helper()
	f := newFake(t, v, true)
	if err := f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	f.writeBulk()
	f.consume(window)
	return f
}

// Of Writes that follow each other at once, the session is told when they fill a batch. It is told of each if there is a
// pause before it, or if the peer's window has no room for a batch, and a millisecond after the last.
func TestBulkWritesAreCollectedToBatches(t *testing.T) {
	for _, c := range []struct {
		name   string
		pause  time.Duration
		window uint32
		want   []string // calls of the session, two for each two Writes
		only   wire.Version
	}{
		{"no pause", 0, 1 << 30, []string{"", "data now", "", "data now"}, 0},
		{"short pauses", 90 * time.Microsecond, 1 << 30, []string{"", "data now", "", "data now"}, 0},
		{"long pauses", 200 * time.Microsecond, 1 << 30, []string{"data soon", "data now", "data soon", "data now"}, 0},
		{"small window", 0, 60_000, []string{"data soon", "data now", "data soon", "data now"}, wire.V2},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				if c.only != 0 && v != c.only {
					return
				}
				f := newBulk(t, v, c.window)
				for i, want := range c.want {
					time.Sleep(c.pause)
					if _, err := f.stream().Write(make([]byte, 32<<10)); err != nil {
						t.Fatal(err)
					}
					calls := f.called()
					if want == "" && len(calls) > 0 || want != "" && !slices.Equal(calls, []string{want}) {
						t.Errorf("Write %d calls %q, want %q", i+1, calls, want)
					}
					if want == "data now" {
						f.take(wire.MaxPayload)
						f.consume(c.window)
					}
				}
				if _, err := f.stream().Write(make([]byte, 32<<10)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if calls := f.called(); !slices.Contains(calls, "data soon") {
					t.Errorf("two milliseconds after the last Write: %q", calls)
				}
				f.core.Abort(net.ErrClosed, stream.AbortBoth)
			})
		})
	}
}

// consume has the peer read all that was sent, and give this window.
func (f *fake) consume(window uint32) {
	f.t.Helper()
	if err := f.core.HandleUpdate(wire.WindowUpdate{Consumed: uint32(f.stream().Stats().BytesSent), Window: window}); err != nil {
		f.t.Fatal(err)
	}
	f.called()
}

// Beside other streams with bulk data, a Write whose data has to wait is sent from the caller's buffer: while somebody
// sends, and while the peer's window has no room. Else it is copied. The end that does not fill a frame always is.
func TestBulkWritesBesideOthersAreNotCopied(t *testing.T) {
	for _, c := range []struct {
		name   string
		others int
		idle   bool // the others have ended their Writes
		busy   bool // somebody sends
		window uint32
		copied bool
		only   wire.Version
	}{
		{"alone", 0, false, true, 1 << 30, true, 0},
		{"beside two", 2, false, true, 1 << 30, true, 0},
		{"beside three", 3, false, true, 1 << 30, false, 0},
		{"beside three that are idle", 3, true, true, 1 << 30, true, 0},
		{"beside three, while nobody sends", 3, false, false, 1 << 30, true, 0},
		{"beside three, small window", 3, false, false, 40_000, false, wire.V2},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				if c.only != 0 && v != c.only {
					return
				}
				f := newBulk(t, v, c.window)
				others := make([]*fake, c.others)
				for i := range others {
					o := &fake{t: t, start: f.start}
					others[i] = o
					o.core.Init(&f.cfg, o, uint32(3+2*i), true)
					if err := o.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30}); err != nil {
						t.Fatal(err)
					}
					o.writeBulk()
				}
				if c.idle {
					time.Sleep(5 * time.Millisecond)
					f.writeBulk()
					f.consume(c.window)
				}
				f.cfg.SetSending(c.busy)
				done := write(f.stream(), make([]byte, 32<<10))
				synctest.Wait()
				if pending := f.core.Pending(); c.copied != (pending >= 32<<10) {
					t.Errorf("%d bytes are copied", pending)
				}
				f.take(wire.MaxPayload)
				if r := <-done; r != (testutil.Result[int64]{Value: 32 << 10}) {
					t.Errorf("Write returns %v", r)
				}
				if pending := f.core.Pending(); !c.copied && (pending == 0 || pending > 8<<10) {
					t.Errorf("%d bytes are held back, want those that fill no frame", pending)
				}
				f.core.Abort(net.ErrClosed, stream.AbortBoth)
				for i := range others {
					others[i].core.Abort(net.ErrClosed, stream.AbortBoth)
				}
			})
		})
	}
}
