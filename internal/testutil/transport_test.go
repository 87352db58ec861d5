package testutil

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// Each transport carries bytes in both directions, and closes.
func TestTransportsCarryBytesAndClose(t *testing.T) {
	for _, tr := range Transports() {
		t.Run(tr.Name, func(t *testing.T) { carry(t, tr) })
		if tr.Bubble {
			t.Run(tr.Name+" in a bubble", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { carry(t, tr) })
			})
		}
	}
}

func carry(t *testing.T, tr Transport) {
	LeakCheck(t)
	const size = 200_000
	client, server := tr.Pair(t)
	for _, way := range []struct{ from, to io.ReadWriteCloser }{{client, server}, {server, client}} {
		sent := make(chan error, 1)
		go func() {
			_, err := Pattern(1).Send(way.from, size, 3000)
			sent <- err
		}()
		v := Pattern(1).Verifier()
		if _, err := io.CopyN(v, way.to, size); err != nil {
			t.Error(err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if tr.Buffered {
		if _, err := client.Write([]byte("small")); err != nil {
			t.Error(err)
		}
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, server); err != nil {
		t.Error(err)
	}
}

// A transport with deadlines is a net.Conn, and one without is not.
func TestTransportWithDeadlinesIsANetConn(t *testing.T) {
	for _, tr := range Transports() {
		t.Run(tr.Name, func(t *testing.T) {
			client, server := tr.Pair(t)
			_, c := client.(net.Conn)
			_, s := server.(net.Conn)
			if c != tr.Deadlines || s != tr.Deadlines {
				t.Errorf("client is a net.Conn: %v, server: %v, want %v", c, s, tr.Deadlines)
			}
		})
	}
}

// Both ends of a pair are closed when the test ends.
func TestPairIsClosedWhenTheTestEnds(t *testing.T) {
	for _, tr := range Transports() {
		t.Run(tr.Name, func(t *testing.T) {
			var ends []io.ReadWriteCloser
			r := record(func(t testing.TB) {
				client, server := tr.Pair(t)
				ends = append(ends, client, server)
			})
			if r.skipped {
				t.Skip(r.log)
			}
			if r.failed {
				t.Fatal(r.log)
			}
			for _, end := range ends {
				if _, err := end.Write([]byte{1}); err == nil {
					t.Error("an end is open")
				}
			}
		})
	}
}
