package session_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// deadlineCalls are the calls that have a deadline. Each call blocks.
var deadlineCalls = []struct {
	name string
	call func(st *stream.Stream) error
	set  func(st *stream.Stream, at time.Time) error
	// other sets the deadline of the other direction, which must not matter.
	other func(st *stream.Stream, at time.Time) error
}{
	{
		"Read", func(st *stream.Stream) error { _, err := st.Read(make([]byte, 1)); return err },
		(*stream.Stream).SetReadDeadline, (*stream.Stream).SetWriteDeadline,
	},
	{
		"WriteTo", func(st *stream.Stream) error { _, err := st.WriteTo(io.Discard); return err },
		(*stream.Stream).SetReadDeadline, (*stream.Stream).SetWriteDeadline,
	},
	{
		"Write", func(st *stream.Stream) error { _, err := st.Write(make([]byte, 1<<20)); return err },
		(*stream.Stream).SetWriteDeadline, (*stream.Stream).SetReadDeadline,
	},
	{
		"ReadFrom", func(st *stream.Stream) error { _, err := st.ReadFrom(testutil.Pattern(1).Reader(1 << 20)); return err },
		(*stream.Stream).SetWriteDeadline, (*stream.Stream).SetReadDeadline,
	},
}

// wantTimeout checks that err is the error of package net for a deadline that has passed.
func wantTimeout(t testing.TB, what string, err error) {
	t.Helper()
	testutil.WantErr(t, what, err, os.ErrDeadlineExceeded)
	ne, op := net.Error(nil), new(net.OpError)
	if !errors.As(err, &ne) || !ne.Timeout() || !errors.As(err, &op) || op.Net != "smux" {
		t.Errorf("%s: %#v is no time-out of smux", what, err)
	}
}

// A deadline takes effect at once, also when it is moved while calls wait.
func TestDeadlineTakesEffectAtOnce(t *testing.T) {
	const h, m = time.Hour, time.Minute
	at := func(d time.Duration) time.Time { return time.Now().Add(d) }
	type setter func(time.Time)
	for _, c := range []struct {
		name string
		// do gets functions that set the deadline of this direction and of the other one.
		do   func(set, other setter)
		want time.Duration
	}{
		{"set before", func(set, _ setter) { set(at(h)) }, h},
		{"in the past", func(set, _ setter) { set(time.Unix(1, 0)) }, 0},
		{"now", func(set, _ setter) { set(at(0)) }, 0},
		{"without a monotonic clock", func(set, _ setter) { set(at(h).Round(0)) }, h},
		{"moved to the past", func(set, _ setter) { set(at(h)); time.Sleep(m); set(time.Unix(1, 0)) }, m},
		{"moved to now", func(set, _ setter) { time.Sleep(m); set(at(0)) }, m},
		{"moved to earlier", func(set, _ setter) { set(at(h)); time.Sleep(m); set(at(m)) }, 2 * m},
		{"moved to later", func(set, _ setter) { set(at(m)); time.Sleep(m - 1); set(at(h)) }, m - 1 + h},
		{"moved to later and back", func(set, _ setter) { set(at(m)); set(at(h)); time.Sleep(1 * time.Nanosecond); set(at(m)) }, m + 1},
		{"removed and set again", func(set, _ setter) { set(at(m)); set(time.Time{}); time.Sleep(h); set(at(m)) }, h + m},
		{"set many times", func(set, _ setter) {
			for range 1000 {
				set(at(h))
				time.Sleep(time.Second)
			}
		}, 999*time.Second + h},
		{"the other direction's passes", func(set, other setter) { set(at(h)); other(time.Unix(1, 0)); other(at(m)) }, h},
	} {
		for _, call := range deadlineCalls {
			t.Run(c.name+"/"+call.name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					s, peer := scripted(t, transport("sim"), &session.Config{Version: version, KeepAlive: off})
					st := openWide(t, s, peer, version)
					set := func(f func(*stream.Stream, time.Time) error) setter {
						return func(at time.Time) {
							if err := f(st, at); err != nil {
								t.Error(err)
							}
						}
					}
					var blocked []<-chan testutil.Result[struct{}]
					for range 3 {
						blocked = append(blocked, testutil.BackgroundErr(func() error { return call.call(st) }))
					}
					synctest.Wait()
					c.do(set(call.set), set(call.other))
					for _, b := range blocked {
						r := <-b
						wantTimeout(t, call.name, r.Err)
						testutil.WantTime(t, call.name+" returned", r.After, c.want)
					}
					// The next call fails at once.
					elapsed := testutil.Clock()
					wantTimeout(t, call.name+" again", call.call(st))
					testutil.WantTime(t, call.name+" returned", elapsed(), 0)
				})
			})
		}
	}
}

