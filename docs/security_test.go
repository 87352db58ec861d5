package docs_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// With the settings of docs/security.md, a peer that misbehaves loses its session or its streams in the time that the
// settings say.
func TestGuideSecurity(t *testing.T) {
	testutil.LeakCheck(t)
	const streams = 10
	opens := func(peer *simnet.Conn, more func(id uint32) testutil.Frame) {
		var frames []byte
		for i := range streams {
			id := uint32(2*i + 1)
			frames = more(id).Append(testutil.SYN(wire.V2, id).Append(frames))
		}
		_, _ = peer.Write(frames)
	}
	// alive sends a NOP every 10 s for as long as the session takes them.
	alive := func(peer *simnet.Conn) {
		for {
			if _, err := peer.Write(testutil.NOP(wire.V2).Append(nil)); err != nil {
				return
			}
			time.Sleep(10 * time.Second)
		}
	}
	for _, test := range []struct {
		name  string
		peer  func(peer *simnet.Conn)       // what the peer does
		serve func(st *stream.Stream) error // what the application does with each stream
		ends  error                         // why the session ends
		calls error                         // what serve returns, if it is called
		after time.Duration                 // of virtual time, or up to a quarter more
	}{
		{
			name:  "says nothing",
			peer:  func(peer *simnet.Conn) { _, _ = io.Copy(io.Discard, peer) },
			ends:  session.ErrKeepAlive,
			after: 30 * time.Second,
		},
		{
			name: "reads nothing",
			peer: func(peer *simnet.Conn) {
				opens(peer, func(id uint32) testutil.Frame { return testutil.NOP(wire.V2) })
				alive(peer)
			},
			serve: func(st *stream.Stream) error { return second(io.Copy(st, zeros{})) },
			ends:  session.ErrWriteTimeout,
			calls: session.ErrWriteTimeout,
			after: 30 * time.Second,
		},
		{
			name: "leaves its streams, and then the session",
			peer: func(peer *simnet.Conn) {
				opens(peer, func(id uint32) testutil.Frame { return testutil.NOP(wire.V2) })
				go func() { _, _ = io.Copy(io.Discard, peer) }()
				alive(peer)
			},
			serve: func(st *stream.Stream) error { return second(io.Copy(io.Discard, st)) },
			ends:  session.ErrIdleTimeout,
			calls: stream.ErrIdleTimeout,
			after: 10 * time.Minute,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := simnet.Pair(simnet.Link{Rate: 12.5e6, Delay: 10 * time.Millisecond})
				s, err := session.Server(b, settingsForTheInternet())
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				peerDone := testutil.BackgroundErr(func() error {
					test.peer(a)
					return nil
				})
				ended := make(chan error, streams)
				served := 0
				for test.serve != nil && served < streams {
					st := accept(t, s)
					go func() { ended <- errors.Join(test.serve(st), st.Close()) }()
					served++
				}
				<-s.Done()
				testutil.WantErr(t, "the session", s.Err(), test.ends)
				if took := time.Since(begun); took < test.after || took > test.after*5/4+10*time.Second {
					t.Errorf("it took %v, want %v", took, test.after)
				}
				for range served {
					testutil.WantErr(t, "a handler", <-ended, test.calls)
				}
				_ = a.Close()
				<-peerDone
			})
		})
	}
}

func settingsForTheInternet() *session.Config {
	return &session.Config{
		MaxStreams:        100,
		Budget:            flow.NewBudget(256 << 20), // unread data, all sessions together
		SendBudget:        flow.NewBudget(64 << 20),  // unsent data, all sessions together
		StallTimeout:      10 * time.Second,
		WriteTimeout:      30 * time.Second,
		StreamIdleTimeout: 5 * time.Minute,
		IdleTimeout:       5 * time.Minute,
		ReceiveRate:       flow.Rate{BytesPerSecond: 10 << 20}, // of each session
		KeepAlive:         keepalive.Periodic{Strict: true},    // the clients are smuxkits
	}
}

func second[T any](_ T, err error) error { return err }
