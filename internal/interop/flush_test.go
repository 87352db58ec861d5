package interop

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// flush calls Flush of a stream of ours.
func flush(t *testing.T, st muxStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	if err := st.(interface {
		Flush(ctx context.Context) error
	}).Flush(ctx); err != nil {
		t.Errorf("Flush: %v", err)
	}
}

// closeNow ends a session of ours as the end of its program would.
func closeNow(t *testing.T, s muxSession) {
	t.Helper()
	if err := s.(interface{ CloseNow() error }).CloseNow(); err != nil {
		t.Errorf("CloseNow: %v", err)
	}
}

// Flush returns toward every version of the original, which does not answer pings: over TCP, the kernel knows.
func TestFlushToThemReturns(t *testing.T) {
	skipStandIn(t, "its Flush is not ours")
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		for _, size := range []int{1, 200_000} {
			p := payload{seed: newSeed(t), size: size}
			ours, theirs := connect(t, l.our(), l.their())
			var reading sync.WaitGroup
			reading.Go(func() { wantWhole(t, theirs, p) })
			mustWrite(t, "ours", ours, p.bytes())
			mustClose(t, "ours", ours)
			flush(t, ours)
			reading.Wait()
		}
	})
}

// Over KCP, which throws away what it has queued when it is closed, the answer of our session is the proof.
func TestFlushOverKCPDelivers(t *testing.T) {
	skipStandIn(t, "its Flush is not ours")
	for _, loss := range []float64{0, 0.03} {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v lost, the client %v", loss, client), func(t *testing.T) {
				t.Parallel()
				for _, size := range []int{100, 100_000} {
					var all sync.WaitGroup
					for range 10 {
						conn, accept := kcpPair(t, loss)
						all.Go(func() {
							a, err := startOurs(conn, true, 2, nil)
							if err != nil {
								t.Error(err)
								return
							}
							from, err := a.Open()
							if err != nil {
								t.Error(err)
								return
							}
							mustWrite(t, "the client", from, []byte{1})
							b, err := startOurs(accept(), false, 2, nil)
							if err != nil {
								t.Error(err)
								return
							}
							to, err := b.Accept()
							if err != nil {
								t.Error(err)
								return
							}
							if _, err := to.Read(make([]byte, 1)); err != nil {
								t.Error(err)
							}
							if !client {
								a, b, from, to = b, a, to, from
							}
							p := payload{seed: 1, size: size}
							var reading sync.WaitGroup
							reading.Go(func() { wantWhole(t, to, p) })
							mustWrite(t, "ours", from, p.bytes())
							mustClose(t, "ours", from)
							flush(t, from)
							closeNow(t, a)
							reading.Wait()
							closeNow(t, b)
						})
					}
					all.Wait()
				}
			})
		}
	}
}
