package keepalive_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/keepalive"
)

const s = time.Second

type answer struct {
	Action keepalive.Action
	Again  time.Duration
}

func ask(p keepalive.Policy, a keepalive.Activity) answer {
	action, again := p.Next(a)
	return answer{action, again}
}

// Periodic answers each Activity as its documentation says. In this test the peer has not answered a ping yet, so that
// no other one is due, and nothing is known of acknowledgements.
func TestPeriodicNext(t *testing.T) {
	type activity = keepalive.Activity
	periodic := keepalive.Periodic{Interval: 10 * s, Timeout: 30 * s}
	for _, tt := range []struct {
		name string
		a    activity
		want answer
	}{
		{"at the start, nothing", activity{}, answer{none, 10 * s}},
		{"no probe while bytes were sent within Interval", activity{Now: 15 * s, LastSent: 12 * s, LastReceived: 15 * s}, answer{none, 7 * s}},
		{"a probe when nothing was sent for Interval", activity{Now: 22 * s, LastSent: 12 * s, LastReceived: 22 * s}, answer{probe, 10 * s}},
		{"a probe however late the question is", activity{Now: 29 * s, LastSent: 12 * s, LastReceived: 29 * s}, answer{probe, 10 * s}},
		{"after a probe it asks again when the peer must be given up", activity{Now: 22 * s, LastSent: 12 * s, LastReceived: 1 * s}, answer{probe, 9 * s}},
		{"receiving does not stand in for sending", activity{Now: 10 * s, LastReceived: 10 * s}, answer{probe, 10 * s}},
		{"sending does not stand in for receiving", activity{Now: 40 * s, LastSent: 40 * s, LastReceived: 10 * s}, answer{giveUp, 0}},
		{"a peer never heard of has Timeout from the start", activity{Now: 29 * s, LastSent: 29 * s}, answer{none, 1 * s}},
		{"and is given up then", activity{Now: 30 * s, LastSent: 29 * s}, answer{giveUp, 0}},
		{"a nanosecond before Timeout the peer lives", activity{Now: 40*s - 1, LastSent: 39 * s, LastReceived: 10 * s}, answer{none, 1}},
		{"while reading is paused silence is no sign", activity{Now: 500 * s, LastSent: 499 * s, LastReceived: 10 * s, ReadPaused: true}, answer{none, 9 * s}},
		{"while reading is paused probes go on", activity{Now: 500 * s, LastSent: 490 * s, LastReceived: 10 * s, ReadPaused: true}, answer{probe, 10 * s}},
		{"Timeout counts from when reading resumed", activity{Now: 500 * s, LastSent: 499 * s, LastReceived: 10 * s, ReadResumed: 480 * s}, answer{none, 9 * s}},
		{"and ends 30 s after that", activity{Now: 510 * s, LastSent: 509 * s, LastReceived: 10 * s, ReadResumed: 480 * s}, answer{giveUp, 0}},
		{"what came after reading resumed counts", activity{Now: 510 * s, LastSent: 509 * s, LastReceived: 485 * s, ReadResumed: 480 * s}, answer{none, 5 * s}},
		{"after a stop of this process it reads first", activity{Now: 1000 * s, LastSent: 9 * s, LastReceived: 9 * s, Due: 19 * s}, answer{probe, 10 * s}},
		{"and gives up if that brings nothing", activity{Now: 1010 * s, LastSent: 1000 * s, LastReceived: 9 * s, Due: 1010 * s}, answer{giveUp, 0}},
		{"a question late by less than Interval is not excused", activity{Now: 40 * s, LastSent: 39 * s, LastReceived: 9 * s, Due: 39 * s}, answer{giveUp, 0}},
		{"a send noted after the clock was read is a send now", activity{Now: 20 * s, LastSent: 21 * s, LastReceived: 22 * s}, answer{none, 10 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.a.PingSent = 1
			got := ask(periodic, tt.a)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Next(%+v) (-want +got):\n%s", tt.a, diff)
			}
			if again := ask(periodic, tt.a); again != got {
				t.Errorf("asked again at the same time: %v, before: %v", again, got)
			}
		})
	}
}

