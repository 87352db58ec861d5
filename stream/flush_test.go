package stream_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A deliverer is a fake session that knows what has reached the peer: what the test sends to proofs.
type deliverer struct {
	*fake
	proofs chan error

	mu    sync.Mutex
	asked int // calls of AwaitDelivery
}

func (d *deliverer) AwaitDelivery(ctx context.Context) error {
	d.check()
	d.mu.Lock()
	d.asked++
	d.mu.Unlock()
	select {
	case err := <-d.proofs:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newDeliverer(t testing.TB, v wire.Version) *deliverer {
	d := &deliverer{proofs: make(chan error)}
	d.fake = &fake{t: t, start: time.Now(), budget: flow.NewBudget(64 << 20)}
	d.cfg = stream.Shared{Version: v, MaxFrameSize: 32760, Budget: d.budget.NewAccount(), LocalAddr: addr("here"), RemoteAddr: addr("there")}
	d.core.Init(&d.cfg, d, 1, true)
	d.core.Start()
	return d
}

// flush calls Flush in the background.
func (d *deliverer) flush(ctx context.Context) <-chan testutil.Result[struct{}] {
	return testutil.BackgroundErr(func() error { return d.stream().Flush(ctx) })
}

// wantWaits checks that a Flush waits, and whether it waits for delivery.
func (d *deliverer) wantWaits(what string, call <-chan testutil.Result[struct{}], asked int) {
	d.t.Helper()
	synctest.Wait()
	select {
	case r := <-call:
		d.t.Fatalf("%s: Flush has returned %v", what, r.Err)
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked != asked {
		d.t.Fatalf("%s: AwaitDelivery was called %d times, want %d", what, d.asked, asked)
	}
}

func (d *deliverer) write(n int) {
	d.t.Helper()
	if _, err := d.stream().Write(make([]byte, n)); err != nil {
		d.t.Fatal(err)
	}
}

// send writes n bytes and takes them.
func (d *deliverer) send(n int) {
	d.t.Helper()
	for n > 0 {
		k := min(n, 4000)
		d.write(k)
		d.take(1 << 20)
		n -= k
	}
}

// endedContext returns a context that has ended.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Flush of a stream on which nothing was written returns nil at once, and asks nobody.
func TestFlushOfNothingReturnsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		d.deliver([]byte("hello"))
		for _, ctx := range []context.Context{context.Background(), endedContext()} {
			wantOpErr(t, "Flush", d.stream().Flush(ctx), nil)
		}
		d.stream().CloseRead()
		wantOpErr(t, "Flush", d.stream().Flush(context.Background()), nil)
		if d.asked != 0 {
			t.Error("AwaitDelivery was called")
		}
	})
}

// Flush waits until what was written is in batches, and then until the session says that it has reached the peer. It has
// the session send what is queued.
func TestFlushWaitsForBatchAndDelivery(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		d.send(10)
		d.write(100)
		d.called()
		call := d.flush(context.Background())
		d.wantWaits("nothing is sent", call, 0)
		if calls := d.called(); len(calls) == 0 || calls[len(calls)-1] != "flush" {
			t.Errorf("Flush has called %v", calls)
		}
		d.take(40)
		d.wantWaits("all is sent", call, 1)
		d.proofs <- nil
		wantOpErr(t, "Flush", (<-call).Err, nil)

		// What was sent before the call counts, too.
		call = d.flush(context.Background())
		d.wantWaits("all was sent before", call, 2)
		broken := errors.New("cable cut")
		d.proofs <- broken
		wantOpErr(t, "Flush", (<-call).Err, broken)
	})
}

// The FIN counts after CloseWrite and after Close.
func TestFlushAfterCloseWaitsForTheFIN(t *testing.T) {
	for name, end := range map[string]func(*stream.Stream) error{
		"CloseWrite": (*stream.Stream).CloseWrite, "Close": (*stream.Stream).Close,
	} {
		for _, size := range []int{0, 100} {
			t.Run(name, func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					d := newDeliverer(t, v)
					d.write(size)
					if err := end(d.stream()); err != nil {
						t.Fatal(err)
					}
					call := d.flush(context.Background())
					d.wantWaits("the FIN is due", call, 0)
					if sent := commands(d.take(1000)); !slices.Contains(sent, wire.FIN) {
						t.Fatalf("%v was sent", sent)
					}
					d.wantWaits("the FIN is sent", call, 1)
					d.proofs <- nil
					wantOpErr(t, "Flush", (<-call).Err, nil)

					call = d.flush(context.Background())
					d.wantWaits("the FIN was sent before", call, 2)
					d.proofs <- nil
					wantOpErr(t, "Flush", (<-call).Err, nil)
				})
			})
		}
	}
	t.Run("Close after CloseWrite", func(t *testing.T) {
		both(t, func(t *testing.T, v wire.Version) {
			d := newDeliverer(t, v)
			d.stream().CloseWrite()
			d.take(1000)
			d.stream().Close()
			call := d.flush(context.Background())
			d.wantWaits("the second FIN is due", call, 0)
			d.take(1000)
			d.wantWaits("the second FIN is sent", call, 1)
			d.proofs <- nil
			wantOpErr(t, "Flush", (<-call).Err, nil)
		})
	})
}

