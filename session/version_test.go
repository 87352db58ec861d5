package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// learning starts a server with version 0 and its peer, who may speak either version.
func learning(t *testing.T, cfg session.Config) (*session.Session, *testutil.Peer) {
	t.Helper()
	ours, theirs := testutil.SimPair(t, simnet.Link{})
	if cfg.KeepAlive == nil {
		cfg.KeepAlive = keepalive.Off{}
	}
	p := testutil.NewPeer(t, theirs)
	p.Ignore(wire.NOP)
	return server(t, ours, &cfg), p
}

func TestAServerWithVersionZeroAdoptsTheVersionOfTheFirstFrame(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		r := role{version: wire.Version(version)}
		for _, first := range []testutil.Frame{r.nop(), r.syn(1), r.fin(1), r.psh(7, []byte("to nobody"))} {
			s, p := learning(t, session.Config{})
			p.Send(t, first)
			if first.Command == wire.SYN {
				accept(t, s)
			}
			p.Ignore(wire.NOP, wire.UPD)
			wantAlive(t, r, s, p, 3)
			// From now on it is the session's.
			p.Send(t, testutil.NOP(3-r.version))
			wantEnded(t, s, wire.ErrVersionMismatch)
		}
	})
}

func TestAServerWithVersionZeroEndsIfTheFirstFrameHasNoVersionThatItSpeaks(t *testing.T) {
	for _, first := range []wire.Header{{Version: 0}, {Version: 3, Command: wire.SYN, StreamID: 1}, {Version: 71, Command: 69}} {
		t.Run(first.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, p := learning(t, session.Config{})
				p.SendBytes(t, first.Append(nil))
				wantEnded(t, s, wire.ErrVersion)
				if errors.Is(s.Err(), wire.ErrVersionMismatch) {
					t.Errorf("Err = %v, there was no version to mismatch", s.Err())
				}
				p.ExpectEOF(t)
			})
		})
	}
}

func TestAServerWithVersionZeroSendsNothingBeforeTheFirstFrame(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		r := role{version: wire.Version(version)}
		s, p := learning(t, session.Config{KeepAlive: keepAlive})
		p.Ignore()
		opened := background(func() (any, error) { return s.OpenStream(context.Background()) })
		p.ExpectNothing(t, keepAlive.Timeout-time.Second) // no NOP, though two would be due
		p.Send(t, r.nop())
		if res := <-opened; res.err != nil {
			t.Fatal(res.err)
		}
		p.ExpectFrame(t, r.syn(2))
	})
}

func TestOpenStreamOfAServerThatKnowsNoVersionWaitsForIt(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, s *session.Session, p *testutil.Peer)
		want error
	}{
		{"and gets it", func(t *testing.T, s *session.Session, p *testutil.Peer) { p.Send(t, testutil.NOP(2)) }, nil},
		{"or for Close", func(t *testing.T, s *session.Session, p *testutil.Peer) { _ = s.Close() }, net.ErrClosed},
		{"or for the transport's end", func(t *testing.T, s *session.Session, p *testutil.Peer) { _ = p.Close() }, io.EOF},
		{"or for its context", func(t *testing.T, s *session.Session, p *testutil.Peer) { time.Sleep(time.Hour) }, context.DeadlineExceeded},
		{"or for a frame that is wrong", func(t *testing.T, s *session.Session, p *testutil.Peer) {
			p.Send(t, testutil.NOP(9))
		}, wire.ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, p := learning(t, session.Config{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				opened := background(func() (any, error) { return s.OpenStream(ctx) })
				time.Sleep(time.Second)
				select {
				case res := <-opened:
					t.Fatalf("it did not wait: %v, %v", res.value, res.err)
				default:
				}
				c.end(t, s, p)
				res := <-opened
				wantErr(t, "OpenStream", res.err, c.want)
			})
		})
	}
}

func TestOneListenerServesClientsOfBothVersions(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := background(func() (any, error) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return nil, nil
			}
			s := server(t, conn, &session.Config{}) // one Config, one kind of session
			go func() {
				for {
					st, err := s.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						_, _ = io.Copy(st, st)
						_ = st.Close()
					}()
				}
			}()
		}
	})
	const size = 400_000 // more than a first window
	var done []<-chan result[any]
	for n := range 6 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, conn, &session.Config{Version: n % 3}) // 0 is 1
		st := mustOpen(t, c)
		pattern := testutil.Pattern(n)
		done = append(done, background(func() (any, error) {
			if _, err := pattern.Send(st, size, 5000); err != nil {
				return nil, err
			}
			return nil, st.CloseWrite()
		}), background(func() (any, error) { return nil, pattern.Receive(st, size) }))
	}
	for _, d := range done {
		if res := <-d; res.err != nil {
			t.Error(res.err)
		}
	}
	l.Close()
	<-served
}

func TestEverythingThatIsSentHasTheSessionsVersion(t *testing.T) {
	roles(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive, AcceptBacklog: 1, MaxReceiveBuffer: 64 << 10})
		p.Ignore()
		a, b := r.theirs(0), r.theirs(1)
		p.Send(t, r.syn(a), r.syn(b)) // and b is refused
		st := accept(t, s)
		time.Sleep(10 * time.Millisecond) // the small budget calls for a window update
		p.Send(t, r.psh(a, make([]byte, 1000)), r.fin(a))
		mine := mustOpen(t, s)
		_, _ = mine.Write([]byte("data"))
		_, _ = io.ReadAll(st)
		_ = st.Close()
		_ = mine.Close()
		seen := map[wire.Command]bool{}
		for {
			f, err := p.TryNext(20 * time.Second)
			if err != nil {
				break
			}
			seen[f.Command] = true
			if f.Version != r.version {
				t.Errorf("got %v", f)
			}
		}
		for c := wire.SYN; c <= wire.UPD; c++ {
			if !seen[c] && (c != wire.UPD || r.version == 2) {
				t.Errorf("there was no %v", c)
			}
		}
	})
}
