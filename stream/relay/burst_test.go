package relay_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// A bursty conn is a simulated one that is treated like a socket. It knows the length of the buffer of the last Read.
type bursty struct {
	*simnet.Conn
	buffer, deadlines atomic.Int64
}

func (c *bursty) HarmlessDeadlines() {}

func (c *bursty) Read(p []byte) (int, error) {
	c.buffer.Store(int64(len(p)))
	return c.Conn.Read(p)
}

func (c *bursty) SetReadDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

// A direction holds a large buffer while data comes, and a small one when there was none for two seconds. No byte is lost
// when it changes, whatever the destination is.
func TestJoinHoldsLittleMemoryForAQuietSocket(t *testing.T) {
	for _, y := range kinds {
		if !y.bubble {
			continue
		}
		bubble(t, func(t *testing.T) {
			inner, client := simPair(t)
			a := &bursty{Conn: inner}
			b, server := y.pair(t)
			joined := join(t.Context(), a, b, nil)
			p, off := testutil.Pattern(1), int64(0)
			for i := range 40 {
				synctest.Wait()
				size, pause := 1<<(i%18), time.Duration(i)*100*time.Millisecond
				data := make([]byte, size)
				p.Fill(data, off)
				go client.Write(data)
				got := make([]byte, size)
				readFull(t, server, got)
				if err := p.Check(got, off); err != nil {
					t.Fatal(err)
				}
				off += int64(size)
				synctest.Wait()
				if n := a.buffer.Load(); n <= 512 {
					t.Errorf("a buffer of %d bytes waits for more data", n)
				}
				time.Sleep(pause)
				synctest.Wait()
				if n := a.buffer.Load(); n > 512 && pause > 2*time.Second {
					t.Errorf("a buffer of %d bytes waits after %v without data", n, pause)
				}
			}
			client.Close()
			server.Close()
			r := <-joined
			if want := (relay.Result{AToB: off}); r.Value != want || r.Err != nil {
				t.Errorf("Join returned %+v, %v, want %+v", r.Value, r.Err, want)
			}
		})
	}
}

// A conn that is busy all the time has its deadline set once a second, and a quiet one never.
func TestJoinSetsFewDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		inner, client := simPair(t)
		a := &bursty{Conn: inner}
		b, server := streams(t, nil)
		joined := join(t.Context(), a, b, nil)
		for range 1000 {
			write(t, client, "x")
			wantRead(t, server, "x")
			time.Sleep(10 * time.Millisecond)
		}
		if n := a.deadlines.Load(); n > 15 {
			t.Errorf("the deadline was set %d times in 10 s", n)
		}
		time.Sleep(time.Minute)
		n := a.deadlines.Load()
		time.Sleep(time.Hour)
		if a.deadlines.Load() > n {
			t.Errorf("the deadline of a quiet conn was set")
		}
		client.Close()
		server.Close()
		testutil.WantErr(t, "Join", (<-joined).Err, nil)
	})
}
