//go:build unix && !self

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Every byte arrives between us and a crate, on one stream and on 64 of each side at once.
func TestCrateEveryByteArrives(t *testing.T) {
	for _, streams := range []int{1, 64} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			eachCrate(t, defaults, func(t *testing.T, l *link) {
				seed := newSeed(t)
				const largest = 4 << 20
				var wg sync.WaitGroup
				serve(t, l.their(), seed, largest, streams, wg.Go)
				serve(t, l.our(), seed, largest, streams, wg.Go)
				exchange(t, l.our(), seed, largest, numbers(0, streams), wg.Go)
				exchange(t, l.their(), seed, largest, numbers(streams, streams), wg.Go)
				wg.Wait()
				wantNoStreams(t, l)
			})
		})
	}
}

// 4,000 streams are opened and closed, in a row and 16 at a time, by either side.
func TestCrateShortStreams(t *testing.T) {
	for _, atOnce := range []int{1, 16} {
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) { shortStreams(t, atOnce) })
	}
}

func shortStreams(t *testing.T, atOnce int) {
	const streams = 4000
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			var all sync.WaitGroup
			all.Go(func() {
				for range streams {
					st, err := acceptor.Accept()
					if err != nil {
						t.Errorf("%s: accept: %v", acceptor.name, err)
						return
					}
					all.Go(func() {
						defer st.Close()
						_, _ = io.Copy(st, struct{ io.Reader }{st})
					})
				}
			})
			for n := range atOnce {
				all.Go(func() {
					for range streams / atOnce {
						st, err := opener.Open()
						if err != nil {
							t.Errorf("%s: open: %v", opener.name, err)
							return
						}
						mustWrite(t, opener.name, st, []byte{byte(n)})
						got := []byte{0}
						if _, err := io.ReadFull(st, got); err != nil || got[0] != byte(n) {
							t.Errorf("%s: read %v, %v", opener.name, got, err)
						}
						mustClose(t, opener.name, st)
					}
				})
			}
			all.Wait()
			wantNoStreams(t, l)
		})
	})
}

// 5,000 streams are opened as fast as possible, by either side; see TestBurstOfOpensLosesNoStream.
func TestCrateBurstOfOpensLosesNoStream(t *testing.T) {
	eachCrateInTurn(t, defaults, func(t *testing.T, l *link) { // each stream has a file descriptor
		openers(t, l, func(t *testing.T, opener, acceptor end) { burst(t, l, opener, acceptor) })
	})
}

// What is written right before Close arrives, from either side.
func TestCrateDataBeforeCloseArrives(t *testing.T) {
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			for _, size := range []int{1, 1000, 200_000} {
				data := payload{seed: newSeed(t), size: size}.bytes()
				ours, theirs := connect(t, opener, acceptor)
				mustWrite(t, "ours", ours, data)
				mustClose(t, "ours", ours)
				readAll(t, "theirs", theirs, data)
				mustClose(t, "theirs", theirs)
				ours, theirs = connect(t, opener, acceptor)
				go func() {
					mustWrite(t, "theirs", theirs, data)
					mustClose(t, "theirs", theirs)
				}()
				readAll(t, "ours", ours, data)
				mustClose(t, "ours", ours)
			}
		})
	})
}

// Half-close from either side works with smux, as the table says.
func TestCrateHalfClose(t *testing.T) {
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		if !l.peer.halfCloses() {
			halfCloseWithoutAnswer(t, l)
			return
		}
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			ours, theirs := connect(t, opener, acceptor)
			mustCloseWrite(t, "ours", ours)
			readAll(t, "theirs", theirs, nil)
			mustWrite(t, "theirs", theirs, []byte("answer"))
			mustClose(t, "theirs", theirs)
			readAll(t, "ours", ours, []byte("answer"))
			mustClose(t, "ours", ours)

			ours, theirs = connect(t, opener, acceptor)
			mustCloseWrite(t, "theirs", theirs)
			readAll(t, "ours", ours, nil)
			mustWrite(t, "ours", ours, []byte("answer"))
			mustClose(t, "ours", ours)
			readAll(t, "theirs", theirs, []byte("answer"))
			mustClose(t, "theirs", theirs)
		})
	})
}

// halfCloseWithoutAnswer checks that async_smux sends neither its answer nor FIN once ours has come, and that it may
// throw our answer away once it has sent FIN.
func halfCloseWithoutAnswer(t *testing.T, l *link) {
	openers(t, l, func(t *testing.T, opener, acceptor end) {
		ours, theirs := connect(t, opener, acceptor)
		mustCloseWrite(t, "ours", ours)
		readAll(t, "theirs", theirs, nil)
		mustWrite(t, "theirs", theirs, []byte("answer"))
		mustClose(t, "theirs", theirs)
		echo(t, l)
		if err := ours.SetReadDeadline(soon()); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(ours); len(got) > 0 || !timedOut(err) {
			t.Errorf("ours: after our half-close, read %q, %v", got, err)
		}
		mustClose(t, "ours", ours)

		ours, theirs = connect(t, opener, acceptor)
		mustCloseWrite(t, "theirs", theirs)
		readAll(t, "ours", ours, nil)
		mustWrite(t, "ours", ours, []byte("answer"))
		mustClose(t, "ours", ours)
		if got, err := io.ReadAll(theirs); err != nil || len(got) > 0 && string(got) != "answer" {
			t.Errorf("theirs: after their shutdown, read %q, %v", got, err)
		}
		mustClose(t, "theirs", theirs)
	})
	l.shows(t, noAnswerNoFIN)
	l.shows(t, shutsBothDown)
}

