package service_test

import (
	"context"
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
)

// BenchmarkCall opens a stream, sends a request and reads the answer: without a service, and with one.
func BenchmarkCall(b *testing.B) {
	for _, named := range []bool{false, true} {
		name := map[bool]string{false: "stream", true: "service"}[named]
		b.Run(name, func(b *testing.B) {
			ca, cb := testutil.TCPPair(b)
			c, err := session.Client(ca, nil)
			if err != nil {
				b.Fatal(err)
			}
			s, err := session.Server(cb, nil)
			if err != nil {
				b.Fatal(err)
			}
			echo := func(st io.ReadWriter) {
				p := make([]byte, 64)
				io.ReadFull(st, p)
				st.Write(p)
			}
			m := new(service.Mux)
			m.Handle("echo", func(st *service.Stream) { echo(st) })
			done := make(chan struct{})
			go func() {
				defer close(done)
				if named {
					m.Serve(context.Background(), s)
					return
				}
				for {
					st, err := s.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						defer st.Close()
						echo(st)
					}()
				}
			}()
			p := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				var st io.ReadWriteCloser
				if named {
					st, err = service.Open(context.Background(), c, "echo", nil)
				} else {
					st, err = c.OpenStream(context.Background())
				}
				if err != nil {
					b.Fatal(err)
				}
				st.Write(p)
				if _, err := io.ReadFull(st, p); err != nil {
					b.Fatal(err)
				}
				st.Close()
			}
			c.Close()
			s.Close()
			<-done
		})
	}
}