// The zero Periodic has an Interval of 10 s and a Timeout of 30 s.
func TestPeriodicZeroValueHasTheDefaults(t *testing.T) {
	for _, a := range []keepalive.Activity{
		{}, {Now: 9 * s}, {Now: 10 * s}, {Now: 29 * s, LastSent: 20 * s}, {Now: 30 * s},
	} {
		want := ask(keepalive.Periodic{Interval: 10 * s, Timeout: 30 * s}, a)
		if diff := cmp.Diff(want, ask(keepalive.Periodic{}, a)); diff != "" {
			t.Errorf("Next(%+v) (-want +got):\n%s", a, diff)
		}
	}
}

// The error of Validate names each invalid field and what is allowed.
func TestPeriodicValidateNamesTheBadField(t *testing.T) {
	for _, tt := range []struct {
		name     string
		periodic keepalive.Periodic
		want     string // "" is valid
	}{
		{"defaults", keepalive.Periodic{}, ""},
		{"shortest", keepalive.Periodic{Interval: keepalive.MinInterval, Timeout: keepalive.MinInterval + 1}, ""},
		{"Timeout alone", keepalive.Periodic{Timeout: 11 * s}, ""},
		{"Interval alone", keepalive.Periodic{Interval: 29 * s}, ""},
		{"longest", keepalive.Periodic{Interval: 1<<63 - 2, Timeout: 1<<63 - 1}, ""},
		{"Interval below zero", keepalive.Periodic{Interval: -s},
			"keepalive: Periodic.Interval is -1s: it must be at least 1ms, or 0 for the default of 10s"},
		{"Interval too short", keepalive.Periodic{Interval: 1},
			"keepalive: Periodic.Interval is 1ns: it must be at least 1ms, or 0 for the default of 10s"},
		{"Timeout below zero", keepalive.Periodic{Timeout: -s},
			"keepalive: Periodic.Timeout is -1s: it must exceed Periodic.Interval, or be 0 for the default of 30s"},
		{"Timeout equals Interval", keepalive.Periodic{Interval: 5 * s, Timeout: 5 * s},
			"keepalive: Periodic.Timeout is 5s: it must exceed Periodic.Interval, which is 5s"},
		{"Interval beyond the default Timeout", keepalive.Periodic{Interval: 60 * s},
			"keepalive: Periodic.Timeout is 30s by default: it must exceed Periodic.Interval, which is 1m0s"},
		{"Timeout within the default Interval", keepalive.Periodic{Timeout: 4 * s},
			"keepalive: Periodic.Timeout is 4s: it must exceed Periodic.Interval, which is 10s by default"},
		{"both", keepalive.Periodic{Interval: -1, Timeout: -1},
			"keepalive: Periodic.Interval is -1ns: it must be at least 1ms, or 0 for the default of 10s\n" +
				"keepalive: Periodic.Timeout is -1ns: it must exceed Periodic.Interval, or be 0 for the default of 30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.periodic.Validate(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Validate (-want +got):\n%s", diff)
			}
		})
	}
}

// Off never probes and never gives up.
func TestOffDoesNothing(t *testing.T) {
	for _, a := range []keepalive.Activity{{}, {Now: 1000 * time.Hour}, {Now: s, ReadPaused: true}} {
		if diff := cmp.Diff(answer{keepalive.None, 0}, ask(keepalive.Off{}, a)); diff != "" {
			t.Errorf("Next(%+v) (-want +got):\n%s", a, diff)
		}
	}
}

