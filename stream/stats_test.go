package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Bytes counts beyond the 32 bits of the protocol's counters, in both directions and both versions.
func TestBytesCountBeyond32Bits(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		f := newFake(t, v, true)
		const most = 1<<32 - 1000
		f.core.SkipCounters(most)
		if _, err := f.core.Stream().Write(make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		f.take(10_000)
		f.core.Deliver(make([]byte, 4000), false)
		sent, received := f.core.Bytes()
		if sent != most+3000 || received != most+4000 {
			t.Errorf("version %d: sent %d, received %d bytes, want %d and %d", v, sent, received, int64(most+3000), int64(most+4000))
		}
		if got := f.core.Stream().Stats(); got.BytesSent != sent || got.BytesReceived != received {
			t.Errorf("version %d: Stats = %+v", v, got)
		}
	}
}

// Data that arrives after Close is not counted.
func TestBytesAfterCloseDoNotCount(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		f := newFake(t, v, false)
		f.core.Deliver(make([]byte, 100), false)
		_ = f.core.Stream().Close()
		f.take(1000)
		f.core.Deliver(make([]byte, 100), false)
		if _, received := f.core.Bytes(); received != 100 {
			t.Errorf("version %d: %d bytes received, want 100", v, received)
		}
	}
}

// The first NoteActive says when the stream was opened, the last one when it was active, rounded down to 0.1 s. Ten
// years are not too long.
func TestNoteActiveRoundsDownToTenths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const decade = 10 * 366 * 24 * time.Hour
		f := newFake(t, wire.V2, true)
		if f.core.IsOpened() {
			t.Error("it is opened from the beginning")
		}
		f.core.NoteActive(0)
		if !f.core.IsOpened() {
			t.Error("it is not opened")
		}
		f.core.NoteActive(decade + 1234*time.Millisecond)
		got := f.core.Stream().Stats()
		if opened, active := got.Opened.Sub(f.start), got.LastActive.Sub(f.start); opened != 0 || active != decade+1200*time.Millisecond {
			t.Errorf("opened after %v, active after %v", opened, active)
		}
	})
}

// Outcome says how a stream has ended, and OutcomeErr says it as an error.
func TestOutcomeTellsHowAStreamEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, f *fake)
		want stream.Outcome
		err  error
	}{
		"Close": {func(t *testing.T, f *fake) {
			_, _ = f.core.Stream().Write([]byte("x"))
			_ = f.core.Stream().Close()
			f.take(1000)
		}, stream.OutcomeComplete, nil},
		"both FINs": {func(t *testing.T, f *fake) {
			_ = f.core.Stream().CloseWrite()
			f.take(1000)
			f.core.HandleFIN()
		}, stream.OutcomeComplete, nil},
		"Refuse": {func(t *testing.T, f *fake) {
			f.core.Refuse()
			f.take(1000)
		}, stream.OutcomeRefused, nil},
		"a refusal by the peer": {func(t *testing.T, f *fake) {
			f.core.HandleEmpty()
			f.core.HandleEmpty()
			f.core.HandleFIN()
			f.core.HandleFIN()
			_ = f.core.Stream().Close()
			f.take(1000)
		}, stream.OutcomeRefusedByPeer, stream.ErrRefused},
		"data for a peer that has closed": {func(t *testing.T, f *fake) {
			_, _ = f.core.Stream().Write([]byte("x"))
			f.core.HandleFIN()
			f.core.HandleFIN()
			_ = f.core.Stream().Close()
			f.take(1000)
		}, stream.OutcomeDropped, stream.ErrPeerClosed},
		"FailStalled": {func(t *testing.T, f *fake) {
			f.core.Deliver([]byte("x"), false)
			f.core.FailStalled(f.cfg.NextRound())
			f.take(1000)
		}, stream.OutcomeStalled, stream.ErrStalled},
		"an overrun": {func(t *testing.T, f *fake) {
			f.core.Deliver(make([]byte, 100<<20), false)
			f.take(1000)
		}, stream.OutcomeOverrun, flow.ErrWindow},
		"AbortWrite, then Close": {func(t *testing.T, f *fake) {
			_, _ = f.core.Stream().Write([]byte("x"))
			f.core.Abort(errGone, stream.AbortWrite)
			_ = f.core.Stream().Close()
		}, stream.OutcomeSessionEnded, errGone},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, wire.V2, true)
			c.end(t, f)
			if f.finished != 1 {
				t.Fatalf("Finished was called %d times", f.finished)
			}
			if got, err := f.core.Outcome(), f.core.OutcomeErr(); got != c.want || err != c.err {
				t.Errorf("Outcome = %v, %v, want %v, %v", got, err, c.want, c.err)
			}
			f.core.Abort(errors.New("late"), stream.AbortBoth) // changes nothing
			if got := f.core.Outcome(); got != c.want {
				t.Errorf("Outcome = %v after a late Abort, want %v", got, c.want)
			}
		})
	}
	t.Run("AbortBoth", func(t *testing.T) {
		f := newFake(t, wire.V2, true)
		f.core.Abort(errGone, stream.AbortBoth)
		if got, err := f.core.Outcome(), f.core.OutcomeErr(); got != stream.OutcomeSessionEnded || err != errGone {
			t.Errorf("Outcome = %v, %v", got, err)
		}
	})
}
