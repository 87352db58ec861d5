package stream_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Shared.MaxSendBuffer.

// newLimited returns a fake whose streams may have limit bytes of copied data that wait, and which has been written to
// since its last Read. The peer's window is large.
func newLimited(t *testing.T, v wire.Version, limit int) *fake {
	t.Helper()
	f := newFake(t, v, true)
	f.cfg.MaxSendBuffer = limit
	f.cfg.SendBudget = flow.NewAccount(1 << 30)
	if err := f.core.HandleUpdate(wire.WindowUpdate{Window: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.stream().Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	f.take(1)
	return f
}

// However much is written, no more than MaxSendBuffer bytes wait to be sent, in buffers of twice that and 512 bytes. All
// of it is used, but for the Writes that are not copied. What the Writes counted is sent, in order.
func TestCopiedDataStaysWithinMaxSendBuffer(t *testing.T) {
	for _, limit := range []int{0, 1, 1 << 10, 5000, 70_000, 1 << 20} {
		for _, size := range []int{1, 100, 1000, 9000, 40_000, 200_000} {
			most := min(max(limit, stream.MinMaxSendBuffer), stream.MaxMaxSendBuffer)
			if limit == 0 {
				most = stream.DefaultMaxSendBuffer
			}
			if 10*most/size > 12_000 {
				continue // it would take long
			}
			t.Run(fmt.Sprintf("MaxSendBuffer %d/Writes of %d", limit, size), func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newLimited(t, v, limit)
					s := f.stream()
					check := func() {
						t.Helper()
						if n := f.core.Pending(); n > most {
							t.Fatalf("%d bytes wait to be sent, want at most %d", n, most)
						}
						if n := f.cfg.SendBudget.Used(); n > 2*most+stream.MinBuffer {
							t.Fatalf("%d bytes of buffers", n)
						}
					}
					wrote := testutil.Background(func() (total int64, err error) {
						p := make([]byte, size)
						for total < int64(10*most) {
							testutil.Pattern(1).Fill(p, total)
							n, err := s.Write(p)
							total += int64(n)
							if err != nil {
								return total, err
							}
						}
						return total, s.Close()
					})
					synctest.Wait()
					check()
					if n := f.core.Pending(); size < most/4 && n != most {
						t.Errorf("%d bytes wait to be sent, want %d", n, most)
					}
					var sent []byte
					for {
						synctest.Wait()
						check()
						p := payload(f.take(3 * most / 4))
						if len(p) == 0 {
							break
						}
						sent = append(sent, p...)
					}
					r := <-wrote
					if r.Err != nil || r.Value != int64(len(sent)) {
						t.Errorf("the Writes counted %d bytes, %d were sent: %v", r.Value, len(sent), r.Err)
					}
					if err := testutil.Pattern(1).Check(sent, 0); err != nil {
						t.Error(err)
					}
					if n := f.cfg.SendBudget.Used(); n != 0 {
						t.Errorf("%d bytes are charged when all was sent", n)
					}
				})
			})
		}
	}
}

// While nothing is sent, a Write that is shorter than a quarter of MaxSendBuffer returns if there is room. The first one
// after a Read returns if it is shorter than a 32nd.
func TestShortWriteReturnsIfThereIsRoom(t *testing.T) {
	for _, limit := range []int{1 << 10, stream.DefaultMaxSendBuffer, 1 << 20, 4 << 20} {
		for _, afterRead := range []bool{false, true} {
			t.Run(fmt.Sprintf("MaxSendBuffer %d/after a Read %v", limit, afterRead), func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newLimited(t, v, limit)
					short := limit/4 - 1
					if afterRead {
						short = limit/32 - 1
						f.deliver([]byte("x"))
						if _, err := f.stream().Read(make([]byte, 1)); err != nil {
							t.Fatal(err)
						}
					}
					for n := limit; n >= short; n -= short {
						if k, err := f.stream().Write(make([]byte, short)); k != short || err != nil {
							t.Fatalf("Write = %d, %v", k, err)
						}
					}
					f.core.Abort(net.ErrClosed, stream.AbortBoth)
				})
			})
		}
	}
}

