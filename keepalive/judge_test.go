package keepalive_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/keepalive"
)

const (
	none   = keepalive.None
	probe  = keepalive.Probe
	ping   = keepalive.Ping
	giveUp = keepalive.GiveUp
)

// Periodic pings a peer of which nothing is known yet once, and any other one when it was silent for Timeout less
// Interval.
func TestPeriodicPings(t *testing.T) {
	type activity = keepalive.Activity
	periodic := keepalive.Periodic{Interval: 10 * s, Timeout: 30 * s}
	for _, tt := range []struct {
		name string
		a    activity
		want answer
	}{
		{"at the start, nothing", activity{}, answer{none, 10 * s}},
		{"after Interval, to learn whether the peer answers", activity{Now: 10 * s}, answer{ping, 10 * s}},
		{"also while data is being sent", activity{Now: 10 * s, LastSent: 9 * s, LastReceived: 10 * s}, answer{ping, 10 * s}},
		{"not if a NOP has told who the peer is", activity{Now: 10 * s, LastNOP: s, NOPGap: s, LastReceived: s}, answer{probe, 10 * s}},
		{"an answer is waited for: no other ping", activity{Now: 20 * s, LastSent: 10 * s, PingSent: 10 * s}, answer{probe, 10 * s}},
		{"a peer that has answered is not asked again while it sends", activity{Now: 40 * s, LastSent: 39 * s, LastReceived: 39 * s, LastEcho: 10 * s}, answer{none, 9 * s}},
		{"20 s of silence are due in 5 s", activity{Now: 40 * s, LastSent: 39 * s, LastReceived: 25 * s, LastEcho: 10 * s}, answer{none, 5 * s}},
		{"after 20 s of silence, while data is being sent", activity{Now: 40 * s, LastSent: 39 * s, LastReceived: 20 * s, LastEcho: 10 * s}, answer{ping, 10 * s}},
		{"the same, of a peer that sends NOPs", activity{Now: 40 * s, LastSent: 39 * s, LastReceived: 20 * s, LastNOP: 20 * s, NOPGap: 10 * s}, answer{ping, 10 * s}},
		{"not while reading is paused: the answer would not be read", activity{Now: 40 * s, LastSent: 39 * s, ReadPaused: true}, answer{none, 9 * s}},
		{"a new policy begins with a ping, too", activity{Now: 105 * s, LastSent: 104 * s, Began: 95 * s}, answer{ping, 10 * s}},
		{"and not before Interval", activity{Now: 100 * s, LastSent: 99 * s, Began: 95 * s}, answer{none, 5 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ask(periodic, tt.a)); diff != "" {
				t.Errorf("Next(%+v) (-want +got):\n%s", tt.a, diff)
			}
		})
	}
	// With an Interval of more than half of Timeout, silence of Interval is enough.
	long := keepalive.Periodic{Interval: 20 * s, Timeout: 30 * s}
	a := activity{Now: 60 * s, LastSent: 59 * s, LastReceived: 40 * s, LastEcho: 40 * s}
	if diff := cmp.Diff(answer{ping, 10 * s}, ask(long, a)); diff != "" {
		t.Errorf("Next(%+v) (-want +got):\n%s", a, diff)
	}
}