// Next of Periodic allocates nothing.
func TestPeriodicAllocatesNothing(t *testing.T) {
	var p keepalive.Policy = keepalive.Periodic{}
	a := keepalive.Activity{Now: 12 * s}
	if n := testing.AllocsPerRun(100, func() { p.Next(a) }); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

// With a timer that calls Next when it says, no Interval passes without anything sent, and the
// peer is given up exactly after Timeout. Traffic is random, in virtual time.
func TestPeriodicLetsNoIntervalPassUnsent(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		periodic := keepalive.Periodic{
			Interval: time.Duration(1+rnd.Int64N(20)) * s,
		}
		periodic.Timeout = periodic.Interval + time.Duration(1+rnd.Int64N(40))*s
		if err := periodic.Validate(); err != nil {
			t.Fatal(err)
		}

		var a keepalive.Activity
		var questions, events int
		next := time.Duration(rnd.Int64N(int64(5 * s)))    // traffic
		_, timer := periodic.Next(a)                       // the policy's
		silentAfter := time.Duration(rnd.Int64N(1000)) * s // the peer dies then
		for {
			if next < timer {
				events++
				a.Now = next
				switch rnd.IntN(7) {
				case 6:
					if seed%2 == 0 && a.PingSent > 0 && a.Now < silentAfter && !a.ReadPaused {
						a.LastReceived, a.LastEcho, a.PingSent = a.Now, a.Now, 0
					}
				case 0, 1:
					a.LastSent = a.Now
				case 2, 3:
					if a.Now < silentAfter && !a.ReadPaused {
						a.LastReceived = a.Now
					}
				case 4:
					a.ReadPaused = true
				case 5:
					if a.ReadPaused {
						a.ReadPaused, a.ReadResumed = false, a.Now
					}
				}
				next += time.Duration(rnd.Int64N(int64(2 * periodic.Interval)))
				continue
			}

			questions++
			a.Now, a.Due = timer, timer
			if gap := a.Now - a.LastSent; gap > periodic.Interval {
				t.Fatalf("seed %d: %+v: nothing was sent for %v", seed, periodic, gap)
			}
			action, again := periodic.Next(a)
			silence := a.Now - max(a.LastReceived, a.ReadResumed)
			if giveUp := !a.ReadPaused && silence >= periodic.Timeout; giveUp != (action == keepalive.GiveUp) {
				t.Fatalf("seed %d: %+v: %v after silence of %v, paused %v", seed, periodic, action, silence, a.ReadPaused)
			}
			if action == keepalive.GiveUp {
				// Also if a pause ended since the last call of Next, the peer is
				// given up on the nanosecond.
				if silence != periodic.Timeout {
					t.Fatalf("seed %d: %+v: gave up after silence of %v", seed, periodic, silence)
				}
				break
			}
			if action != keepalive.None {
				a.LastSent = a.Now
			}
			if action == keepalive.Ping {
				if a.PingSent > 0 {
					t.Fatalf("seed %d: %+v: a ping at %v, and the one of %v is unanswered", seed, periodic, a.Now, a.PingSent)
				}
				a.PingSent = a.Now
			}
			if again <= 0 {
				t.Fatalf("seed %d: %v, again after %v", seed, action, again)
			}
			timer += again
			if a.Now > 5000*s {
				break
			}
		}
		if limit := 2*events + int(a.Now/periodic.Interval) + 2; questions > limit {
			t.Errorf("seed %d: %d questions for %d events", seed, questions, events)
		}
	}
}

// A transport that takes nothing, so that LastSent does not change, is probed once per Interval
// until Timeout.
func TestPeriodicProbesADeadTransport(t *testing.T) {
	periodic := keepalive.Periodic{Interval: 10 * s, Timeout: 35 * s}
	type event struct {
		At     time.Duration
		Action keepalive.Action
	}
	var got []event
	for a := (keepalive.Activity{}); ; {
		action, again := periodic.Next(a)
		got = append(got, event{a.Now, action})
		if action == keepalive.GiveUp {
			break
		}
		a.Now += again
	}
	want := []event{
		{0, keepalive.None}, {10 * s, keepalive.Ping}, {20 * s, keepalive.Ping},
		{30 * s, keepalive.Ping}, {35 * s, keepalive.GiveUp},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// An Action has a name, or shows its number.
func TestActionString(t *testing.T) {
	got := []string{
		keepalive.None.String(), keepalive.Probe.String(), keepalive.Ping.String(), keepalive.GiveUp.String(),
		keepalive.Action(9).String(),
	}
	if diff := cmp.Diff([]string{"none", "probe", "ping", "give up", "action 9"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func BenchmarkNext(b *testing.B) {
	var p keepalive.Policy = keepalive.Periodic{}
	a := keepalive.Activity{Now: 5 * s, LastSent: 2 * s, LastReceived: 3 * s}
	b.ReportAllocs()
	for b.Loop() {
		p.Next(a)
	}
}
