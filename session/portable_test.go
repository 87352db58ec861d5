package session_test

import (
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// With Config.Portable a session uses a socket by the socket's own methods only. The peer sees no difference.
func TestConfigPortableTurnsTheSystemCallsOff(t *testing.T) {
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c := client(t, ca, &session.Config{Version: version, Portable: true})
		s := server(t, cb, &session.Config{Version: version})
		if !session.Portable(c) || session.Portable(s) != portable {
			t.Fatalf("portable: client %v, server %v", session.Portable(c), session.Portable(s))
		}
		a, b := openPair(t, c, s)
		const size = 1 << 20
		sent := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(1).Send(a, size, 100_000)
			a.CloseWrite()
			return n, err
		})
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Write", (<-sent).Err, nil)
		sent = testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(2).Send(b, size, 100_000)
			b.Close()
			return n, err
		})
		if err := testutil.Pattern(2).Receive(a, size); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Write", (<-sent).Err, nil)
		_, err := a.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, io.EOF)
	})
}
