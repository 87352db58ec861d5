//go:build !self

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// One side restarts, ours or theirs: what arrives at the other side, and what its calls return.

// A survivor is the side that does not restart: its session, and two streams on which it has written and read. The
// restarting side has then written "last" on accepted.
type survivor struct {
	ours             bool
	s                muxSession
	opened, accepted muxStream
}

// newSurvivor opens a stream and accepts one.
func newSurvivor(t *testing.T, s muxSession, ours bool) *survivor {
	t.Helper()
	v := &survivor{s: s, ours: ours}
	var err error
	if v.opened, err = s.Open(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "the survivor", v.opened, []byte("first"))
	if v.accepted, err = s.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(v.accepted, make([]byte, len("first"))); err != nil {
		t.Fatal(err)
	}
	return v
}

// restarting does the same for the side that restarts, and writes what has to arrive.
func restarting(s muxSession) (opened, accepted muxStream, err error) {
	if opened, err = s.Open(); err != nil {
		return nil, nil, err
	}
	if _, err = opened.Write([]byte("first")); err != nil {
		return nil, nil, err
	}
	if accepted, err = s.Accept(); err != nil {
		return nil, nil, err
	}
	if _, err = io.ReadFull(accepted, make([]byte, len("first"))); err != nil {
		return nil, nil, err
	}
	_, err = opened.Write([]byte("last"))
	return opened, accepted, err
}

// wantEnd lets the other side end its session, and checks that all calls of the survivor return, long before a keep-alive
// gives up. Its Read returns what had arrived, which is "last" unless lost says that it may be lost.
func (v *survivor) wantEnd(t *testing.T, lost bool, end func()) {
	t.Helper()
	var calls sync.WaitGroup
	check := func(call string, err error, allowed ...error) {
		if err == nil {
			t.Errorf("%s: no error after the end", call)
		}
		if v.ours {
			for _, want := range append(allowed, syscall.ECONNRESET, syscall.EPIPE) {
				if errors.Is(err, want) {
					return
				}
			}
			t.Errorf("%s: %v", call, err)
		}
	}
	calls.Go(func() {
		data, err := io.ReadAll(struct{ io.Reader }{v.accepted})
		// At the end of a session the original may drop what it has received.
		if string(data) != "last" && !((lost || !v.ours) && bytes.HasPrefix([]byte("last"), data)) {
			t.Errorf("%q arrived", data)
		}
		if v.ours { // the original returns io.EOF, too
			check("Read", err, io.ErrUnexpectedEOF)
		}
	})
	calls.Go(func() {
		_, err := v.opened.Read(make([]byte, 1))
		check("Read of the other stream", err, io.ErrUnexpectedEOF)
	})
	calls.Go(func() {
		_, err := v.s.Accept()
		check("Accept", err, io.EOF)
	})
	end()
	begin := time.Now()
	calls.Wait()
	for err := error(nil); err == nil; {
		_, err = v.opened.Write([]byte("x"))
		if err != nil {
			check("Write", err, io.ErrUnexpectedEOF)
		}
	}
	_, err := v.s.Open()
	check("Open", err, io.EOF)
	if d := time.Since(begin); d > session.DefaultCloseTimeout {
		t.Errorf("the calls returned after %v", d)
	}
	if err := v.s.Close(); v.ours && err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Whatever call ends a session, ours or theirs, what was written before arrives at the other side, whose calls then
// return. CloseNow may lose it.
func TestSessionEndReachesTheOtherImplementation(t *testing.T) {
	ways := []struct {
		name   string
		theirs bool // they end the session
		lost   bool
		end    func(s muxSession) error
	}{
		{name: "our Close", end: func(s muxSession) error { return s.Close() }},
		{name: "our CloseNow", lost: true, end: func(s muxSession) error { return s.(ourSession).CloseNow() }},
		{name: "their Close", theirs: true, end: func(s muxSession) error { return s.Close() }},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
				mine, other := l.ours, l.theirs
				if way.theirs {
					mine, other = l.theirs, l.ours
				}
				var opened, accepted muxStream
				ready := make(chan error, 1)
				go func() {
					var err error
					opened, accepted, err = restarting(mine)
					ready <- err
				}()
				v := newSurvivor(t, other, way.theirs)
				if err := <-ready; err != nil {
					t.Fatal(err)
				}
				v.wantEnd(t, way.lost, func() {
					if err := way.end(mine); err != nil {
						t.Errorf("%s: %v", way.name, err)
					}
				})
				// The original sends FIN for an accepted stream that is garbage.
				runtime.KeepAlive(opened)
				runtime.KeepAlive(accepted)
			})
		})
	}
}