// A short Write without room waits for it, and returns before its data is sent. A Write of more than MaxSendBuffer waits
// until all of it was sent, but for an end that is copied.
func TestWriteWithoutRoomWaits(t *testing.T) {
	for _, limit := range []int{1 << 10, stream.DefaultMaxSendBuffer, 1 << 20} {
		for _, size := range []int{limit/4 - 1, limit + 1} {
			t.Run(fmt.Sprintf("MaxSendBuffer %d/Write of %d", limit, size), func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newLimited(t, v, limit)
					fill(t, f, limit)
					w := write(f.stream(), make([]byte, size))
					synctest.Wait()
					b := wire.NewBatch(true)
					sent := 0 // of limit+size
					for len(w) == 0 {
						if !f.core.AppendData(b, wire.MaxPayload) && b.Len() == 0 {
							t.Fatalf("Write does not return when %d bytes were sent", sent)
						}
						sent += len(payload(frames(t, b.AppendRest(nil, 0))))
						b.Release()
						synctest.Wait()
					}
					least, most := limit+size-min(limit, wire.MaxBatchPayload), limit+size
					if size < limit {
						least, most = size, min(limit, size+wire.MaxBatchPayload) // a turn at a time
					}
					if r := <-w; r.Value != int64(size) || r.Err != nil || sent < least || sent > most {
						t.Errorf("Write = %d, %v when %d bytes were sent, want %d to %d", r.Value, r.Err, sent, least, most)
					}
					f.core.Abort(net.ErrClosed, stream.AbortBoth)
				})
			})
		}
	}
}

// fill writes until limit bytes wait to be sent.
func fill(t *testing.T, f *fake, limit int) {
	t.Helper()
	for f.core.Pending() < limit {
		if _, err := f.stream().Write(make([]byte, min(200, limit-f.core.Pending()))); err != nil {
			t.Fatal(err)
		}
	}
}

// A Write that waits for room in MaxSendBuffer ends at its deadline, at Close and CloseWrite of the stream, and at the
// session's end. It counts exactly what will be sent.
func TestWriteThatWaitsForRoomEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(f *fake)
		err  error
	}{
		{"its deadline", func(f *fake) { f.stream().SetWriteDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		{"Close", func(f *fake) { f.stream().Close() }, net.ErrClosed},
		{"CloseWrite", func(f *fake) { f.stream().CloseWrite() }, net.ErrClosed},
		{"the session's Close", func(f *fake) { f.core.Abort(net.ErrClosed, stream.AbortRead) }, net.ErrClosed},
		{"a failed write", func(f *fake) { f.core.Abort(io.ErrUnexpectedEOF, stream.AbortWrite) }, io.ErrUnexpectedEOF},
		{"the session's end", func(f *fake) { f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth) }, io.ErrUnexpectedEOF},
	} {
		for _, limit := range []int{1 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s/MaxSendBuffer %d", c.name, limit), func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newLimited(t, v, limit)
					fill(t, f, limit-10)
					w := write(f.stream(), make([]byte, 30))
					synctest.Wait()
					c.end(f)
					r := <-w
					wantOpErr(t, "Write", r.Err, c.err)
					if r.Value != 10 {
						t.Errorf("Write = %d, want 10: what there was room for", r.Value)
					}
					f.core.Abort(net.ErrClosed, stream.AbortBoth)
				})
			})
		}
	}
}

// A MaxSendBuffer that is smaller than a frame delays no bulk data: nothing waits for the rest of a frame.
func TestSmallMaxSendBufferHoldsNoBulkDataBack(t *testing.T) {
	for _, size := range []int{9000, 32 << 10, 100_000} {
		t.Run(fmt.Sprintf("Writes of %d", size), func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newLimited(t, v, 4<<10)
				begin := time.Now()
				for range 100 {
					w := write(f.stream(), make([]byte, size))
					for sent := 0; sent < size; {
						synctest.Wait()
						sent += len(payload(f.take(wire.MaxPayload)))
						if time.Since(begin) > 0 {
							t.Fatalf("%v have passed", time.Since(begin))
						}
					}
					<-w
				}
				f.core.Abort(net.ErrClosed, stream.AbortBoth)
			})
		})
	}
}
