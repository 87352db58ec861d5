package stream_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// FailStalled closes a stream only if it is stalled: it held data when a round began, and its reader has taken
// nothing since.
func TestFailStalledClosesStalledStreamsOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		before string // what came before the round
		during func(f *fake)
		want   int // bytes
	}{
		"nothing happens":           {"unread", func(*fake) {}, 6},
		"more comes":                {"unread", func(f *fake) { f.deliver([]byte(", more")) }, 12},
		"a part is read":            {"unread", func(f *fake) { _, _ = f.stream().Read(make([]byte, 1)) }, 0},
		"a part is copied":          {"unread", func(f *fake) { _, _ = f.stream().WriteTo(failing{}); f.deliver([]byte("x")) }, 0},
		"it was empty":              {"", func(f *fake) { f.deliver([]byte("unread")) }, 0},
		"it was empty, and is lent": {"", func(f *fake) { f.core.Commit(copy(f.core.Reserve(6, false), "unread")) }, 0},
		"it is empty":               {"", func(*fake) {}, 0},
		"it is read to its end":     {"unread", func(f *fake) { _, _ = io.ReadFull(f.stream(), make([]byte, 6)) }, 0},
		"it is closed":              {"unread", func(f *fake) { _ = f.stream().Close() }, 0},
		"it is closed for reading":  {"unread", func(f *fake) { _ = f.stream().CloseRead() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, false)
				f.cfg.NextRound()
				f.deliver([]byte(tt.before))
				round := f.cfg.NextRound()
				tt.during(f)
				if n := f.core.Stalled(round); n != tt.want {
					t.Errorf("%d bytes are stalled, want %d", n, tt.want)
				}
				if n := f.core.FailStalled(round); n != tt.want {
					t.Errorf("%d bytes were thrown away, want %d", n, tt.want)
				}
				if n := f.core.FailStalled(round); n != 0 {
					t.Errorf("Fail again: %d bytes were thrown away", n)
				}
				_, err := f.stream().Write([]byte("x"))
				switch {
				case tt.want > 0:
					wantOpErr(t, "Write", err, stream.ErrStalled)
					_, err = f.stream().Read(make([]byte, 1))
					wantOpErr(t, "Read", err, stream.ErrStalled)
					if n := f.budget.Used(); n != 0 {
						t.Errorf("%d bytes are charged", n)
					}
				case name == "it is closed":
					wantOpErr(t, "Write", err, net.ErrClosed)
				case err != nil:
					t.Errorf("Write: %v", err)
				}
			})
		})
	}
}

// failing is a writer that fails.
type failing struct{}

func (failing) Write(p []byte) (int, error) { return 0, bytes.ErrTooLarge }
