package stream_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// The first Write after a Read is to be sent now, the Writes that follow soon.
func TestWriteAfterAReadIsSentNow(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		for range 2 {
			for _, want := range [][]string{{"data now"}, nil, nil} { // those that follow are queued already
				if n, err := s.Write([]byte("hello")); n != 5 || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
				if diff := cmp.Diff(want, f.called()); diff != "" {
					t.Errorf("calls of the link (-want +got)\n%s", diff)
				}
			}
			if got := payload(f.take(1000)); string(got) != "hellohellohello" {
				t.Errorf("sent %q", got)
			}
			s.Write([]byte("again"))
			if diff := cmp.Diff([]string{"data soon"}, f.called()); diff != "" {
				t.Errorf("calls of the link (-want +got)\n%s", diff)
			}
			f.take(1000)
			f.deliver([]byte("answer"))
			if _, err := s.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			f.called()
		}
	})
}

// SYN is sent first and FIN last, with data in its order between them.
func TestSYNIsFirstAndFINIsLast(t *testing.T) {
	syn, psh, fin := wire.SYN, wire.PSH, wire.FIN
	for _, c := range []struct {
		name   string
		opened bool
		do     func(f *fake, s *stream.Stream)
		want   []wire.Command
		reads  bool // an update after FIN says that this side still reads
	}{
		{"nothing", false, func(f *fake, s *stream.Stream) {}, nil, false},
		{"opened", true, func(f *fake, s *stream.Stream) {}, []wire.Command{syn}, false},
		{"opened and written to", true, func(f *fake, s *stream.Stream) { s.Write([]byte("x")) }, []wire.Command{syn, psh}, false},
		{"opened and closed", true, func(f *fake, s *stream.Stream) { s.Close() }, []wire.Command{syn, fin, fin}, false},
		{"opened, written to and closed", true, func(f *fake, s *stream.Stream) { s.Write([]byte("x")); s.Close() }, []wire.Command{syn, psh, fin, fin}, false},
		{"the same one byte a turn", true, func(f *fake, s *stream.Stream) {
			s.Write(make([]byte, 3000))
			s.CloseWrite()
		}, []wire.Command{syn, psh, psh, psh, fin}, true},
		{"closed in two steps", false, func(f *fake, s *stream.Stream) { s.CloseWrite(); s.Close() }, []wire.Command{fin, fin}, false},
		{"closed after the peer", false, func(f *fake, s *stream.Stream) { f.core.HandleFIN(); s.Close() }, []wire.Command{fin}, false},
		{"closed in two steps after the peer", false, func(f *fake, s *stream.Stream) { f.core.HandleFIN(); s.CloseWrite(); s.Close() }, []wire.Command{fin}, false},
		{"closed for writing", false, func(f *fake, s *stream.Stream) { s.CloseWrite() }, []wire.Command{fin}, true},
		{"closed for writing after the peer", false, func(f *fake, s *stream.Stream) { f.core.HandleFIN(); s.CloseWrite() }, []wire.Command{fin}, false},
		{"closed for writing and then for reading", false, func(f *fake, s *stream.Stream) { s.CloseWrite(); s.CloseRead() }, []wire.Command{fin}, true},
		{"closed for reading", false, func(f *fake, s *stream.Stream) { s.CloseRead() }, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, c.opened)
				if f.control != c.opened {
					t.Errorf("Init wants Control to be called: %v", f.control)
				}
				c.do(f, f.stream())
				got := f.take(1000)
				if diff := cmp.Diff(c.want, commands(got)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				for _, g := range got {
					if g.Version != v || g.StreamID != 1 {
						t.Errorf("%v", g)
					}
				}
				var then []wire.Command
				if c.reads && v == wire.V2 {
					then = []wire.Command{wire.UPD}
				}
				if diff := cmp.Diff(then, commands(f.take(1000))); diff != "" {
					t.Errorf("and then (-want +got)\n%s", diff)
				}
			})
		})
	}
}

