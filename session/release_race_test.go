package session_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A session that gives back again and again what only a session with streams needs loses no stream and no byte, while
// streams are opened, carry data, are closed and are left idle. Its end is like that of any other, in the middle of that, too.
func TestReleasesBesideStreamsLoseNothing(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		var over atomic.Bool
		var releases, uses sync.WaitGroup
		for _, x := range []*session.Session{c, s} {
			releases.Go(func() {
				for i := 0; !over.Load(); i++ {
					session.Release(x)
					if i%64 == 0 {
						time.Sleep(100 * time.Microsecond)
					}
					runtime.Gosched()
				}
			})
		}
		go func() {
			for {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(st, st); _ = st.Close() }()
			}
		}()
		echo := func(i int) error {
			st, err := c.OpenStream(context.Background())
			if err != nil {
				return err
			}
			defer st.Close()
			want := fmt.Sprintf("this is %d", i)
			if _, err := io.WriteString(st, want); err != nil {
				return err
			}
			if err := st.CloseWrite(); err != nil {
				return err
			}
			if got, err := io.ReadAll(st); string(got) != want || err != nil {
				return fmt.Errorf("%q and not %q: %v", got, want, err)
			}
			return nil
		}
		for i := range 4 {
			uses.Go(func() {
				for n := range 100 {
					if err := echo(100*i + n); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		uses.Wait()
		for i := range 4 { // and now the end comes in the middle
			uses.Go(func() {
				for n := 0; echo(i+n) == nil; n++ {
				}
			})
		}
		runtime.Gosched()
		_ = c.CloseNow()
		uses.Wait()
		<-s.Done()
		over.Store(true)
		releases.Wait()
		if n := c.NumStreams() + s.NumStreams(); n != 0 {
			t.Errorf("%d streams after the end", n)
		}
	})
}
