package stream_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Data that waits to be sent: the memory it takes, and its frames.

// Bulk data is sent in frames of full size, whatever the size of the Writes: at most 2 % more frames than the
// least possible.
func TestBulkDataIsSentInFullFrames(t *testing.T) {
	const total = 32 << 20
	for _, maxFrame := range []int{1000, 20_000, 32_760, 40_000, wire.MaxPayload} {
		for _, size := range []int{16 << 10, 32 << 10, 64 << 10, 128 << 10} {
			for _, gather := range []bool{false, true} {
				for _, call := range []string{"Write", "ReadFrom"} {
					t.Run(fmt.Sprintf("MaxFrame %d/%s of %d/gather %v", maxFrame, call, size, gather), func(t *testing.T) {
						both(t, func(t *testing.T, v wire.Version) {
							o := newOutlet(v)
							o.cfg.MaxFrameSize = maxFrame
							o.turn = wire.MaxPayload
							o.batch = wire.NewBatch(gather)
							o.core.Init(o.cfg, o, 1, false)
							if err := o.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30}); err != nil {
								t.Fatal(err)
							}
							s := o.core.Stream()
							p := make([]byte, size)
							for n := 0; n < total; n += size {
								var err error
								if call == "Write" {
									_, err = s.Write(p)
								} else {
									_, err = s.ReadFrom(bytes.NewReader(p))
								}
								if err != nil {
									t.Fatal(err)
								}
							}
							s.Close()
							least := (total + maxFrame - 1) / maxFrame
							if most := least + least/50 + 32; o.frames > most { // the first 256 KiB are not known to be bulk data
								t.Errorf("%d frames, the least is %d, at most %d wanted", o.frames, least, most)
							}
						})
					})
				}
			}
		}
	}
}

// A byte that was written and not sent takes at most two bytes of memory, besides one smallest buffer, however
// small frames are and however much was sent.
func TestPendingBytesTakeTwoBytesOfMemoryEach(t *testing.T) {
	for _, maxFrame := range []int{1, 7, 512, 1000, 8192, 20_000, 32_760, wire.MaxPayload} {
		t.Run(fmt.Sprintf("MaxFrame %d", maxFrame), func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, true)
				f.cfg.MaxFrameSize = maxFrame
				budget := flow.NewAccount(1 << 30)
				f.cfg.SendBudget = budget
				f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30})
				s := f.stream()
				s.Write([]byte("x")) // what follows is copied
				rng := rand.New(rand.NewPCG(1, uint64(maxFrame)))
				s.SetWriteDeadline(time.Now().Add(time.Hour))
				b := wire.NewBatch(true)
				var sent []byte
				written := int64(0)
				p := make([]byte, 40_000)
				for range 2000 {
					if rng.IntN(2) == 0 {
						p := p[:rng.IntN(1<<rng.IntN(14)+1)]
						if f.core.Pending()+len(p) < 60_000 {
							testutil.Pattern(1).Fill(p, written)
							n, err := s.Write(p)
							if err != nil {
								t.Fatal(err)
							}
							written += int64(n)
						}
					} else {
						f.core.AppendData(b, 1+rng.IntN(20_000))
						if rng.IntN(3) == 0 {
							sent = append(sent, payload(frames(t, b.AppendRest(nil, 0)))...)
							b.Release()
						}
					}
					if pending, held := f.core.Pending(), budget.Used(); held > 2*pending+stream.MinBuffer {
						t.Fatalf("%d bytes of buffers for %d bytes", held, pending)
					}
				}
				sent = append(sent, payload(frames(t, b.AppendRest(nil, 0)))...)
				b.Release()
				s.Close()
				sent = append(sent, payload(f.take(wire.MaxPayload))...)
				if err := testutil.Pattern(1).Check(sent[1:], 0); err != nil || int64(len(sent)) != written+1 {
					t.Errorf("%d of %d bytes: %v", len(sent), written+1, err)
				}
				if n := budget.Used(); n != 0 {
					t.Errorf("%d bytes are held when all was sent", n)
				}
			})
		})
	}
}

