package service_test

import (
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
)

// The queue of a listener is bounded over all sessions, those that have ended included. Streams beyond that are refused,
// and can be sent again.
func TestListenQueueIsBoundedOverAllSessions(t *testing.T) {
	defer service.SetMaxQueue(10)()
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		l := m.Listen("x")
		for i := range 10 { // ten times the bound
			c, _ := serve(t, m, session.Config{Version: version})
			var streams []*service.Stream
			for range 10 {
				st := open(t, c, "x", nil)
				write(t, st, "hello")
				streams = append(streams, st)
			}
			synctest.Wait()
			if i > 0 {
				for _, st := range streams {
					err := second(st.Read(make([]byte, 1)))
					wantRefused(t, "Read", err, service.CodeUnavailable, "")
					testutil.WantErr(t, "Read", err, stream.ErrRefused)
				}
			}
			c.Close()
			synctest.Wait()
		}
		for range 10 {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		c, _ := serve(t, m, session.Config{Version: version})
		write(t, open(t, c, "x", nil), "1")
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		wantRead(t, conn, "1")
		conn.Close()
	})
}
