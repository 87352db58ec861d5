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
			for range 10 {
				st, err := service.Open(t.Context(), c, "x", nil)
				if err == nil {
					_, err = st.Write([]byte("hello"))
				}
				if err == nil && i > 0 {
					err = second(st.Read(make([]byte, 1)))
				}
				if i > 0 { // the refusal may be there before the header is written
					wantRefused(t, "a call", err, service.CodeUnavailable, "")
					testutil.WantErr(t, "a call", err, stream.ErrRefused)
				}
			}
			synctest.Wait()
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