// A Write does not wait for a send budget that is used up: it returns once its data was sent from the caller's
// buffer. Ten times the budget passes, and other streams go on.
func TestWriteBeyondTheSendBudgetIsSentFromItsBuffer(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		const size = 8 << 10
		budget := flow.NewAccount(size)
		idle, busy := newFake(t, v, true), newFake(t, v, true)
		for _, f := range []*fake{idle, busy} {
			f.cfg.SendBudget = budget
		}
		// One stream uses up the whole budget, and its session sends nothing.
		idle.stream().Write([]byte("x"))
		for range 20 {
			idle.stream().SetWriteDeadline(time.Now().Add(time.Second))
			if n, err := idle.stream().Write(make([]byte, 1000)); n < 1000 {
				wantOpErr(t, "Write", err, os.ErrDeadlineExceeded)
				break
			}
		}
		if n := budget.Used(); n < size/2 || n > size {
			t.Fatalf("%d of %d bytes are used", n, size)
		}
		pending := idle.core.Pending()
		for i := range 10 {
			p := testutil.Pattern(1).Bytes(size)
			done := write(busy.stream(), p)
			synctest.Wait()
			if i > 0 {
				select {
				case r := <-done:
					t.Fatalf("Write returned %d, %v before anything was sent", r.Value, r.Err)
				default:
				}
			}
			var got []byte
			for len(got) < size {
				got = append(got, payload(busy.take(wire.MaxPayload))...)
				synctest.Wait()
			}
			if r := <-done; r.Value != size || r.Err != nil {
				t.Errorf("Write = %d, %v", r.Value, r.Err)
			}
			if err := testutil.Pattern(1).Check(got, 0); err != nil {
				t.Error(err)
			}
			if n := budget.Used(); n > size {
				t.Errorf("%d of %d bytes are used", n, size)
			}
		}
		if n := len(payload(idle.take(wire.MaxPayload))); n != pending {
			t.Errorf("%d bytes were sent of %d", n, pending)
		}
		if n := budget.Used(); n != 0 {
			t.Errorf("%d bytes are held when all was sent", n)
		}
	})
}

// Data of a closed stream is charged to the send budget until it is sent or discarded.
func TestSendBudgetCountsClosedStreams(t *testing.T) {
	for _, end := range []string{"sent", "aborted", "given up"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				testutil.LeakCheck(t)
				f := newFake(t, wire.V2, true)
				f.cfg.SendBudget = flow.NewAccount(1 << 20)
				f.core.HandleUpdate(wire.WindowUpdate{Window: 1})
				s := f.stream()
				s.Write(make([]byte, 3000))
				s.Close()
				if n := f.cfg.SendBudget.Used(); n < 3000 {
					t.Errorf("%d bytes are charged for 3000", n)
				}
				switch end {
				case "sent":
					f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 20})
					f.take(1 << 20)
				case "aborted":
					f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
				case "given up":
					f.take(1 << 20)
					f.core.HandleFIN()
					time.Sleep(time.Minute)
				}
				if n := f.cfg.SendBudget.Used(); n != 0 {
					t.Errorf("%d bytes are charged", n)
				}
			})
		})
	}
}

// When Write has returned, the stream keeps nothing of the caller's buffer.
func TestStreamKeepsNoBufferOfAWrite(t *testing.T) {
	for _, size := range []int{1, 5000, 100_000} {
		for _, v := range []wire.Version{wire.V1, wire.V2} {
			t.Run(fmt.Sprintf("%v/%d bytes", v, size), func(t *testing.T) {
				o := newOutlet(v)
				o.core.Init(o.cfg, o, 1, true)
				kept := func() weak.Pointer[byte] {
					p := make([]byte, size+64) // not of the tiny allocator
					if _, err := o.core.Stream().Write(p[:size]); err != nil {
						t.Fatal(err)
					}
					return weak.Make(&p[0])
				}()
				runtime.GC()
				if kept.Value() != nil {
					t.Error("the buffer cannot be freed")
				}
				runtime.KeepAlive(o)
			})
		}
	}
}

// A stream that is closed and forgotten can be freed, even if calls were blocked on it.
func TestStreamCanBeFreedAfterBlockedCalls(t *testing.T) {
	gone := func() weak.Pointer[stream.Core] {
		o := newOutlet(wire.V1)
		o.core.Init(o.cfg, o, 1, true)
		done := testutil.Background(func() (int64, error) {
			n, err := o.core.Stream().Read(make([]byte, 1))
			return int64(n), err
		})
		for range 10 {
			runtime.Gosched() // the Read may be blocked by now
		}
		o.core.Stream().Close()
		wantOpErr(t, "Read", (<-done).Err, net.ErrClosed)
		return weak.Make(&o.core)
	}()
	for range 3 {
		runtime.GC()
	}
	if gone.Value() != nil {
		t.Error("the stream cannot be freed")
	}
}

