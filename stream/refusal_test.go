package stream_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// arrive has frames of the peer arrive, one for each letter: e is an empty PSH, d is one with a byte of data, F is FIN,
// and u a window update.
func (f *fake) arrive(letters string) (refused bool) {
	f.t.Helper()
	for _, c := range letters {
		switch c {
		case 'e':
			f.core.HandleEmpty()
		case 'd':
			f.deliver([]byte("d"))
		case 'F':
			refused = f.core.HandleFIN() || refused
		case 'u':
			if err := f.core.HandleUpdate(wire.WindowUpdate{Window: 1000}); err != nil {
				f.t.Error(err)
			}
		}
	}
	return refused
}

// Only the frames of a refusal, and an update before the first FIN, make a stream refused. The data of any other is
// read, and io.EOF after its FIN.
func TestOnlyTheFramesOfARefusalRefuse(t *testing.T) {
	all := []string{""}
	for begin := 0; len(all[begin]) < 6; begin++ {
		for _, c := range "edFu" {
			all = append(all, all[begin]+string(c))
		}
	}
	both(t, func(t *testing.T, v wire.Version) {
		for _, opens := range []bool{true, false} {
			for _, letters := range all {
				if strings.Contains(letters, "u") && v == wire.V1 {
					continue
				}
				before, after, _ := strings.Cut(letters, "F")
				want := opens && strings.ReplaceAll(before, "u", "") == "ee" && strings.HasPrefix(after, "F")
				f := newFake(t, v, opens)
				s := f.stream()
				if got := f.arrive(letters); got != want {
					t.Errorf("opened here: %v: after %q HandleFIN has reported %v", opens, letters, got)
				}
				data := strings.Count(before, "d")
				_ = s.SetReadDeadline(time.Now().Add(time.Second))
				got, err := io.ReadAll(s)
				wantErr := error(nil)
				switch {
				case want:
					wantErr = stream.ErrRefused
				case !strings.Contains(letters, "F"), opens && strings.ReplaceAll(before, "u", "") == "ee" && after == "":
					wantErr = os.ErrDeadlineExceeded
				}
				if testutil.WantErr(t, fmt.Sprintf("opened here: %v: reading after %q", opens, letters), err, wantErr); len(got) != data {
					t.Errorf("after %q: read %d bytes, want %d", letters, len(got), data)
				}
				wantErr = nil
				switch {
				case want:
					wantErr = stream.ErrRefused
				case strings.Count(letters, "F") > 1:
					wantErr = stream.ErrPeerClosed
				}
				_, err = s.Write([]byte("x"))
				testutil.WantErr(t, fmt.Sprintf("opened here: %v: Write after %q", opens, letters), err, wantErr)
				f.take(1000)
				_ = s.Close()
				f.take(1000)
				if f.ended() != 1 {
					t.Errorf("after %q and Close Finished was called %d times", letters, f.ended())
				}
			}
		}
	})
}

// A Read that waits ends with the refusal, and not with its first FIN. So does one after CloseWrite.
func TestRefusalEndsCallsWhenItIsComplete(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		s := f.stream()
		if _, err := s.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		_ = s.CloseWrite()
		reading := testutil.BackgroundErr(func() error { _, err := s.Read(make([]byte, 10)); return err })
		writing := testutil.BackgroundErr(func() error { _, err := s.WriteTo(io.Discard); return err })
		time.Sleep(time.Hour)
		f.arrive("eeF")
		time.Sleep(4 * time.Second)
		select {
		case r := <-reading:
			t.Fatalf("Read: %v after the first FIN", r.Err)
		case r := <-writing:
			t.Fatalf("WriteTo: %v after the first FIN", r.Err)
		default:
		}
		if n := f.ended(); n != 0 {
			t.Error("the stream is finished before the second FIN")
		}
		f.arrive("F")
		wantOpErr(t, "Read", (<-reading).Err, stream.ErrRefused)
		wantOpErr(t, "WriteTo", (<-writing).Err, stream.ErrRefused)
		_, err := s.Read(make([]byte, 1))
		wantOpErr(t, "Read", err, stream.ErrRefused)
		_, err = s.Write([]byte("x"))
		wantOpErr(t, "Write after CloseWrite", err, net.ErrClosed)
		f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
		_, err = s.Read(make([]byte, 1))
		wantOpErr(t, "Read after the end of the session", err, stream.ErrRefused)
	})
}

// Close after a refusal reports that data was thrown away.
func TestCloseReportsDataLostByARefusal(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		if _, err := f.stream().Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		f.arrive("eeFF")
		wantOpErr(t, "Close", f.stream().Close(), stream.ErrRefused)
	})
}

// A Write that waits, and ReadFrom, fail with ErrRefused.
func TestRefusalEndsAWriteThatWaits(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		s := f.stream()
		writing := write(s, make([]byte, 1<<20))
		time.Sleep(time.Second)
		f.arrive("eeFF")
		wantOpErr(t, "Write", (<-writing).Err, stream.ErrRefused)
		_, err := s.ReadFrom(strings.NewReader("hello"))
		wantOpErr(t, "ReadFrom", err, stream.ErrRefused)
	})
}

