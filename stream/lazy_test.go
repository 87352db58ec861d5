package stream_test

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/wire"
)

// What WriteLazily has written shares a frame with the next Write, which is sent as without it.
func TestWriteLazilySharesAFrameWithTheNextWrite(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		for _, size := range []int{100, 20_000} {
			f := newFake(t, v, true)
			s := f.stream()
			if n, err := s.WriteLazily([]byte("header")); n != 6 || err != nil {
				t.Fatalf("WriteLazily = %d, %v", n, err)
			}
			if diff := cmp.Diff([]string{"data lazily"}, f.called()); diff != "" {
				t.Errorf("calls of the link (-want +got)\n%s", diff)
			}
			written := write(s, testutil.Pattern(1).Bytes(size))
			for {
				if calls := f.called(); len(calls) > 0 {
					if diff := cmp.Diff([]string{"data now"}, calls); diff != "" {
						t.Errorf("calls of the link (-want +got)\n%s", diff)
					}
					break
				}
				time.Sleep(time.Millisecond)
			}
			got := f.take(1 << 16)
			if diff := cmp.Diff([]wire.Command{wire.SYN, wire.PSH}, commands(got)); diff != "" {
				t.Errorf("frames (-want +got)\n%s", diff)
			}
			if want := "header" + string(testutil.Pattern(1).Bytes(size)); string(payload(got)) != want {
				t.Errorf("sent %d other bytes, want %d", len(payload(got)), len(want))
			}
			testutil.WantErr(t, "Write", (<-written).Err, nil)
		}
	})
}

// A Read that waits, and CloseWrite, send what WriteLazily has written.
func TestWriteLazilyIsSentBeforeAReadWaits(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		s.WriteLazily([]byte("header"))
		f.called()
		read := testutil.Background(func() (int, error) { return s.Read(make([]byte, 1)) })
		time.Sleep(time.Millisecond)
		if diff := cmp.Diff([]string{"flush"}, f.called()); diff != "" {
			t.Errorf("calls of the link (-want +got)\n%s", diff)
		}
		f.take(1000)
		f.deliver([]byte("x"))
		testutil.WantErr(t, "Read", (<-read).Err, nil)
		s.WriteLazily([]byte("trailer"))
		s.CloseWrite()
		if got := f.take(1000); string(payload(got)) != "trailer" || got[len(got)-1].Command != wire.FIN && v == wire.V1 {
			t.Errorf("sent %v", got)
		}
	})
}

// After a Write, WriteLazily does not delay the Writes that follow.
func TestWriteLazilyAfterAWriteIsSentSoon(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		s.Write([]byte("one"))
		f.take(1000)
		f.called()
		s.WriteLazily([]byte("two"))
		if diff := cmp.Diff([]string{"data soon"}, f.called()); diff != "" {
			t.Errorf("calls of the link (-want +got)\n%s", diff)
		}
	})
}

// WriteLazily writes what there is room for, and says that the rest is missing. It never blocks.
func TestWriteLazilyWritesWhatThereIsRoomFor(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		n, err := f.stream().WriteLazily(make([]byte, 100_000))
		if n != 100_000 || err != nil {
			t.Errorf("WriteLazily = %d, %v, want all", n, err)
		}
		n, err = f.stream().WriteLazily(make([]byte, 100_000))
		if n == 0 || n == 100_000 || err != io.ErrShortWrite {
			t.Errorf("WriteLazily = %d, %v, want a part and io.ErrShortWrite", n, err)
		}

		f = newFake(t, v, false)
		f.cfg.SendBudget = flow.NewAccount(600) // less than a buffer for 1,000 bytes takes
		n, err = f.stream().WriteLazily(make([]byte, 1000))
		if n != 0 || err != io.ErrShortWrite {
			t.Errorf("WriteLazily = %d, %v with a small SendBudget", n, err)
		}

		f = newFake(t, v, false)
		f.stream().SetSendRate(flow.Rate{BytesPerSecond: 1000})
		n, err = f.stream().WriteLazily(make([]byte, 10))
		if n != 0 || err != io.ErrShortWrite {
			t.Errorf("WriteLazily = %d, %v with a rate limit", n, err)
		}

		f = newFake(t, v, false)
		written := write(f.stream(), make([]byte, 500_000))
		time.Sleep(time.Millisecond)
		n, err = f.stream().WriteLazily(make([]byte, 10))
		if n != 0 || err != io.ErrShortWrite {
			t.Errorf("WriteLazily = %d, %v during a Write", n, err)
		}
		f.stream().Close()
		<-written
	})
}

// WriteLazily fails as Write does.
func TestWriteLazilyFailsAsWriteDoes(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		s.SetWriteDeadline(time.Unix(1, 0))
		_, err := s.WriteLazily([]byte("x"))
		wantOpErr(t, "WriteLazily at the deadline", err, os.ErrDeadlineExceeded)
		s.Close()
		_, err = s.WriteLazily([]byte("x"))
		wantOpErr(t, "WriteLazily after Close", err, net.ErrClosed)
	})
}
