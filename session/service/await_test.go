package service_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// If the context of AwaitAnswer and the read deadline end at the same moment, later calls have the deadline that the
// application sets.
func TestAwaitAnswerLeavesNoDeadlineBehind(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			answered := testutil.BackgroundErr(func() error { return opened.AwaitAnswer(ctx) })
			synctest.Wait()
			cancel()
			opened.SetReadDeadline(time.Now())
			if err := (<-answered).Err; err == nil {
				t.Fatal("AwaitAnswer returned nil")
			}
			synctest.Wait()
			opened.SetReadDeadline(time.Now().Add(time.Second))
			elapsed := testutil.Clock()
			testutil.WantErr(t, "Read", second(opened.Read(make([]byte, 1))), os.ErrDeadlineExceeded)
			testutil.WantTime(t, "Read returned", elapsed(), time.Second)
			opened.SetReadDeadline(time.Time{})
		}
		write(t, accepted, "data")
		wantRead(t, opened, "data")
	})
}