// A frame is no larger than MaxFrameSize, and the frames of a turn are about as large as the turn.
func TestFrameIsNoLargerThanMaxFrameOrATurn(t *testing.T) {
	for _, c := range []struct{ maxFrame, turn int }{{1, 1}, {1, 1 << 20}, {100, 1 << 20}, {32760, 1000}, {32760, 1 << 20}, {wire.MaxPayload, 1 << 20}} {
		for _, chunk := range []int{1, 100, 5000, 60_000} {
			t.Run(fmt.Sprintf("MaxFrame %d, %d bytes a turn, %d bytes a Write", c.maxFrame, c.turn, chunk), func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newFake(t, v, false)
					f.cfg.MaxFrameSize = c.maxFrame
					size := int64(min(50*chunk, 60_000, 1000+1000*c.maxFrame))
					done := testutil.Background(func() (int64, error) { return testutil.Pattern(1).Send(f.stream(), size, chunk) })
					var sent []byte
					for int64(len(sent)) < size {
						synctest.Wait()
						b := wire.NewBatch(len(sent)%2 == 0)
						_ = f.core.AppendData(b, c.turn)
						out := b.AppendRest(nil, 0)
						b.Release()
						total := 0
						for _, fr := range frames(t, out) {
							if len(fr.Data) > c.maxFrame {
								t.Fatalf("%v with MaxFrame %d", fr, c.maxFrame)
							}
							total += len(fr.Data)
							sent = append(sent, fr.Data...)
						}
						if total > c.turn+1<<10 { // a short rest may be sent with it
							t.Fatalf("%d bytes in a turn of %d", total, c.turn)
						}
						if total == 0 {
							t.Fatalf("nothing more after %d of %d bytes", len(sent), size)
						}
					}
					if r := <-done; r.Value != size || r.Err != nil {
						t.Errorf("Write: %d, %v", r.Value, r.Err)
					}
					if err := testutil.Pattern(1).Check(sent, 0); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A large Write is sent from the caller's buffer and returns when the batch releases it.
func TestLargeWriteIsSentFromItsBuffer(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		p := testutil.Pattern(1).Bytes(30_000)
		done := write(f.stream(), p)
		synctest.Wait()
		b := wire.NewBatch(true)
		f.core.AppendData(b, 1<<20)
		refers := false
		for _, part := range b.Parts() {
			refers = refers || &part[0] == &p[0]
		}
		if !refers {
			t.Error("the batch has a copy")
		}
		// Not even these calls end it while its buffer is in use.
		f.stream().SetWriteDeadline(time.Unix(1, 0))
		f.stream().Close()
		f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
		time.Sleep(time.Hour)
		select {
		case r := <-done:
			t.Fatalf("Write returned %d, %v while a batch referred to its buffer", r.Value, r.Err)
		default:
		}
		b.Release()
		if r := <-done; r.Value != 30_000 || r.Err != nil {
			t.Errorf("Write = %d, %v, want all of it", r.Value, r.Err)
		}
	})
}

// A Write that ends early counts exactly the bytes that will be sent.
func TestWriteThatEndsEarlyCountsWhatWillBeSent(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *stream.Stream)
		err  error
	}{
		{"a deadline", func(s *stream.Stream) { s.SetWriteDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		{"a deadline in the past", func(s *stream.Stream) { s.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"Close", func(s *stream.Stream) { s.Close() }, net.ErrClosed},
		{"CloseWrite", func(s *stream.Stream) { s.CloseWrite() }, net.ErrClosed},
	} {
		for _, size := range []int{100, 5000, 20_000, 40_000, 1 << 20} {
			for _, taken := range []int{0, 1, 3} { // turns before that
				t.Run(fmt.Sprintf("%s/%d bytes a Write, %d turns", c.name, size, taken), func(t *testing.T) {
					both(t, func(t *testing.T, v wire.Version) {
						f := newFake(t, v, true)
						s := f.stream()
						p := make([]byte, size)
						done := testutil.Background(func() (total int64, err error) {
							for {
								testutil.Pattern(1).Fill(p, total)
								n, err := s.Write(p)
								copy(p, bytes.Repeat([]byte{0xEE}, len(p)))
								total += int64(n)
								if err != nil {
									return total, err
								}
							}
						})
						synctest.Wait()
						b := wire.NewBatch(true)
						var out []byte
						for range taken {
							f.core.AppendData(b, 10_000)
							out = b.AppendRest(out, 0)
							b.Release()
							synctest.Wait()
						}
						c.end(s)
						r := <-done
						wantOpErr(t, "Write", r.Err, c.err)
						got := payload(append(frames(t, out), f.take(10_000)...))
						if err := testutil.Pattern(1).Check(got, 0); err != nil || int64(len(got)) != r.Value {
							t.Errorf("the Writes counted %d bytes, %d were sent: %v", r.Value, len(got), err)
						}
					})
				})
			}
		}
	}
}

// A stream of version 2 sends no more than the peer's window allows.
func TestVersion2KeepsToTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		const first = 262144
		f := newFake(t, wire.V2, false)
		done := write(f.stream(), testutil.Pattern(1).Bytes(1<<20))
		synctest.Wait()
		sent := payload(f.take(1 << 20))
		if len(sent) != first {
			t.Fatalf("%d bytes were sent into the first window", len(sent))
		}
		for _, u := range []struct {
			update wire.WindowUpdate
			want   int
		}{
			{wire.WindowUpdate{Consumed: 0, Window: first}, 0},
			{wire.WindowUpdate{Consumed: 1, Window: first}, 1},
			{wire.WindowUpdate{Consumed: 1, Window: first - 1}, 0},
			{wire.WindowUpdate{Consumed: first, Window: 1}, 0},
			{wire.WindowUpdate{Consumed: first + 1, Window: 0}, 0},
			{wire.WindowUpdate{Consumed: first + 1, Window: 100_000}, 100_000},
			{wire.WindowUpdate{Consumed: 5, Window: 1 << 30}, 0}, // stale
			{wire.WindowUpdate{Consumed: first + 1, Window: 1 << 30}, 1<<20 - first - 1 - 100_000},
		} {
			if err := f.core.HandleUpdate(u.update); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			got := payload(f.take(1 << 20))
			if len(got) != u.want {
				t.Errorf("after %+v %d bytes were sent, want %d", u.update, len(got), u.want)
			}
			sent = append(sent, got...)
		}
		if r := <-done; r.Value != 1<<20 || r.Err != nil {
			t.Errorf("Write = %d, %v", r.Value, r.Err)
		}
		if err := testutil.Pattern(1).Check(sent, 0); err != nil {
			t.Error(err)
		}
		if err := f.core.HandleUpdate(wire.WindowUpdate{Consumed: 1<<20 + 1, Window: 1}); err == nil {
			t.Error("the peer may claim to have read more than was sent")
		}
	})
}

