package session_test

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// A roomy is a transport that knows how large the buffer of the last Read was.
type roomy struct {
	io.ReadWriteCloser
	room atomic.Int64
}

func (r *roomy) Read(p []byte) (int, error) {
	r.room.Store(int64(len(p)))
	return r.ReadWriteCloser.Read(p)
}

// While a session over a transport that is no socket waits for data, it holds a buffer of 512 bytes: from its start until
// more has arrived at once, and then again once two Reads in a row have brought less.
func TestQuietSessionWaitsWithASmallBuffer(t *testing.T) {
	const small, large = 512, 64 << 10
	eachRole(t, func(t *testing.T, r role) {
		ours, theirs := testutil.BarePair(t)
		conn := &roomy{ReadWriteCloser: ours}
		_, peer := r.startOn(t, conn, theirs, session.Config{})
		id := r.theirs(0)
		var got, want []int64
		for _, step := range []struct {
			frames []testutil.Frame
			room   int64
		}{
			{nil, small},
			{[]testutil.Frame{r.nop()}, small},
			{[]testutil.Frame{r.syn(id), r.psh(id, make([]byte, small-17))}, small},
			{[]testutil.Frame{r.psh(id, make([]byte, small-8))}, large},
			{[]testutil.Frame{r.nop()}, large},
			{[]testutil.Frame{r.psh(id, make([]byte, small))}, large},
			{[]testutil.Frame{r.nop()}, large},
			{[]testutil.Frame{r.fin(id)}, small},
			{[]testutil.Frame{r.nop()}, small},
		} {
			if len(step.frames) > 0 {
				peer.Send(t, step.frames...)
			}
			synctest.Wait()
			got, want = append(got, conn.room.Load()), append(want, step.room)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the reader waits with these buffers (-want +got):\n%s", diff)
		}
	})
}

// Whatever comes after a time of quiet arrives whole: less than the small buffer holds, as much, more, and much more. The
// frames begin and end anywhere in it, and each step follows each other one.
func TestBurstAfterQuietArrivesWhole(t *testing.T) {
	sizes := []int{1, 500, 504, 505, 512, 600, 1100, 70_000, 300_000}
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		verify := testutil.Pattern(1).Verifier()
		buf := make([]byte, 300_000)
		for first := range sizes {
			for i := range sizes {
				n := sizes[(i*(first+1)+first)%len(sizes)]
				testutil.Pattern(1).Fill(buf[:n], verify.Offset())
				sent := testutil.Background(func() (int, error) { return a.Write(buf[:n]) })
				got := make([]byte, n)
				if _, err := io.ReadFull(b, got); err != nil {
					t.Fatal(err)
				}
				testutil.WantErr(t, "Write", (<-sent).Err, nil)
				if _, err := verify.Write(got); err != nil {
					t.Fatal(err)
				}
				settle(tr)
				if i%3 == 2 { // NOPs, after which the session is quiet
					time.Sleep(3 * keepalive.DefaultInterval)
				}
			}
		}
	})
}

// With Config.ReceiveRate, a quiet session reads no faster than the rate allows, and what comes arrives whole.
func TestQuietSessionKeepsItsReceiveRate(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ca, cb := testutil.BarePair(t)
		c := client(t, ca, &session.Config{Version: version})
		s := server(t, cb, &session.Config{Version: version, ReceiveRate: flow.Rate{BytesPerSecond: 100, Burst: 100}})
		a, b := openPair(t, c, s)
		begin := time.Now()
		const size = 3000
		sent := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(1).Send(a, size, 100)
			_ = a.CloseWrite()
			return n, err
		})
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Write", (<-sent).Err, nil)
		if took := time.Since(begin); took < (size-100)/100*time.Second {
			t.Errorf("%d bytes took %v at 100 bytes a second", size, took)
		}
	})
}
