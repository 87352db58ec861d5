//go:build !386 && !portable && !self

package interop

import (
	"errors"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// Keep-alive toward the Rust crates, over TCP, where the kernel knows whether the other host is there.

// crateHabits are ways in which a crate behaves while it is idle, and what this tells our session.
var crateHabits = []struct {
	name  string
	set   theirConfig
	crate string
	nops  bool // it sends NOPs
	late  bool // the first one after Timeout
}{
	{"silent by default", nil, "async_smux", false, false},
	{"keep-alive off", func(c *theirSettings) { c.KeepAliveDisabled = true }, "smux", false, false},
	{"NOPs, gives up a silent peer", theirKeepAlive(interval, timeout), "smux", true, false},
	{"NOPs", theirKeepAlive(time.Second, 0), "async_smux", true, true}, // after one or two seconds, one each half second
}

// eachHabit runs test with each crate and habit in both roles, in parallel. policy makes the policy of our session.
func eachHabit(t *testing.T, policy func() keepalive.Policy, test func(t *testing.T, h habit)) {
	t.Helper()
	buildCrates(t)
	checkGoroutines(t)
	for _, c := range crateHabits {
		for _, p := range crates {
			if p.name != c.crate {
				continue
			}
			for _, client := range []bool{true, false} {
				t.Run(p.name+"/"+c.name+"/"+role(client), func(t *testing.T) {
					t.Parallel()
					record(t, p, 1, client)
					conn, theirConn, start := rolesOfPair(t, client)
					theirs, err := p.start(theirConn, !client, 1, c.set)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { theirs.Close() })
					h := habit{nops: c.nops, late: c.late, policy: policy()}
					s, err := start(conn, &session.Config{Version: 1, KeepAlive: h.policy})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { s.Close() })
					h.link = &link{ours: ourSession{s}, theirs: theirs, peer: p, version: 1, ourClient: client}
					test(t, h)
				})
			}
		}
	}
}

// A habit is a link with a crate that behaves as crateHabits say.
type habit struct {
	*link
	nops   bool
	late   bool
	policy keepalive.Policy
}

func (h habit) session() *session.Session { return h.ours.(ourSession).Session }

func periodic() keepalive.Policy { return keepalive.Periodic{Interval: interval, Timeout: timeout} }

// A session stays while both sides are idle for several time-outs, with a stream open, whether the crate sends NOPs or not.
// If the crate gives up silent peers, our NOPs keep it. When its process is then killed, our calls end at once.
func TestCrateStaysWhileIdleAndIsGivenUpWhenKilled(t *testing.T) {
	eachHabit(t, periodic, func(t *testing.T, h habit) {
		ours, theirs := connect(t, h.our(), h.their())
		time.Sleep(idle)
		mustWrite(t, "theirs", theirs, []byte("late"))
		got := make([]byte, 4)
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "late" {
			t.Errorf("ours: read %q, %v", got, err)
		}
		echo(t, h.link)

		ended := make(chan error, 1)
		go func() {
			_, err := ours.Read(got)
			ended <- err
		}()
		begin := time.Now()
		if err := h.theirs.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ours: read: %v", err)
		}
		<-h.session().Done()
		t.Logf("ended %v after the kill with %v", time.Since(begin), h.session().Err())
		runtime.KeepAlive(theirs) // without it, the program gets the end of its connection
	})
}

// A crate whose process is stopped is given up after Timeout if it has sent NOPs. If it never did, its kernel's
// acknowledgements keep the session, and it goes on when the process does.
func TestCrateThatIsStopped(t *testing.T) {
	policy := func() keepalive.Policy {
		return &tellsWhenSpeaking{keepalive.Periodic{Interval: interval, Timeout: timeout}, make(chan struct{})}
	}
	eachHabit(t, policy, func(t *testing.T, h habit) {
		ours, theirs := connect(t, h.our(), h.their())
		process := h.theirs.(*crateSession)
		if h.nops {
			<-h.policy.(*tellsWhenSpeaking).known
		}
		if err := process.signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if h.nops {
			<-h.session().Done()
			if err := h.session().Err(); !errors.Is(err, session.ErrKeepAlive) {
				t.Errorf("the session ended with %v", err)
			}
			return
		}
		time.Sleep(idle)
		if err := h.session().Err(); err != nil {
			t.Errorf("the session ended with %v", err)
		}
		if err := process.signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, "ours", ours, []byte("late"))
		if _, err := io.ReadFull(theirs, make([]byte, 4)); err != nil {
			t.Errorf("theirs: %v", err)
		}
		echo(t, h.link)
	})
}

// tellsWhenSpeaking is a policy that closes known when the peer has sent NOPs that are close enough to each other.
type tellsWhenSpeaking struct {
	keepalive.Periodic
	known chan struct{}
}

func (p *tellsWhenSpeaking) Next(a keepalive.Activity) (keepalive.Action, time.Duration) {
	if a.LastNOP > 0 && a.NOPGap <= p.Timeout {
		select {
		case <-p.known:
		default:
			close(p.known)
		}
	}
	return p.Periodic.Next(a)
}

// A strict policy gives up each crate that is silent for Timeout, also one that is there.
func TestStrictPolicyGivesUpASilentCrate(t *testing.T) {
	strict := func() keepalive.Policy {
		return keepalive.Periodic{Interval: interval, Timeout: timeout, Strict: true}
	}
	eachHabit(t, strict, func(t *testing.T, h habit) {
		if h.nops && !h.late {
			time.Sleep(idle)
			echo(t, h.link)
			return
		}
		<-h.session().Done()
		if err := h.session().Err(); !errors.Is(err, session.ErrKeepAlive) {
			t.Errorf("the session ended with %v", err)
		}
	})
}