// A stream of version 1 has no window.
func TestVersion1HasNoWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		f := newFake(t, wire.V1, false)
		done := write(f.stream(), make([]byte, 1<<20))
		synctest.Wait()
		sent := 0
		for {
			synctest.Wait() // Write leaves the last bytes for what may follow
			n := len(payload(f.take(1 << 20)))
			if n == 0 {
				break
			}
			sent += n
		}
		if r := <-done; r.Err != nil || sent != 1<<20 {
			t.Errorf("%d bytes were sent: %v", sent, r.Err)
		}
	})
}

// Writes wait for a Write that is blocked, so that they are not mixed.
func TestWritesWaitForTheirTurn(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		s := f.stream()
		first := write(s, bytes.Repeat([]byte("a"), 200_000))
		synctest.Wait()
		second := write(s, []byte("b"))
		synctest.Wait()
		var got []byte
		for {
			synctest.Wait()
			p := payload(f.take(1000))
			if len(p) == 0 {
				break
			}
			got = append(got, p...)
		}
		want := append(bytes.Repeat([]byte("a"), 200_000), 'b')
		if !bytes.Equal(got, want) {
			t.Errorf("the two Writes are mixed: %d bytes, b at %d", len(got), bytes.IndexByte(got, 'b'))
		}
		for _, w := range []<-chan testutil.Result[int64]{first, second} {
			if r := <-w; r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// A rate applies to a Write that began without one as soon as the part that is being sent is out.
func TestRateAppliesToAWriteThatIsBeingSent(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		w := write(f.stream(), make([]byte, 200_000))
		synctest.Wait()
		b := wire.NewBatch(true)
		f.core.AppendData(b, 10_000)
		f.stream().SetSendRate(flow.Rate{BytesPerSecond: 1000, Burst: 1000})
		synctest.Wait()
		b.Release()
		synctest.Wait()
		if n := len(payload(f.take(1 << 20))); n > 1000 {
			t.Errorf("%d bytes were sent at once, want 1000", n)
		}
		wantOpErr(t, "Close", f.stream().Close(), nil)
		if r := <-w; r.Value != 11_000 {
			t.Errorf("Write wrote %d bytes, want 11000", r.Value)
		}
	})
}
