package docs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// The programs of docs/ending-a-program.md lose nothing: the client's data is with the server when flush has returned, and
// the server ends when its streams have.
func TestGuideEndingAProgram(t *testing.T) {
	testutil.LeakCheck(t)
	ctx, stop := untilSignal()
	tcp := listen(t)
	got := make(chan string, 1)
	mayEnd := make(chan struct{})
	served := testutil.BackgroundErr(func() error {
		return serveUntil(ctx, tcp, func(conn net.Conn) {
			defer conn.Close()
			data, err := io.ReadAll(conn)
			got <- string(data)
			if err != nil {
				t.Error(err)
			}
			<-mayEnd
		})
	})

	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(st, "a report"); err != nil {
		t.Fatal(err)
	}
	testutil.WantErr(t, "closeAndFlush", closeAndFlush(context.Background(), st), nil)
	if data := <-got; data != "a report" {
		t.Errorf("the server got %q", data)
	}

	stop() // as a signal does
	<-s.Draining()
	if _, err := s.OpenStream(context.Background()); !errors.Is(err, session.ErrPeerShutdown) {
		t.Errorf("OpenStream returns %v while the server stops", err)
	}
	close(mayEnd)
	testutil.WantErr(t, "serveUntil", (<-served).Err, nil)
}

func closeAndFlush(ctx context.Context, st *stream.Stream) error {
	st.Close() // the peer reads io.EOF; Close does not wait for that
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := st.Flush(ctx); err != nil {
		return err // the data may not have arrived
	}
	return nil
}

func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the program
	return ctx, stop
}

func serveUntil(ctx context.Context, tcp net.Listener, serve func(net.Conn)) error {
	l := &session.Listener{Listener: tcp}
	defer l.CloseNow()                           // ends what is left
	context.AfterFunc(ctx, func() { l.Close() }) // accepts no more; open streams go on
	for {
		st, err := l.Accept()
		if err != nil && ctx.Err() != nil {
			break // the streams that were on their way have been accepted
		} else if err != nil {
			return err
		}
		go serve(st)
	}
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return l.Shutdown(drain) // waits until all streams are closed
}
