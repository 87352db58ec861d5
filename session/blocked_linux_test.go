package session_test

import (
	"io"
	"os"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A socket in blocking mode does not block the program. (*net.TCPConn).File and then Fd, an old way to set socket
// options, put the socket into that mode, also for those who use the conn. A system call that sleeps unknown to
// the Go scheduler would stop the program.
func TestBlockingSocketDoesNotBlockTheProgram(t *testing.T) {
	sockets := func(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "unix" }
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		block := func(conn io.ReadWriteCloser) {
			f, err := conn.(interface{ File() (*os.File, error) }).File()
			if err != nil {
				t.Fatal(err)
			}
			f.Fd()
			f.Close()
		}
		ca, cb := tr.Pair(t)
		block(ca)
		c, s := client(t, ca, &session.Config{Version: version}), server(t, cb, &session.Config{Version: version})
		a, b := openPair(t, c, s)
		block(cb)
		const size = 4 << 20 // more than the sockets' buffers hold
		sent := testutil.Background(func() (int64, error) {
			n, err := testutil.Pattern(1).Send(a, size, 100_000)
			a.Close()
			return n, err
		})
		if err := testutil.Pattern(1).Receive(b, size); err != nil {
			t.Error(err)
		}
		testutil.WantErr(t, "Write", (<-sent).Err, nil)
		testutil.WantErr(t, "Close", c.Close(), nil)
	})
}
