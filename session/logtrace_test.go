package session_test

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// LogTrace.

// logTo returns a Trace that logs to b from the level on, without times.
func logTo(b *bytes.Buffer, level slog.Level) *session.Trace {
	return session.LogTrace(slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
}

// wantLog waits until every goroutine waits, and compares the log without sessions and durations.
func wantLog(t *testing.T, b *bytes.Buffer, want ...string) {
	t.Helper()
	synctest.Wait()
	got := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, line := range got {
		got[i] = regexp.MustCompile(` session\.\w+=\S+`).ReplaceAllString(line, "")
		got[i] = regexp.MustCompile(` (after|silent)=\S+`).ReplaceAllString(got[i], " $1=0s")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// LogTrace logs each event once, at the level that its documentation says.
func TestLogTraceLogsEachEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var b bytes.Buffer
		ours, theirs := testutil.SimPair(t, simnet.Link{})
		c := client(t, theirs, &session.Config{KeepAlive: off})
		s := server(t, ours, &session.Config{Trace: logTo(&b, slog.LevelDebug), AcceptBacklog: 1, KeepAlive: keepalive.Periodic{}})
		out, in := openPair(t, c, s)
		mine := open(t, s)
		accept(t, c)
		open(t, c)
		open(t, c)
		time.Sleep(time.Second)
		_, _ = in.Close(), out.Close()
		time.Sleep(12 * time.Second)
		_ = s.Listener().Close()
		time.Sleep(time.Second)
		_ = c.Listener().Close()
		time.Sleep(time.Millisecond)
		ours.In().Stall()
		time.Sleep(40 * time.Second)
		_ = mine.Close()
		wantLog(t, &b,
			`level=INFO msg="session begins"`,
			`level=DEBUG msg="stream accepted" stream=1`,
			`level=DEBUG msg="stream opened" stream=2`,
			`level=WARN msg="stream refused" stream=5 cause="too many streams"`,
			`level=DEBUG msg="stream closed" stream=1 after=0s sent=0 received=0`,
			`level=DEBUG msg="keep-alive probe" silent=0s`,
			`level=INFO msg="draining: this side takes no more streams"`,
			`level=INFO msg="draining: the peer takes no more streams"`,
			`level=WARN msg="stream refused" stream=3 cause="not accepted"`,
			`level=DEBUG msg="stream closed" stream=3 after=0s sent=0 received=0`,
			`level=DEBUG msg="keep-alive probe" silent=0s`,
			`level=DEBUG msg="keep-alive probe" silent=0s`,
			`level=INFO msg="keep-alive gives up" silent=0s`,
			`level=DEBUG msg="stream closed" stream=2 after=0s sent=0 received=0 reason="session: keep-alive timeout: nothing was received from the peer"`,
			`level=WARN msg="session ends" reason="session: keep-alive timeout: nothing was received from the peer"`,
		)
	})
}

// Every record names its session, by side and addresses.
func TestLogTraceNamesTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var b bytes.Buffer
		ours, _ := testutil.SimPair(t, simnet.Link{})
		conn := addressed{ours, tcpAddr("192.0.2.1"), tcpAddr("192.0.2.2")}
		c := client(t, conn, &session.Config{Trace: logTo(&b, slog.LevelInfo)})
		_ = c.Close()
		synctest.Wait()
		want := "level=INFO msg=\"session begins\" session.side=client session.local=192.0.2.1:7 session.remote=192.0.2.2:7\n" +
			"level=INFO msg=\"session ends\" session.side=client session.local=192.0.2.1:7 session.remote=192.0.2.2:7 reason=\"use of closed network connection\"\n"
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got, want := c.String(), "smux client 192.0.2.1:7->192.0.2.2:7"; got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	})
}

// At one cause, a flood of refusals is one record a second, and later records say how many more there were.
func TestLogTraceBoundsRefusals(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var b bytes.Buffer
		s, p := r.start(t, session.Config{AcceptBacklog: 1, Trace: logTo(&b, slog.LevelInfo)})
		for n := range 1001 {
			p.Send(t, r.syn(r.theirs(n)))
		}
		time.Sleep(2 * time.Second)
		p.Send(t, r.syn(r.theirs(1001)))
		p.Send(t, r.syn(r.theirs(1002)))
		synctest.Wait()
		_ = s.CloseNow()
		synctest.Wait()
		for want, times := range map[string]int{"stream refused": 2, "more=999": 1, "more_refused=1": 1} {
			if n := strings.Count(b.String(), want); n != times {
				t.Errorf("%q %d times in the log, want %d:\n%s", want, n, times, b.String())
			}
		}
	})
}