// Flush waits for nothing that was written after the call, and so for no Write that has not returned.
func TestFlushWaitsForNoLaterWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliverer(t, wire.V2)
		d.send(flow.InitialWindow - 100)
		d.write(100)
		call := d.flush(context.Background())
		synctest.Wait()
		writing := write(d.stream(), make([]byte, 200_000))
		synctest.Wait()
		d.take(1 << 20)
		d.wantWaits("the window has no room for the later Write", call, 1)
		d.proofs <- nil
		wantOpErr(t, "Flush", (<-call).Err, nil)
		d.core.Abort(net.ErrClosed, stream.AbortBoth)
		<-writing
	})
}

// Flush waits while the peer's window is full, until ctx ends. The data is still sent later.
func TestFlushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliverer(t, wire.V2)
		d.send(flow.InitialWindow)
		d.write(100)
		for _, c := range []struct {
			name  string
			asked int
			prove func()
		}{
			{"the window is full", 0, func() {
				if got := payload(d.take(1 << 20)); len(got) != 0 {
					t.Errorf("%d bytes were sent", len(got))
				}
				if err := d.core.HandleUpdate(wire.WindowUpdate{Consumed: 1000, Window: flow.InitialWindow}); err != nil {
					t.Fatal(err)
				}
				if got := payload(d.take(1 << 20)); len(got) != 100 {
					t.Errorf("%d bytes were sent", len(got))
				}
			}},
			{"the peer has not got it", 1, func() {}},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			call := d.flush(ctx)
			d.wantWaits(c.name, call, c.asked)
			r := <-call
			wantOpErr(t, c.name, r.Err, context.DeadlineExceeded)
			if op := new(net.OpError); !errors.As(r.Err, &op) || op.Op != "flush" || !op.Timeout() {
				t.Errorf("%#v is no time-out of flush", r.Err)
			}
			testutil.WantTime(t, c.name, r.After, time.Hour)
			cancel()
			wantOpErr(t, c.name, d.stream().Flush(endedContext()), context.Canceled)
			c.prove()
		}
	})
}

// Deadlines do not end Flush, and neither do CloseWrite, CloseRead and Close.
func TestFlushGoesOnAfterDeadlineAndClose(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		st := d.stream()
		d.write(100)
		call := d.flush(context.Background())
		synctest.Wait()
		st.SetDeadline(time.Now().Add(-time.Hour))
		d.wantWaits("a deadline", call, 0)
		st.CloseRead()
		d.wantWaits("CloseRead", call, 0)
		st.CloseWrite()
		d.wantWaits("CloseWrite", call, 0)
		st.Close()
		d.wantWaits("Close", call, 0)
		d.take(1000)
		d.wantWaits("all is sent", call, 1)
		d.proofs <- nil
		wantOpErr(t, "Flush", (<-call).Err, nil)
	})
}

// Flush fails if some of the data was thrown away, before the call or during it, with the reason.
func TestFlushFailsIfDataIsThrownAway(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		end  func(d *deliverer)
		want error
	}{
		{"the peer closes", func(d *deliverer) { d.core.HandleFIN(); d.core.HandleFIN() }, stream.ErrPeerClosed},
		{"the peer refuses", func(d *deliverer) {
			d.core.HandleEmpty()
			d.core.HandleEmpty()
			d.core.HandleFIN()
			d.core.HandleFIN()
		}, stream.ErrRefused},
		{"the session gives up", func(d *deliverer) { d.stream().Close(); time.Sleep(time.Hour) }, stream.ErrPeerClosed},
		{"writing fails", func(d *deliverer) { d.core.Abort(broken, stream.AbortWrite) }, broken},
		{"the session ends", func(d *deliverer) { d.core.Abort(broken, stream.AbortBoth) }, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDeliverer(t, wire.V2)
				if c.want == stream.ErrPeerClosed {
					d.core.HandleFIN()
				}
				d.send(flow.InitialWindow)
				d.write(100)
				call := d.flush(context.Background())
				d.wantWaits("the window is full", call, 0)
				c.end(d)
				elapsed := testutil.Clock()
				wantOpErr(t, "Flush during it", (<-call).Err, c.want)
				testutil.WantTime(t, "Flush returned", elapsed(), 0)
				wantOpErr(t, "Flush later", d.stream().Flush(context.Background()), c.want)
				d.core.Abort(net.ErrClosed, stream.AbortBoth)
			})
		})
	}
}

