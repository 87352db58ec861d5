package relay_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// counting counts the calls of a conn that Join uses to copy.
type counting struct {
	net.Conn
	reads, writes, writeTos, readFroms atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A lender is a conn that has WriteTo and ReadFrom.
type lender struct{ *counting }

func (c lender) WriteTo(w io.Writer) (int64, error) {
	c.writeTos.Add(1)
	return io.Copy(w, struct{ io.Reader }{c.Conn})
}

func (c lender) ReadFrom(r io.Reader) (int64, error) {
	c.readFroms.Add(1)
	return io.Copy(struct{ io.Writer }{c.Conn}, struct{ io.Reader }{r})
}

// Join has a source with WriteTo pass on its buffers, and otherwise a destination with ReadFrom read into its own. Without
// both it reads and writes.
func TestJoinUsesWriteToAndReadFrom(t *testing.T) {
	for _, lends := range []bool{true, false} {
		theirA, connA := testutil.PipePair(t)
		theirB, connB := testutil.PipePair(t)
		a, b := &counting{Conn: connA}, &counting{Conn: connB}
		ends := [2]net.Conn{a, b}
		if lends {
			ends[0] = lender{a}
		}
		joined := join(t.Context(), ends[0], ends[1], nil)
		write(t, theirA, "to b")
		wantRead(t, theirB, "to b")
		write(t, theirB, "and to a")
		wantRead(t, theirA, "and to a")
		_, _ = theirA.Close(), theirB.Close()
		r := <-joined
		if want := (relay.Result{AToB: 4, BToA: 8}); r.Value != want || r.Err != nil {
			t.Errorf("Join = %+v, %v, want %+v", r.Value, r.Err, want)
		}
		calls := [4]bool{a.writeTos.Load() > 0, a.readFroms.Load() > 0, a.reads.Load() > 0, a.writes.Load() > 0}
		if want := [4]bool{lends, lends, !lends, !lends}; calls != want {
			t.Errorf("WriteTo, ReadFrom, Read and Write were called: %v, want %v", calls, want)
		}
	}
}