// Our Shutdown toward them: open streams go on to their end, new ones are accepted for CloseTimeout and refused later, and
// Shutdown returns when all have ended. Then their calls return.
func TestOurShutdownLetsTheirStreamsEnd(t *testing.T) {
	const closeTimeout = 300 * time.Millisecond
	quick := setting{name: "CloseTimeout 300 ms", ours: ourConfig{CloseTimeout: closeTimeout}}
	matrix(t, []setting{quick}, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		ours, theirs := connect(t, l.their(), l.our())
		begin := time.Now()
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		early, accepted := connect(t, l.their(), l.our()) // they have not been told
		mustClose(t, "theirs", early)
		mustClose(t, "ours", accepted)

		for refused := false; !refused; {
			refused = !l.isAnswered(t, s)
		}
		if d := time.Since(begin); d < closeTimeout {
			t.Errorf("a stream was refused after %v", d)
		}
		select {
		case err := <-down:
			t.Errorf("Shutdown returned with a stream open: %v", err)
		default:
		}
		mustWrite(t, "ours", ours, []byte("answer"))
		mustClose(t, "ours", ours)
		// Our session may have ended: then the original's window update fails, and its Read may return that before io.EOF.
		readTheirs(t, theirs, "answer")
		_ = theirs.Close()
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := l.theirs.Accept(); err == nil {
			t.Error("their Accept: no error after the end")
		}
	})
}

// isAnswered lets them open a stream that s accepts and answers, unless it refuses the stream.
func (l *link) isAnswered(t *testing.T, s *session.Session) bool {
	ctx, cancel := context.WithCancel(context.Background())
	var accepting sync.WaitGroup
	defer accepting.Wait()
	defer cancel()
	accepting.Go(func() {
		if a, err := s.AcceptStream(ctx); err == nil {
			_, _ = io.ReadFull(a, make([]byte, 1)) // see connect
			_, _ = a.Write([]byte("answer"))
			_ = a.Close()
		}
	})
	for {
		st, err := l.theirs.Open()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "theirs", st, []byte{1})
		// The original sends SYN before it registers the stream, and may lose a refusal that is as fast.
		if err := st.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(st)
		mustClose(t, "theirs", st)
		if timedOut(err) {
			continue
		}
		if err != nil {
			t.Fatalf("theirs: read: %v", err)
		}
		return len(data) > 0
	}
}

// childEnv names the variable that makes the test's program a side of a session: see child.
const childEnv = "SMUX_INTEROP_CHILD"

// A child is a side of a session in a process of its own, which is killed.
type child struct {
	Peer    string // "" is ours
	Client  bool
	Version int
	Address string // where its parent listens
}

// run is the program of a child.
func (c child) run() error {
	conn, err := net.Dial("tcp", c.Address)
	if err != nil {
		return err
	}
	s, err := c.start(conn)
	if err != nil {
		return err
	}
	opened, accepted, err := restarting(s)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	time.Sleep(time.Hour) // until it is killed
	runtime.KeepAlive(opened)
	runtime.KeepAlive(accepted)
	return nil
}

func (c child) start(conn net.Conn) (muxSession, error) {
	for _, p := range peers {
		if p.name == c.Peer {
			return p.start(conn, c.Client, c.Version, nil)
		}
	}
	return newOurs(conn, c.Client, ourConfig{Version: c.Version})
}

// runChild runs the child that the environment describes, if there is one.
func runChild() {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run()
	}
	fmt.Println(err)
	os.Exit(1)
}

// If a process is killed, ours or theirs, what it had written arrives, and the calls of the other side return at once.
func TestKilledProcessEndsTheOtherSide(t *testing.T) {
	checkGoroutines(t)
	for _, p := range peers {
		for _, version := range []int{1, 2} {
			for _, client := range []bool{true, false} {
				for _, killed := range []string{"ours", "theirs"} {
					t.Run(fmt.Sprintf("%s/v%d/client %v/%s is killed", p.name, version, client, killed), func(t *testing.T) {
						t.Parallel()
						record(t, p, version, client == (killed == "ours"))
						dies := child{Version: version, Client: client, Peer: p.name}
						lives := child{Version: version, Client: !client}
						if killed == "ours" {
							dies.Peer, lives.Peer = lives.Peer, dies.Peer
						}
						killChild(t, dies, lives)
					})
				}
			}
		}
	}
}

// killChild starts a child, begins a session with it, and kills it.
func killChild(t *testing.T, dies, lives child) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dies.Address = l.Addr().String()
	text, err := json.Marshal(dies)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	defer kill()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(hung)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watch(t, conn)
	s, err := lives.start(conn)
	if err != nil {
		t.Fatal(err)
	}
	v := newSurvivor(t, s, lives.Peer == "")
	said := make([]byte, len("ready"))
	if _, err := io.ReadFull(out, said); err != nil || string(said) != "ready" {
		t.Fatalf("the child says %q, %v", said, err)
	}
	v.wantEnd(t, false, kill)
}
