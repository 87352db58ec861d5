package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// learning starts a server with Version 0 and a peer that may speak either version.
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

// A server with Version 0 adopts the version of the first frame.
func TestServerOfVersion0AdoptsTheFirstFramesVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		r := role{version: wire.Version(version)}
		for _, first := range []testutil.Frame{r.nop(), r.syn(1), r.fin(1), r.psh(7, []byte("to nobody"))} {
			s, p := learning(t, session.Config{})
			if v := s.Stats().Version; v != 0 {
				t.Errorf("before the first frame Stats.Version is %d", v)
			}
			p.Send(t, first)
			if first.Command == wire.SYN {
				accept(t, s)
			}
			p.Ignore(wire.NOP, wire.UPD)
			wantAlive(t, r, s, p, 3)
			if v := s.Stats().Version; v != version {
				t.Errorf("Stats.Version is %d, want %d", v, version)
			}
			// From now on the session has this version.
			p.Send(t, testutil.NOP(3-r.version))
			wantEnded(t, s, wire.ErrVersionMismatch)
		}
	})
}

// A server with Version 0 ends if it does not speak the version of the first frame.
func TestServerOfVersion0EndsAtAnUnknownVersion(t *testing.T) {
	for _, first := range []wire.Header{{Version: 0}, {Version: 3, Command: wire.SYN, StreamID: 1}, {Version: 71, Command: 69}} {
		t.Run(first.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, p := learning(t, session.Config{})
				p.SendBytes(t, first.Append(nil))
				wantEnded(t, s, wire.ErrVersion)
				if errors.Is(s.Err(), wire.ErrVersionMismatch) {
					t.Errorf("Err = %v, there was no version to mismatch", s.Err())
				}
				p.ExpectEOF(t, "an unknown version closes the transport")
			})
		})
	}
}

// A server with Version 0 sends nothing before the first frame arrives.
func TestServerOfVersion0SendsNothingBeforeAFrame(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		r := role{version: wire.Version(version)}
		s, p := learning(t, session.Config{KeepAlive: keepAlive})
		p.Ignore()
		opened := testutil.Background(func() (any, error) { return s.OpenStream(context.Background()) })
		p.ExpectNothing(t, "no NOP is sent, although two are due", keepAlive.Timeout-time.Second)
		p.Send(t, r.nop())
		if res := <-opened; res.Err != nil {
			t.Fatal(res.Err)
		}
		p.ExpectFrame(t, "SYN is sent once the version is known", r.syn(2))
	})
}

// OpenStream of a server with Version 0 waits until the version is known.
func TestOpenStreamWaitsForTheVersion(t *testing.T) {
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
				opened := testutil.Background(func() (any, error) { return s.OpenStream(ctx) })
				time.Sleep(time.Second)
				select {
				case res := <-opened:
					t.Fatalf("it did not wait: %v, %v", res.Value, res.Err)
				default:
				}
				c.end(t, s, p)
				res := <-opened
				testutil.WantErr(t, "OpenStream", res.Err, c.want)
			})
		})
	}
}

// One listener serves clients of both versions.
func TestListenerServesClientsOfBothVersions(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := testutil.Background(func() (any, error) {
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
	var done []<-chan testutil.Result[any]
	for n := range 6 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, conn, &session.Config{Version: n % 3}) // 0 is 2
		st := open(t, c)
		pattern := testutil.Pattern(n)
		done = append(done, testutil.Background(func() (any, error) {
			if _, err := pattern.Send(st, size, 5000); err != nil {
				return nil, err
			}
			return nil, st.CloseWrite()
		}), testutil.Background(func() (any, error) { return nil, pattern.Receive(st, size) }))
	}
	for _, d := range done {
		if res := <-d; res.Err != nil {
			t.Error(res.Err)
		}
	}
	l.Close()
	<-served
}

// Each frame that is sent has the session's version.
func TestFramesHaveTheSessionsVersion(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive, AcceptBacklog: 1, MaxReceiveBuffer: 64 << 10})
		p.Ignore()
		a, b := r.theirs(0), r.theirs(1)
		p.Send(t, r.syn(a), r.syn(b)) // and b is refused
		st := accept(t, s)
		time.Sleep(10 * time.Millisecond) // the small budget calls for a window update
		p.Send(t, r.psh(a, make([]byte, 1000)), r.fin(a))
		mine := open(t, s)
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