// After Timeout of silence, Periodic gives up a peer that is known not to be silent when it is alive, and any other one
// when nothing was acknowledged for Timeout, either.
func TestPeriodicJudgesSilenceByThePeer(t *testing.T) {
	type activity = keepalive.Activity
	periodic := keepalive.Periodic{Interval: 10 * s, Timeout: 30 * s}
	strict := keepalive.Periodic{Interval: 10 * s, Timeout: 30 * s, Strict: true}
	const now = 100 * s
	silent := activity{Now: now, LastSent: 95 * s, LastReceived: 70 * s, PingSent: 10 * s}
	with := func(change func(a *activity)) activity {
		a := silent
		change(&a)
		return a
	}
	for _, tt := range []struct {
		name   string
		a      activity
		want   answer
		strict answer
	}{
		{"nothing is known of acknowledgements", silent, answer{giveUp, 0}, answer{giveUp, 0}},
		{
			"the other end acknowledges", with(func(a *activity) { a.LastAcked = 95 * s }),
			answer{none, 5 * s}, answer{giveUp, 0},
		},
		{
			"it has stopped to", with(func(a *activity) { a.LastAcked = 72 * s }),
			answer{none, 2 * s}, answer{giveUp, 0},
		},
		{
			"for Timeout", with(func(a *activity) { a.LastAcked = 70 * s }),
			answer{giveUp, 0}, answer{giveUp, 0},
		},
		{
			"it acknowledges, but the peer has answered a ping", with(func(a *activity) { a.LastAcked, a.LastEcho = 95*s, 11*s }),
			answer{giveUp, 0}, answer{giveUp, 0},
		},
		{
			"or it has sent NOPs", with(func(a *activity) { a.LastAcked, a.LastNOP, a.NOPGap = 95*s, 70*s, 10*s }),
			answer{giveUp, 0}, answer{giveUp, 0},
		},
		{
			"the peer's NOPs are rarer than Timeout", with(func(a *activity) { a.LastAcked, a.LastNOP, a.NOPGap = 95*s, 70*s, 31*s }),
			answer{none, 5 * s}, answer{giveUp, 0},
		},
		{
			"a new policy gives the peer a whole Timeout", with(func(a *activity) { a.LastEcho, a.Began = 11*s, 90*s }),
			answer{none, 5 * s}, answer{none, 5 * s},
		},
		{
			"this process was stopped", with(func(a *activity) { a.LastEcho, a.Due = 11*s, 80*s }),
			answer{none, 5 * s}, answer{none, 5 * s},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ask(periodic, tt.a)); diff != "" {
				t.Errorf("Next(%+v) (-want +got):\n%s", tt.a, diff)
			}
			if diff := cmp.Diff(tt.strict, ask(strict, tt.a)); diff != "" {
				t.Errorf("Strict: Next(%+v) (-want +got):\n%s", tt.a, diff)
			}
		})
	}
}

// ProbeOnly probes when nothing was sent for Interval, and never gives up.
func TestProbeOnlyNeverGivesUp(t *testing.T) {
	type activity = keepalive.Activity
	for _, tt := range []struct {
		policy keepalive.ProbeOnly
		a      activity
		want   answer
	}{
		{keepalive.ProbeOnly{}, activity{}, answer{none, 10 * s}},
		{keepalive.ProbeOnly{}, activity{Now: 10 * s}, answer{probe, 10 * s}},
		{keepalive.ProbeOnly{}, activity{Now: 1000 * time.Hour, LastSent: 1000*time.Hour - 4*s}, answer{none, 6 * s}},
		{keepalive.ProbeOnly{Interval: 3 * s}, activity{Now: 1000 * time.Hour}, answer{probe, 3 * s}},
		{keepalive.ProbeOnly{Interval: 3 * s}, activity{Now: 9 * s, LastSent: 5 * s, ReadPaused: true}, answer{probe, 3 * s}},
		{keepalive.ProbeOnly{Interval: -s}, activity{Now: 10 * s}, answer{probe, 10 * s}},
		{keepalive.ProbeOnly{}, activity{Now: 10 * s, LastSent: 11 * s}, answer{none, 10 * s}},
	} {
		if diff := cmp.Diff(tt.want, ask(tt.policy, tt.a)); diff != "" {
			t.Errorf("%+v.Next(%+v) (-want +got):\n%s", tt.policy, tt.a, diff)
		}
	}
}

// Validate of ProbeOnly says what Interval may be.
func TestProbeOnlyValidate(t *testing.T) {
	for interval, want := range map[time.Duration]string{
		0: "", keepalive.MinInterval: "", time.Hour: "",
		-s: "keepalive: ProbeOnly.Interval is -1s: it must be at least 1ms, or 0 for the default of 10s",
		1:  "keepalive: ProbeOnly.Interval is 1ns: it must be at least 1ms, or 0 for the default of 10s",
	} {
		got := ""
		if err := (keepalive.ProbeOnly{Interval: interval}).Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Validate of %v = %q, want %q", interval, got, want)
		}
	}
}
