package session_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Each ending of a stream between two sessions closes Done, also without a Read or a Write: after one trip of the
// transport if it is the peer's, at once if it is this side's. A half-close does not.
func TestDoneIsClosedWhenAStreamOrSessionEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c, s *session.Session, a, b *stream.Stream) // a is c's, and Done is a's
		want bool
	}{
		"the peer half-closes":  {func(c, s *session.Session, a, b *stream.Stream) { _ = b.CloseWrite() }, false},
		"this side half-closes": {func(c, s *session.Session, a, b *stream.Stream) { _ = a.CloseWrite() }, false},
		"both half-close":       {func(c, s *session.Session, a, b *stream.Stream) { _ = a.CloseWrite(); _ = b.CloseWrite() }, true},
		"the peer closes":       {func(c, s *session.Session, a, b *stream.Stream) { _ = b.Close() }, true},
		"the peer half-closes and closes": {func(c, s *session.Session, a, b *stream.Stream) {
			_ = b.CloseWrite()
			time.Sleep(time.Second)
			_ = b.Close()
		}, true},
		"this side closes":                 {func(c, s *session.Session, a, b *stream.Stream) { _ = a.Close() }, true},
		"this side closes its session":     {func(c, s *session.Session, a, b *stream.Stream) { _ = c.Close() }, true},
		"this side closes its session now": {func(c, s *session.Session, a, b *stream.Stream) { _ = c.CloseNow() }, true},
		"the peer closes its session":      {func(c, s *session.Session, a, b *stream.Stream) { _ = s.Close() }, true},
		"the peer closes its session now":  {func(c, s *session.Session, a, b *stream.Stream) { _ = s.CloseNow() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, c, s)
				done := a.Done()
				closed := testutil.Background(func() (struct{}, error) { <-done; return struct{}{}, nil })
				time.Sleep(time.Minute)
				wantPending(t, "Done", closed)
				tt.end(c, s, a, b)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				select {
				case <-closed:
					if !tt.want {
						t.Error("Done is closed")
					}
				default:
					if tt.want {
						t.Error("Done is not closed")
					}
				}
			})
		})
	}
}

// Calls of Done race with the endings of the stream: each channel is closed.
func TestDoneRacesWithTheEnd(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for i := range 40 {
			c, s := sessions(t, tr, session.Config{Version: version})
			a, b := openPair(t, c, s)
			var all []<-chan testutil.Result[struct{}]
			for range 4 {
				all = append(all, testutil.BackgroundErr(func() error { <-a.Done(); return nil }))
			}
			ends := []func() error{b.Close, a.Close, c.Close, c.CloseNow, s.CloseNow}
			all = append(all, testutil.BackgroundErr(ends[i%len(ends)]),
				testutil.BackgroundErr(func() error { return second(a.Write(make([]byte, 10))) }),
				testutil.BackgroundErr(func() error { return second(io.Copy(io.Discard, a)) }))
			for _, r := range all {
				<-r
			}
		}
	})
}