// silences are the ends of a session whose peer never sends a frame.
var silences = map[string]struct {
	cfg  session.Config
	end  func(conn *simnet.Conn)
	want error // what Err matches
	read error // what Read of a stream matches
}{
	"keep-alive": {
		cfg: session.Config{KeepAlive: keepAlive},
		end: func(*simnet.Conn) {}, want: session.ErrKeepAlive, read: session.ErrKeepAlive,
	},
	"the transport's end": {
		end: func(conn *simnet.Conn) { _ = conn.Close() }, want: io.EOF, read: io.ErrUnexpectedEOF,
	},
	"the transport's error": {
		end: func(conn *simnet.Conn) { conn.Break(syscall.ECONNRESET) }, want: syscall.ECONNRESET, read: syscall.ECONNRESET,
	},
	"the end of it within a frame": {
		end: func(conn *simnet.Conn) {
			_, _ = conn.Write([]byte{1, 0, 0})
			_ = conn.Close()
		}, want: io.ErrUnexpectedEOF, read: io.ErrUnexpectedEOF,
	},
}

// If streams were opened and the peer never sent a frame, the session's error asks whether the peer speaks the
// version in use. All errors still match what they match without that.
func TestPeerThatNeverSentAFrameMayHaveAnotherVersion(t *testing.T) {
	for name, c := range silences {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				cfg := c.cfg
				cfg.Version = version
				if version == 2 {
					cfg.Version = 0 // the default
				}
				s := client(t, ours, &cfg)
				st := open(t, s)
				time.Sleep(time.Second)
				c.end(theirs)
				<-s.Done()
				hint := fmt.Sprintf("no frame was ever received: does the peer speak version %d?", version)
				for what, err := range map[string]error{
					"Err": s.Err(), "Open": second(s.Open()),
					"Read": second(st.Read(make([]byte, 1))), "Write": second(st.Write([]byte("x"))),
				} {
					want := c.want
					if what == "Read" || what == "Write" {
						want = c.read
					}
					testutil.WantErr(t, what, err, want)
					if err == nil || strings.Count(err.Error(), hint) != 1 {
						t.Errorf("%s: %v, want it to say %q", what, err, hint)
					}
					var netErr net.Error
					if ok := errors.As(err, &netErr); what != "Err" && (!ok || netErr.Timeout() != (c.want == session.ErrKeepAlive)) {
						t.Errorf("%s: %v is not the right net.Error", what, err)
					}
				}
				_, err := s.Accept()
				testutil.WantErr(t, "Accept", err, c.want)
				if c.want == io.EOF && err != io.EOF {
					t.Errorf("Accept: %v, want a bare io.EOF", err)
				}
			})
		})
	}
}

// The error does not ask for the version if this side opened no stream, after any frame of the peer, or after
// Close.
func TestOtherEndsDoNotAskForTheVersion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(s *session.Session, p *testutil.Peer)
	}{
		{"no stream was opened", func(*session.Session, *testutil.Peer) {}},
		{"a NOP has come", func(s *session.Session, p *testutil.Peer) {
			open(t, s)
			p.Send(t, testutil.NOP(2))
		}},
		{"this side closes", func(s *session.Session, p *testutil.Peer) {
			open(t, s)
			_ = s.Close()
		}},
	} {
		for name, c := range silences {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					ours, theirs := testutil.SimPair(t, simnet.Link{})
					p := testutil.NewPeer(t, theirs)
					s := client(t, ours, &c.cfg)
					tt.before(s, p)
					time.Sleep(time.Second)
					c.end(theirs)
					<-s.Done()
					if err := s.Err(); strings.Contains(err.Error(), "version") {
						t.Errorf("Err = %v", err)
					}
				})
			})
		}
	}
}

// The error for a frame of another version names both versions.
func TestFrameOfAnotherVersionIsNamedWithTheSessions(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		for _, got := range []wire.Version{3 - r.version, 0, 3, 71} {
			s, p := r.start(t, session.Config{})
			open(t, s)
			p.Send(t, testutil.NOP(got))
			wantEnded(t, s, wire.ErrVersion)
			want := fmt.Sprintf("the frame has version %d, this session has version %d", got, r.version)
			if err := s.Err(); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ever received") {
				t.Errorf("Err = %v, want it to say %q and no more", err, want)
			}
			if known := got == 1 || got == 2; known != errors.Is(s.Err(), wire.ErrVersionMismatch) {
				t.Errorf("Err = %v: a mismatch of versions that are spoken: %v", s.Err(), known)
			}
		}
	})
}