// A FIN that is due when the session ends is lost: Flush fails with the reason.
func TestFlushFailsIfTheFINIsLost(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		broken := errors.New("cable cut")
		d := newDeliverer(t, v)
		d.stream().CloseWrite()
		call := d.flush(context.Background())
		d.wantWaits("the FIN is due", call, 0)
		d.core.Abort(broken, stream.AbortBoth)
		wantOpErr(t, "Flush during it", (<-call).Err, broken)
		wantOpErr(t, "Flush later", d.stream().Flush(context.Background()), broken)
	})
}

// Close of a stream whose session is ending sends no FIN, and Flush says so.
func TestFlushFailsIfNoFINWasSent(t *testing.T) {
	for _, how := range []stream.Ending{stream.AbortBoth, stream.AbortRead, stream.AbortWrite} {
		both(t, func(t *testing.T, v wire.Version) {
			broken := errors.New("cable cut")
			d := newDeliverer(t, v)
			d.core.Abort(broken, how)
			wantOpErr(t, "Flush of nothing", d.stream().Flush(context.Background()), nil)
			d.stream().Close()
			wantOpErr(t, "Flush", d.stream().Flush(context.Background()), broken)
		})
	}
}

// While Flush waits, a closed stream keeps its data although the session cannot send. Otherwise it throws the data away,
// and Flush says so.
func TestFlushKeepsDataOfAClosedStream(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		d.write(100)
		d.stream().Close()
		ctx, cancel := context.WithCancel(context.Background())
		call := d.flush(ctx)
		synctest.Wait()
		for range 10 {
			if d.core.GiveUp() {
				t.Error("GiveUp has thrown data away")
			}
		}
		cancel()
		wantOpErr(t, "Flush", (<-call).Err, context.Canceled)
		if d.core.GiveUp() || !d.core.GiveUp() {
			t.Error("the second GiveUp did not throw the data away")
		}
		wantOpErr(t, "Flush", d.stream().Flush(context.Background()), stream.ErrLingerTimeout)
	})
}

// Flush has bulk data sent that waits for more.
func TestFlushSendsBulkDataThatIsHeldBack(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		for d.core.Pending() == 0 {
			if v == wire.V2 {
				if err := d.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30}); err != nil {
					t.Fatal(err)
				}
			}
			writing := write(d.stream(), make([]byte, 20_000))
			synctest.Wait()
			d.take(1 << 20)
			testutil.WantErr(t, "Write", (<-writing).Err, nil)
		}
		if got := d.take(1 << 20); len(got) > 0 {
			t.Fatalf("%d frames are not held back", len(got))
		}
		call := d.flush(context.Background())
		synctest.Wait()
		if got := len(payload(d.take(1 << 20))); got == 0 {
			t.Error("nothing was sent")
		}
		d.proofs <- nil
		wantOpErr(t, "Flush", (<-call).Err, nil)
	})
}

// Flush may be called from several goroutines while others write, and each call waits for what was written before it.
func TestFlushFromManyGoroutines(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		d := newDeliverer(t, v)
		var calls []<-chan testutil.Result[struct{}]
		for range 10 {
			d.write(4000)
			calls = append(calls, d.flush(context.Background()))
			synctest.Wait()
		}
		b := wire.NewBatch(false)
		for i, call := range calls {
			d.wantWaits("its data is in no batch", call, i)
			d.core.AppendData(b, 4000)
			b.Release()
			d.wantWaits("its data is in a batch", call, i+1)
			d.proofs <- nil
			wantOpErr(t, "Flush", (<-call).Err, nil)
		}
	})
}

// A closed stream whose peer makes no room gives up, although Flush waits, if closed streams keep too much data for such
// peers: that is bounded. Flush says so.
func TestFlushFailsIfClosedStreamsKeepTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliverer(t, wire.V2)
		d.cfg.SendBudget = flow.NewAccount(5000)
		d.cfg.Linger = time.Minute
		d.send(flow.InitialWindow)
		d.write(3000)
		d.stream().Close()
		call := d.flush(context.Background())
		d.wantWaits("the window is full", call, 0)
		r := <-call
		wantOpErr(t, "Flush", r.Err, stream.ErrLingerTimeout)
		testutil.WantTime(t, "Flush returned", r.After, time.Minute)
	})
}

// In a session that cannot tell what has reached the peer, Flush says so.
func TestFlushNeedsADeliverer(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		wantOpErr(t, "Flush", f.stream().Flush(context.Background()), errors.ErrUnsupported)
	})
}

// A nil context panics and changes nothing.
func TestFlushPanicsWithoutAContext(t *testing.T) {
	d := newDeliverer(t, wire.V2)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Flush(nil) does not panic")
			}
		}()
		_ = d.stream().Flush(nil) //nolint:staticcheck // it is what is tested
	}()
	if _, err := d.stream().Write(bytes.Repeat([]byte("x"), 10)); err != nil {
		t.Error(err)
	}
}
