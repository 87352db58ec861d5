package stream_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// With NoHalfClose, the peer's FIN ends both directions. Read returns what arrived before, and io.EOF. Writes, also those
// that are blocked, fail with ErrPeerClosed. Done is closed, and Close sends FIN.
func TestNoHalfCloseFINEndsBothDirections(t *testing.T) {
	for name, block := range map[string]func(s *stream.Stream){
		"the window": func(s *stream.Stream) {},
		"a rate":     func(s *stream.Stream) { s.SetSendRate(flow.Rate{BytesPerSecond: 1}) },
	} {
		t.Run("Write waits for "+name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, false)
				f.cfg.NoHalfClose = true
				s := f.stream()
				f.deliver([]byte("hello"))
				s.Write([]byte("nobody will read this"))
				block(s)
				blocked := write(s, make([]byte, 1<<20))
				synctest.Wait()
				another := write(s, []byte("x"))
				synctest.Wait()
				f.core.HandleFIN()
				wantOpErr(t, "Write", (<-blocked).Err, stream.ErrPeerClosed)
				wantOpErr(t, "another Write", (<-another).Err, stream.ErrPeerClosed)
				_, err := s.Write([]byte("x"))
				wantOpErr(t, "a later Write", err, stream.ErrPeerClosed)
				<-s.Done()
				if got, err := io.ReadAll(s); string(got) != "hello" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				wantOpErr(t, "Close", s.Close(), stream.ErrPeerClosed) // data that Write took was not sent
				if diff := cmp.Diff([]wire.Command{wire.FIN}, commands(f.take(1<<20))); diff != "" {
					t.Errorf("sent (-want +got)\n%s", diff)
				}
				if f.ended() != 1 {
					t.Error("the stream is not finished")
				}
			})
		})
	}
}

// With NoHalfClose, CloseWrite fails and changes nothing, and Close sends what it always sends.
func TestNoHalfCloseLeavesCloseWriteUnsupported(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		f.cfg.NoHalfClose = true
		s := f.stream()
		for range 2 {
			wantOpErr(t, "CloseWrite", s.CloseWrite(), errors.ErrUnsupported)
		}
		if sent := f.take(1 << 20); len(sent) > 0 {
			t.Errorf("CloseWrite sent %v", sent)
		}
		if n, err := s.Write([]byte("hello")); n != 5 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if diff := cmp.Diff([]wire.Command{wire.PSH, wire.FIN, wire.FIN}, commands(f.take(1<<20))); diff != "" {
			t.Errorf("sent (-want +got)\n%s", diff)
		}
		wantOpErr(t, "CloseWrite after Close", s.CloseWrite(), errors.ErrUnsupported)
	})
}

// An open stream gives up when the peer has sent one FIN and no update since, and data has waited for its window for
// Linger. Then Write fails, the stream needs the session no more, and no FIN is sent.
func TestOpenStreamGivesUpPeerWithoutWindow(t *testing.T) {
	const linger = 5 * time.Second
	update := func(f *fake, n uint32) {
		if err := f.core.HandleUpdate(wire.WindowUpdate{Window: n}); err != nil {
			f.t.Error(err)
		}
	}
	fin := func(f *fake) { f.core.HandleFIN() }
	for _, c := range []struct {
		name   string
		before func(f *fake) // before the Write, which the window of 1,000 bytes stops
		after  func(f *fake) // a second after it
		want   time.Duration // when Write fails, from the start; 0 means never
	}{
		{"FIN", fin, nil, linger},
		{"FIN later", nil, fin, time.Second + linger},
		{"no FIN", nil, nil, 0},
		{"FIN, and an update", fin, func(f *fake) { update(f, 1000) }, 0},
		{"FIN and an update before", func(f *fake) { fin(f); update(f, 1000) }, nil, 0},
		{"a second FIN", fin, fin, time.Second},
		{"FIN, and the window is open", func(f *fake) { fin(f); update(f, 1<<30) }, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, wire.V2, false)
				f.cfg.Linger = linger
				update(f, 1000)
				if c.before != nil {
					c.before(f)
				}
				s := f.stream()
				done := s.Done()
				blocked := write(s, make([]byte, 100_000))
				synctest.Wait()
				f.take(1 << 20)
				time.Sleep(time.Second)
				if c.after != nil {
					c.after(f)
				}
				if c.want == 0 {
					time.Sleep(time.Hour)
					f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
					if r := <-blocked; r.Err != nil {
						wantOpErr(t, "Write", r.Err, io.ErrUnexpectedEOF)
					}
					return
				}
				r := <-blocked
				wantOpErr(t, "Write", r.Err, stream.ErrPeerClosed)
				if r.Value != 1000 || r.After != c.want {
					t.Errorf("Write = %d after %v, want 1000 after %v", r.Value, r.After, c.want)
				}
				<-done
				_, err := s.Write([]byte("x"))
				wantOpErr(t, "a later Write", err, stream.ErrPeerClosed)
				if c.name == "a second FIN" {
					return // the peer said it
				}
				synctest.Wait() // Write returns before the timer's call does
				if f.ended() != 1 {
					t.Error("the stream is not finished")
				}
				update(f, 1<<30) // too late
				s.CloseWrite()
				s.Close()
				if late := f.take(1 << 20); len(late) > 0 {
					t.Errorf("sent %v", late)
				}
			})
		})
	}
}

// An open stream also gives up data that Writes have left for later, and says so at Close. The unread data can still be
// read.
func TestOpenStreamGivesUpCopiedData(t *testing.T) {
	for _, halfClosed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, wire.V2, false)
			f.cfg.Linger = time.Second
			s := f.stream()
			if err := f.core.HandleUpdate(wire.WindowUpdate{Window: 0}); err != nil {
				t.Fatal(err)
			}
			f.deliver([]byte("unread"))
			if _, err := s.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			want := error(stream.ErrPeerClosed)
			if halfClosed {
				want = nil
				if err := s.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			f.core.HandleFIN()
			time.Sleep(2 * time.Second)
			if !halfClosed {
				_, err := s.Write([]byte("x"))
				wantOpErr(t, "Write", err, want)
			}
			if f.ended() != 0 {
				t.Error("the stream is finished before its data was read")
			}
			if got, err := io.ReadAll(s); string(got) != "unread" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if f.ended() != 1 {
				t.Error("the stream is not finished")
			}
			wantOpErr(t, "Close", s.Close(), stream.ErrPeerClosed)
			if late := f.take(1 << 20); len(late) > 0 {
				t.Errorf("sent %v", late)
			}
		})
	}
}