// Our signals and refusals change nothing for a crate: it does not answer a ping, streams go on, and a stream that we
// refuse ends without data.
func TestCrateSignalsAndRefusalsChangeNothing(t *testing.T) {
	quick := setting{name: "CloseTimeout 200 ms", ours: ourConfig{CloseTimeout: 200 * time.Millisecond}}
	eachCrate(t, quick, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		ours, theirs := connect(t, l.our(), l.their())
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Ping(ctx); !errors.Is(err, session.ErrPingUnanswered) {
			t.Errorf("Ping: %v, want no answer", err)
		}
		waits, err := l.theirs.Open()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "theirs", waits, []byte("nobody accepts this"))
		for start := time.Now(); s.NumStreams() < 2 && time.Since(start) < hung; {
			time.Sleep(time.Millisecond)
		}
		if err := s.Listener().Close(); err != nil { // sends the drain signal, and refuses after CloseTimeout
			t.Error(err)
		}
		readAll(t, "theirs", waits, nil)
		mustClose(t, "theirs", waits)
		if n := s.Stats().StreamsRefused; n != 1 {
			t.Errorf("we have refused %d streams", n)
		}
		mustWrite(t, "ours", ours, []byte("ping"))
		mustWrite(t, "theirs", theirs, []byte("pong"))
		got := make([]byte, 4)
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "pong" {
			t.Errorf("ours: read %q, %v", got, err)
		}
		if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "ping" {
			t.Errorf("theirs: read %q, %v", got, err)
		}
		mine, peers := connect(t, l.our(), l.their())
		for _, st := range []muxStream{mine, peers, ours, theirs} {
			mustClose(t, "a side", st)
		}
	})
}

// Each frame of a signal, an echo or a refusal changes nothing for a crate, also where no session of ours would send it.
func TestCrateNoFrameOfASignalChangesAnything(t *testing.T) {
	buildCrates(t)
	for _, p := range crates {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/client %v", p.name, client), func(t *testing.T) {
				t.Parallel()
				record(t, p, 1, !client)
				signalsChangeNothing(t, p, wire.V1, client)
			})
		}
	}
}

// If its process is killed, the calls of ours return at once, and what it had sent arrives.
func TestCrateKilledEndsOurCalls(t *testing.T) {
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		ready := make(chan error, 1)
		var opened, accepted muxStream // without them, the program gets the end of its connections
		go func() {
			var err error
			opened, accepted, err = restarting(l.theirs)
			ready <- err
		}()
		v := newSurvivor(t, l.ours, true)
		if err := <-ready; err != nil {
			t.Fatal(err)
		}
		echo(t, l) // the program has passed on what was written before
		v.wantEnd(t, false, func() { _ = l.theirs.Close() })
		runtime.KeepAlive(opened)
		runtime.KeepAlive(accepted)
	})
}

// The end of our session, by Close and by CloseNow, ends theirs: its streams end, and its program with it.
func TestOurSessionEndEndsACrate(t *testing.T) {
	for name, end := range map[string]func(s *session.Session) error{"Close": (*session.Session).Close, "CloseNow": (*session.Session).CloseNow} {
		t.Run(name, func(t *testing.T) {
			eachCrate(t, setting{ours: ourConfig{CloseTimeout: time.Second}}, func(t *testing.T, l *link) {
				_, theirs := connect(t, l.our(), l.their())
				if err := end(l.ours.(ourSession).Session); err != nil && !errors.Is(err, session.ErrNotFlushed) {
					t.Errorf("%s: %v", name, err)
				}
				if err := theirs.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if n, err := theirs.Read(make([]byte, 1)); n > 0 || timedOut(err) {
					t.Errorf("their stream: %d, %v", n, err)
				}
			})
		})
	}
}

// The table of results names the versions that Cargo.toml has.
func TestCratesAreThoseOfCargoToml(t *testing.T) {
	manifest, err := os.ReadFile("rust/Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range crates {
		if want := fmt.Sprintf("\n%s = \"=%s\"", p.name, p.crate); !strings.Contains(string(manifest), want) {
			t.Errorf("Cargo.toml has no line %s", want[1:])
		}
	}
}

// docs/protocol.md has the table of results. With -update, the test writes it.
func TestTableOfResultsIsInTheDocs(t *testing.T) { wantInDocs(t, "table of results", docsTable()) }
