package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Data too far beyond the window closes the stream, whichever way it is delivered.
func TestStreamClosesWhenItsWindowIsOverrun(t *testing.T) {
	for name, tt := range map[string]struct {
		unread  bool // there is some
		reading bool // a Read waits
		deliver func(f *fake, n int) stream.Delivery
	}{
		"copied": {true, false, func(f *fake, n int) stream.Delivery {
			return f.core.Deliver(make([]byte, n), false)
		}},
		"copied to a Read": {false, true, func(f *fake, n int) stream.Delivery {
			return f.core.Deliver(make([]byte, n), false)
		}},
		"read into the queue": {true, false, func(f *fake, n int) stream.Delivery {
			return f.core.Commit(len(f.core.Reserve(n, false)))
		}},
		"read into a new queue": {false, false, func(f *fake, n int) stream.Delivery {
			return f.core.Commit(len(f.core.Reserve(n, false)))
		}},
		"read into a Read": {false, true, func(f *fake, n int) stream.Delivery {
			return f.core.Commit(len(f.core.Reserve(n, true)))
		}},
		"read into the queue of a stream closed for reading meanwhile": {true, false, func(f *fake, n int) stream.Delivery {
			p := f.core.Reserve(n, false)
			f.stream().CloseRead()
			return f.core.Commit(len(p))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, wire.V2, false)
				budget := flow.NewAccount(1)
				f.cfg.Budget = budget
				// No update is sent, so that the window stays where it is.
				p := make([]byte, flow.InitialWindow+budget.MaxOverrun())
				f.deliver(p)
				if !tt.unread {
					if n, err := f.stream().Read(p); n != len(p) || err != nil {
						t.Fatalf("read %d bytes, %v", n, err)
					}
				}
				reading := testutil.Background(func() (int64, error) {
					if !tt.reading {
						return 0, nil
					}
					n, err := f.stream().Read(p)
					return int64(n), err
				})
				synctest.Wait()
				if got := tt.deliver(f, 1); got != stream.Queued {
					t.Errorf("outcome %v, want Queued", got)
				}
				if res := <-reading; tt.reading {
					wantOpErr(t, "the Read that waited", res.Err, flow.ErrWindow)
				}
				_, err := f.stream().Read(p)
				wantOpErr(t, "Read", err, flow.ErrWindow)
				_, err = f.stream().Write(p)
				wantOpErr(t, "Write", err, flow.ErrWindow)
				if budget.Used() != 0 || f.core.Unread() != 0 {
					t.Errorf("%d bytes are charged, %d unread", budget.Used(), f.core.Unread())
				}
				if got := commands(f.take(1000)); len(got) != 2 || got[0] != wire.FIN || got[1] != wire.FIN {
					t.Errorf("sent %v, want FIN, FIN", got)
				}
				if f.deliver(make([]byte, 100_000)); budget.Used() != 0 {
					t.Errorf("then data: %d bytes are charged", budget.Used())
				}
			})
		})
	}
}
