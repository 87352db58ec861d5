package stream_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// isClosed reports whether c is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Done is closed by each ending of the stream, and not by less, whether it was called before or is called after. Ended is
// closed by the same endings, except by the peer's close alone.
func TestDoneIsClosedByEachEnding(t *testing.T) {
	reset := errors.New("reset")
	for name, tt := range map[string]struct {
		end  func(f *fake)
		want bool
	}{
		"nothing":           {func(*fake) {}, false},
		"a FIN":             {func(f *fake) { f.core.HandleFIN() }, false},
		"a FIN, read":       {func(f *fake) { f.core.HandleFIN(); _, _ = io.ReadAll(f.stream()) }, false},
		"a second FIN":      {func(f *fake) { f.core.HandleFIN(); f.core.HandleFIN() }, true},
		"CloseRead":         {func(f *fake) { _ = f.stream().CloseRead() }, false},
		"CloseRead, a FIN":  {func(f *fake) { _ = f.stream().CloseRead(); f.core.HandleFIN() }, false},
		"CloseWrite":        {func(f *fake) { _ = f.stream().CloseWrite(); f.take(1000) }, false},
		"CloseWrite, a FIN": {func(f *fake) { _ = f.stream().CloseWrite(); f.take(1000); f.core.HandleFIN() }, true},
		"FINs, CloseWrite": {func(f *fake) {
			f.core.HandleFIN()
			f.core.HandleFIN()
			_ = f.stream().CloseWrite()
			f.take(1000)
		}, true},
		"a FIN, CloseWrite":      {func(f *fake) { f.core.HandleFIN(); _ = f.stream().CloseWrite(); f.take(1000) }, true},
		"a FIN and one to send":  {func(f *fake) { f.core.HandleFIN(); _ = f.stream().CloseWrite() }, false},
		"Close":                  {func(f *fake) { _ = f.stream().Close() }, true},
		"Close, twice":           {func(f *fake) { _ = f.stream().Close(); _ = f.stream().Close() }, true},
		"Close, and FINs":        {func(f *fake) { _ = f.stream().Close(); f.core.HandleFIN(); f.core.HandleFIN() }, true},
		"a stall":                {func(f *fake) { f.core.FailStalled(f.cfg.NextRound()) }, true},
		"the session ends":       {func(f *fake) { f.core.Abort(reset, stream.AbortBoth) }, true},
		"the session is closing": {func(f *fake) { f.core.Abort(net.ErrClosed, stream.AbortRead) }, true},
		"writing has failed":     {func(f *fake) { f.core.Abort(reset, stream.AbortWrite) }, false},
		"writing has failed, then a FIN and CloseWrite": {func(f *fake) {
			f.core.Abort(reset, stream.AbortWrite)
			f.core.HandleFIN()
			_ = f.stream().CloseWrite()
		}, true},
		"writing has failed, then CloseWrite and a FIN": {func(f *fake) {
			f.core.Abort(reset, stream.AbortWrite)
			_ = f.stream().CloseWrite()
			f.core.HandleFIN()
		}, true},
		"an overrun, in version 2": {func(f *fake) {
			if f.stream(); f.cfg.Version == wire.V2 {
				f.deliver(make([]byte, 20<<20))
			} else {
				_ = f.stream().Close()
			}
		}, true},
	} {
		for _, before := range []bool{true, false} {
			t.Run(map[bool]string{true: "before/", false: "after/"}[before]+name, func(t *testing.T) {
				both(t, func(t *testing.T, v wire.Version) {
					f := newFake(t, v, false)
					f.deliver([]byte("unread"))
					var first, firstEnded <-chan struct{}
					if before {
						first, firstEnded = f.stream().Done(), f.stream().Ended()
						if isClosed(first) || isClosed(firstEnded) {
							t.Fatal("Done or Ended is closed at once")
						}
					}
					tt.end(f)
					ended := f.stream().Ended()
					if before && firstEnded != ended {
						t.Error("Ended returns another channel")
					}
					if got, want := isClosed(ended), tt.want && name != "a second FIN"; got != want {
						t.Errorf("Ended is closed: %v, want %v", got, want)
					}
					done := f.stream().Done()
					if before && first != done {
						t.Error("Done returns another channel")
					}
					if got := isClosed(done); got != tt.want {
						t.Errorf("Done is closed: %v, want %v", got, tt.want)
					}
					f.core.Abort(reset, stream.AbortBoth)
					if !isClosed(done) {
						t.Error("the session has ended, and Done is open")
					}
					if !isClosed(ended) {
						t.Error("the session has ended, and Ended is open")
					}
				})
			})
		}
	}
}

// Data that arrived before Done was closed by the peer or by the end of the session can be read.
func TestDoneLeavesUnreadDataToRead(t *testing.T) {
	for name, end := range map[string]func(f *fake){
		"the peer closes":  func(f *fake) { f.core.HandleFIN(); f.core.HandleFIN() },
		"both have ended":  func(f *fake) { _ = f.stream().CloseWrite(); f.take(1000); f.core.HandleFIN() },
		"the session ends": func(f *fake) { f.core.Abort(io.ErrUnexpectedEOF, stream.AbortBoth) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) {
				f := newFake(t, v, false)
				done := f.stream().Done()
				f.deliver([]byte("unread"))
				end(f)
				<-done
				p := make([]byte, 10)
				if n, err := f.stream().Read(p); string(p[:n]) != "unread" || err != nil {
					t.Errorf("read %q, %v", p[:n], err)
				}
			})
		})
	}
}
