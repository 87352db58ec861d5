//go:build unix && !self

package interop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// A crate whose application accepts no streams stops reading the connection, so that all our streams wait. WriteTimeout
// ends our session then, and with it all calls.
func TestCrateThatAcceptsNothingStopsAllStreams(t *testing.T) {
	buildCrates(t)
	checkGoroutines(t)
	for _, p := range crates {
		for _, client := range []bool{true, false} {
			t.Run(p.name+"/"+role(client), func(t *testing.T) {
				t.Parallel()
				record(t, p, 1, client)
				acceptsNothing(t, p, client)
			})
		}
	}
}

func acceptsNothing(t *testing.T, p *peer, ourClient bool) {
	ourConn, theirConn, start := rolesOfPair(t, ourClient)
	theirs, err := startCrate(p.name, "accept=off")(theirConn, !ourClient, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	s, err := start(ourConn, &session.Config{Version: 1, WriteTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var writing sync.WaitGroup
	for range 40 {
		st, err := s.OpenStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		writing.Go(func() {
			var err error
			for err == nil {
				_, err = st.Write(make([]byte, 1000))
			}
			if !errors.Is(err, session.ErrWriteTimeout) {
				t.Errorf("Write: %v", err)
			}
		})
	}
	writing.Wait()
	<-s.Done()
	if err := s.Err(); !errors.Is(err, session.ErrWriteTimeout) {
		t.Errorf("the session ended with %v", err)
	}
	show(t, crateBacklog, p, 1, ourClient)
}