// If the second FIN does not come, the first one counts after 5 s: some peer has written nothing, twice. A deadline, Close
// and the session's end do not wait for that.
func TestReadWaitsForASecondFINFor5s(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		for _, c := range []struct {
			name  string
			end   func(f *fake)
			want  error
			after time.Duration
		}{
			{"nothing", func(*fake) {}, io.EOF, 5 * time.Second},
			{"an update", func(f *fake) { f.arrive("u") }, io.EOF, time.Second},
			{"an empty PSH", func(f *fake) { f.arrive("e") }, io.EOF, time.Second},
			{"data", func(f *fake) { f.arrive("d") }, io.EOF, time.Second},
			{"a deadline", func(f *fake) { _ = f.stream().SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded, time.Second},
			{"Close", func(f *fake) { _ = f.stream().Close() }, net.ErrClosed, time.Second},
			{"CloseRead", func(f *fake) { _ = f.stream().CloseRead() }, net.ErrClosed, time.Second},
			{"the session's end", func(f *fake) { f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth) }, io.ErrUnexpectedEOF, time.Second},
			{"no more reading", func(f *fake) { f.core.Abort(net.ErrClosed, stream.AbortRead) }, net.ErrClosed, time.Second},
			{"no more writing", func(f *fake) { f.core.Abort(io.ErrClosedPipe, stream.AbortWrite) }, io.EOF, 5 * time.Second},
		} {
			f := newFake(t, v, true)
			s := f.stream()
			f.arrive("eeF")
			elapsed := testutil.Clock()
			reading := testutil.BackgroundErr(func() error { _, err := s.Read(make([]byte, 1)); return err })
			time.Sleep(time.Second)
			c.end(f)
			err := (<-reading).Err
			wantOpErr(t, c.name+": Read", err, c.want)
			testutil.WantTime(t, c.name+": Read", elapsed(), c.after)
			if c.want == io.EOF && f.arrive("F") {
				t.Errorf("%s: the stream is refused after Read has returned io.EOF", c.name)
			}
			time.Sleep(time.Minute)
			_, err = s.Read(make([]byte, 1))
			wantOpErr(t, c.name+": a later Read", err, c.want)
		}
	})
}

// A stream with no call on it, whose writing side is closed, is finished after these 5 s.
func TestStreamIsFinishedWithoutASecondFIN(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		_ = f.stream().CloseWrite()
		f.take(1000)
		f.arrive("eeF")
		time.Sleep(5*time.Second - 1)
		if f.ended() != 0 {
			t.Error("it is finished too early")
		}
		time.Sleep(time.Second)
		if f.ended() != 1 {
			t.Error("it is not finished")
		}
	})
}

// Refuse sends two empty PSHs and two FINs, whatever the peer has sent, and nothing else.
func TestRefuseSendsTheMarkAndTwoFINs(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		for _, letters := range []string{"", "d", "F", "dF", "dFF", "eeF"} {
			f := newFake(t, v, false)
			f.arrive(letters)
			f.core.Refuse()
			if !f.core.HasUnsent() {
				t.Error("HasUnsent reports false before the refusal is sent")
			}
			list := f.take(1000)
			want := []wire.Command{wire.PSH, wire.PSH, wire.FIN, wire.FIN}
			if got := commands(list); fmt.Sprint(got) != fmt.Sprint(want) || len(payload(list)) > 0 {
				t.Errorf("after %q: sent %v with %d bytes, want %v", letters, got, len(payload(list)), want)
			}
			if f.core.HasUnsent() || f.ended() != 1 || f.core.Unread() != 0 {
				t.Errorf("after %q: HasUnsent %v, Finished was called %d times, %d bytes are unread", letters, f.core.HasUnsent(), f.ended(), f.core.Unread())
			}
			f.core.Refuse()
			if list := f.take(1000); len(list) > 0 {
				t.Errorf("a second Refuse sends %v", list)
			}
		}
	})
}

// A session that is closing still sends the refusal. One that sends nothing more does not.
func TestRefusalIsSentWhileTheSessionCloses(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		f.core.Refuse()
		f.core.Abort(net.ErrClosed, stream.AbortRead)
		if got := commands(f.take(1000)); len(got) != 4 {
			t.Errorf("sent %v", got)
		}
		f = newFake(t, v, false)
		f.core.Abort(io.ErrClosedPipe, stream.AbortWrite)
		f.core.Refuse()
		if list := f.take(1000); len(list) > 0 || f.ended() != 1 {
			t.Errorf("sent %v, Finished was called %d times", list, f.ended())
		}
	})
}

// No call of the application sends a PSH without data.
func TestNoCallSendsAnEmptyPSH(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, true)
		s := f.stream()
		_, _ = s.Write(nil)
		_, _ = s.Write([]byte{})
		_, _ = s.ReadFrom(strings.NewReader(""))
		_, _ = s.Write([]byte("x"))
		_, _ = s.Write(nil)
		list := f.take(1000)
		_ = s.CloseWrite()
		_, _ = s.Write(nil)
		list = append(list, f.take(1000)...)
		_ = s.Close()
		list = append(list, f.take(1000)...)
		data := 0
		for _, frame := range list {
			if frame.Command == wire.PSH {
				data++
				if len(frame.Data) == 0 {
					t.Errorf("sent %v", frame)
				}
			}
		}
		if data != 1 {
			t.Errorf("sent %d PSHs, want 1", data)
		}
	})
}

// With NoHalfClose, the first FIN of a refusal ends nothing before the second one has come or 5 s have passed.
func TestRefusalWithNoHalfClose(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		for _, c := range []struct {
			second bool
			want   error
			after  time.Duration
		}{{true, stream.ErrRefused, time.Second}, {false, stream.ErrPeerClosed, 5 * time.Second}} {
			f := newFake(t, v, true)
			f.cfg.NoHalfClose = true
			writing := write(f.stream(), make([]byte, 1<<20))
			elapsed := testutil.Clock()
			f.arrive("eeF")
			time.Sleep(time.Second)
			if c.second {
				f.arrive("F")
			}
			wantOpErr(t, "Write", (<-writing).Err, c.want)
			testutil.WantTime(t, "Write", elapsed(), c.after)
			<-f.stream().Done()
		}
	})
}