// After its deadline a Read fails, even if there is data to read or the stream has ended. Nothing is lost.
func TestDeadlinePassedFailsReadsOfUnreadData(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		if _, err := b.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b.CloseWrite()
		if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := a.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			n, err := a.Read(make([]byte, 5))
			wantTimeout(t, "Read", err)
			k, err := a.WriteTo(io.Discard)
			wantTimeout(t, "WriteTo", err)
			if n != 0 || k != 0 {
				t.Errorf("%d and %d bytes were read", n, k)
			}
		}
		// Nothing was lost.
		a.SetReadDeadline(time.Time{})
		if rest, err := io.ReadAll(a); string(rest) != "ello" || err != nil {
			t.Errorf("read %q, %v", rest, err)
		}
		// The deadline is reported at the end of the stream, too.
		a.SetReadDeadline(time.Unix(1, 0))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, "Read after the end", err)
	})
}

// Deadlines that pass again and again lose no byte and double none.
func TestDeadlinesLoseAndDoubleNothing(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		size := int64(1 << 20)
		if !tr.Bubble {
			size = 512 << 10
		}
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)

		var others sync.WaitGroup
		stop := make(chan struct{})
		defer others.Wait()
		defer close(stop)
		// Several goroutines move the deadlines all the time, mostly to the past or near it.
		for i := range 4 {
			others.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					at := time.Now().Add(time.Duration(n%7-2) * 10 * time.Microsecond)
					_ = a.SetWriteDeadline(at)
					if i%2 == 0 {
						_ = b.SetReadDeadline(at)
					}
					if tr.Bubble {
						time.Sleep(time.Duration(7+i) * time.Microsecond)
					} else if n%100 == 0 {
						// Give the other goroutines time without a deadline.
						_ = b.SetDeadline(time.Time{})
						_ = a.SetDeadline(time.Time{})
						runtime.Gosched()
					}
				}
			})
		}
		others.Go(func() {
			src := newSource(1, 50_000)
			for src.off < size {
				src.buf = src.buf[:min(int64(len(src.buf)), size-src.off)]
				if _, err := src.write(a); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write: %v", err)
					return
				}
				if tr.Bubble {
					time.Sleep(time.Microsecond)
				}
			}
			a.CloseWrite()
		})
		v := testutil.Pattern(1).Verifier()
		buf := make([]byte, 10_000)
		for {
			n, err := b.Read(buf)
			if _, err := v.Write(buf[:n]); err != nil {
				t.Error(err)
				break
			}
			if err == io.EOF {
				break
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read: %v", err)
				break
			}
			if err != nil && tr.Bubble {
				time.Sleep(time.Microsecond)
			}
		}
		if v.Offset() != size {
			t.Errorf("%d of %d bytes arrived", v.Offset(), size)
		}
	})
}

// A deadline of one stream affects neither the other streams nor the transport.
func TestDeadlineConcernsItsStreamAlone(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a1, b1 := openPair(t, c, s)
		a2, b2 := openPair(t, c, s)
		for _, st := range []*stream.Stream{a1, b1} {
			if err := st.SetDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			_, err := st.Read(make([]byte, 1))
			wantTimeout(t, "Read", err)
			_, err = st.Write(make([]byte, 100_000))
			wantTimeout(t, "Write", err)
		}
		go func() {
			if _, err := testutil.Pattern(1).Send(a2, 1<<20, 30_000); err != nil {
				t.Error(err)
			}
			a2.Close()
		}()
		if err := testutil.Pattern(1).Receive(b2, 1<<20); err != nil {
			t.Error(err)
		}
		// The first stream works with a new deadline.
		a1.SetDeadline(time.Time{})
		b1.SetDeadline(time.Now().Add(time.Hour))
		if _, err := a1.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(b1, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	})
}