// The last bytes of bulk data are sent after a millisecond, and at once for a Read that waits, a small Write,
// Close, CloseWrite, and Close of the session.
func TestEndOfBulkDataIsNotDelayedForLong(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fake)
		wait time.Duration
	}{
		{"nothing", func(f *fake) {}, time.Millisecond},
		{"Read", func(f *fake) { go f.stream().Read(make([]byte, 1)) }, 0},
		{"WriteTo", func(f *fake) { go f.stream().WriteTo(io.Discard) }, 0},
		{"Write", func(f *fake) { f.stream().Write([]byte("x")) }, 0},
		{"CloseWrite", func(f *fake) { f.stream().CloseWrite() }, 0},
		{"Close", func(f *fake) { f.stream().Close() }, 0},
		{"session's Close", func(f *fake) { f.core.Abort(net.ErrClosed, stream.AbortRead) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, true)
				f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30})
				s := f.stream()
				const size = 9000
				for n := 0; n < 400<<10; n += size {
					done := write(s, make([]byte, size))
					synctest.Wait()
					f.take(wire.MaxPayload)
					synctest.Wait()
					<-done
				}
				if f.core.Pending() == 0 {
					t.Fatal("nothing is held back")
				}
				f.called()
				c.do(f)
				for begin := time.Now(); f.core.Pending() > 0; time.Sleep(time.Millisecond / 10) {
					synctest.Wait()
					for _, call := range f.called() {
						if call != "control soon" {
							f.take(wire.MaxPayload)
						}
					}
					if waited := time.Since(begin); waited > 2*time.Millisecond {
						t.Fatalf("%d bytes are held back after %v", f.core.Pending(), waited)
					} else if f.core.Pending() == 0 && waited > c.wait {
						t.Errorf("held back for %v, want %v", waited, c.wait)
					}
				}
				s.Close()
				f.core.Abort(net.ErrClosed, stream.AbortBoth)
			})
		})
	}
}

// A message of at most 256 KiB is never delayed, whatever the size of its Writes.
func TestMessageIsNotDelayed(t *testing.T) {
	for _, size := range []int{8 << 10, 32 << 10, 64 << 10, 100_000} {
		for _, v := range []wire.Version{wire.V1, wire.V2} {
			o := newOutlet(v)
			o.core.Init(o.cfg, o, 1, true)
			n := 0
			for n+size <= 256<<10 {
				if _, err := o.core.Stream().Write(make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				n += size
			}
			if left := o.core.Pending(); left > 0 {
				t.Errorf("%v: of %d bytes in Writes of %d, %d are held back", v, n, size, left)
			}
		}
	}
}

// A stream may hold more unread bytes than 32 bits can count.
func TestReadBeyondTwoGiBOfUnreadData(t *testing.T) {
	if bits.UintSize == 32 {
		return // no session may hold so much
	}
	f := newFake(t, wire.V1, false)
	f.deliver([]byte("hello"))
	f.core.HoldUnread(math.MaxInt32)
	f.deliver(make([]byte, 100))
	if n := int64(f.core.Unread()); n != 5+math.MaxInt32+100 {
		t.Errorf("%d bytes are unread", n)
	}
	p := make([]byte, 5)
	if n, err := f.stream().Read(p); n != 5 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	f.stream().Close()
	if n := f.budget.Used(); n != 0 {
		t.Errorf("%d bytes are charged after Close", n)
	}
}

// An unread byte takes at most two bytes of memory, besides one smallest buffer, even when most of a buffer was
// read.
func TestUnreadBytesTakeTwoBytesOfMemoryEach(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		p := make([]byte, 32_760)
		for _, left := range []int{20_000, 10_000, 1000, 600, 1} {
			f.deliver(p)
			if _, err := io.ReadFull(s, p[:f.core.Unread()-left]); err != nil {
				t.Fatal(err)
			}
			if held := f.core.UnreadMemory(); held > 2*left+stream.MinBuffer {
				t.Errorf("%d bytes of buffers for %d bytes", held, left)
			}
			if _, err := io.ReadFull(s, p[:left]); err != nil {
				t.Fatal(err)
			}
			if held := f.core.UnreadMemory(); held != 0 {
				t.Errorf("%d bytes of buffers when all was read", held)
			}
		}
	})
}
