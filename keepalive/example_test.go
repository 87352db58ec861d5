package keepalive_test

import (
	"fmt"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
)

// A keeper does with a policy what a session does, for another transport: it records when
// bytes pass and keeps one timer. Here the clock is a number.
type keeper struct {
	policy   keepalive.Policy
	activity keepalive.Activity
	timer    time.Duration // when to call Next; 0 is never
}

func start(p keepalive.Policy) *keeper {
	k := &keeper{policy: p}
	k.ask()
	return k
}

func (k *keeper) sent(now time.Duration)     { k.activity.LastSent = now }
func (k *keeper) received(now time.Duration) { k.activity.LastReceived = now }

// pong is called when the peer has answered a ping.
func (k *keeper) pong(now time.Duration) {
	k.received(now)
	k.activity.LastEcho, k.activity.PingSent = now, 0
}

// ask is called by the timer.
func (k *keeper) ask() keepalive.Action {
	k.activity.Now = k.timer
	action, again := k.policy.Next(k.activity)
	k.timer = 0
	if again > 0 {
		k.timer = k.activity.Now + again
	}
	k.activity.Due = k.timer
	return action
}

// run advances the clock to until, and prints the policy's actions.
func (k *keeper) run(until time.Duration) {
	for k.timer != 0 && k.timer <= until {
		now := k.timer
		switch k.ask() {
		case keepalive.Probe:
			fmt.Println(now, "send NOOP")
			k.sent(now)
		case keepalive.Ping:
			fmt.Println(now, "send PING")
			k.sent(now)
			k.activity.PingSent = now
		case keepalive.GiveUp:
			fmt.Println(now, "close the connection")
			return
		}
	}
}

// A connection with a line protocol of its own is kept alive. It sends at 4 s. Its peer answers the first ping
// at 25 s, and is never heard from again.
func Example() {
	k := start(keepalive.Periodic{Interval: 10 * time.Second, Timeout: 30 * time.Second})
	k.run(4 * time.Second)
	k.sent(4 * time.Second)
	k.run(25 * time.Second)
	k.pong(25 * time.Second)
	k.run(time.Hour)
	// Output:
	// 10s send PING
	// 20s send NOOP
	// 30s send NOOP
	// 40s send NOOP
	// 45s send PING
	// 55s close the connection
}

// keepIdle never gives up while no stream is open, as nobody is hurt by the peer's silence
// then. It still probes, which keeps the path open through NATs and firewalls. The timeout
// begins when the first stream opens.
//
// It has state, so each session needs its own.
type keepIdle struct {
	periodic keepalive.Periodic
	idle     time.Duration // when no stream was last seen open
}

func (p *keepIdle) Next(a keepalive.Activity) (keepalive.Action, time.Duration) {
	if a.Streams == 0 {
		p.idle = a.Now
	}
	a.LastReceived = max(a.LastReceived, p.idle)
	return p.periodic.Next(a)
}

// A policy can wrap another one. This one gives a silent peer up only while streams are open.
func ExamplePolicy_keepIdleSessions() {
	k := start(&keepIdle{periodic: keepalive.Periodic{Interval: 60 * time.Second, Timeout: 150 * time.Second}})
	k.run(280 * time.Second)
	fmt.Println("a stream opens")
	k.activity.Streams = 1
	k.run(time.Hour)
	// Output:
	// 1m0s send PING
	// 2m0s send NOOP
	// 3m0s send NOOP
	// 4m0s send NOOP
	// a stream opens
	// 5m0s send NOOP
	// 6m0s send NOOP
	// 6m30s close the connection
}

// adaptive learns how long the peer is usually silent. It gives up after four times the
// longest gap so far. So it does not give up on a slow or loaded path with long gaps, and
// gives up early on a busy one. It needs no answers to pings, which many peers do not
// give.
//
// It has state, so each session needs its own.
type adaptive struct {
	periodic          keepalive.Periodic
	shortest, longest time.Duration // limits of the time-out
	last, gap         time.Duration
}

func (p *adaptive) Next(a keepalive.Activity) (keepalive.Action, time.Duration) {
	heard := max(a.LastReceived, a.ReadResumed)
	if a.LastReceived > p.last {
		p.gap = max(p.gap, a.LastReceived-max(p.last, a.ReadResumed))
		p.last = a.LastReceived
	}
	p.periodic.Timeout = p.longest // nothing has been learned yet
	if heard > 0 {
		p.periodic.Timeout = min(max(4*p.gap, p.shortest), p.longest)
	}
	return p.periodic.Next(a)
}

// A policy may learn: here the peer sends every 12 s, so it is given up after 48 s of silence.
func ExamplePolicy_adaptive() {
	k := start(&adaptive{
		periodic: keepalive.Periodic{Interval: 10 * time.Second},
		shortest: 15 * time.Second,
		longest:  5 * time.Minute,
	})
	for at := 12 * time.Second; at <= 36*time.Second; at += 12 * time.Second {
		k.run(at - 1)
		k.received(at)
		k.sent(at) // our answer
	}
	k.run(time.Hour)
	// Output:
	// 10s send PING
	// 22s send NOOP
	// 34s send NOOP
	// 46s send NOOP
	// 56s send NOOP
	// 1m6s send NOOP
	// 1m16s send NOOP
	// 1m24s close the connection
}

// The default policy probes a quiet peer after 10 s, and gives it up after 30 s. Strict gives up any peer that was silent
// for so long, also one whose host still acknowledges what is sent.
func ExamplePeriodic() {
	k := start(keepalive.Periodic{Strict: true})
	k.run(time.Hour)
	// Output:
	// 10s send PING
	// 20s send NOOP
	// 30s close the connection
}

// A policy needs no clock: a test passes the times that it wants.
func ExampleActivity() {
	p := keepalive.Periodic{Interval: 10 * time.Second, Timeout: 30 * time.Second}
	const heard = 60 * time.Second // when a NOP of the peer came, after the session began
	ask := func(a keepalive.Activity) {
		action, again := p.Next(a)
		fmt.Println(action, "and ask again after", again)
	}
	ask(keepalive.Activity{Now: 61 * time.Second, LastSent: 55 * time.Second, LastReceived: heard, LastNOP: heard})
	ask(keepalive.Activity{Now: 65 * time.Second, LastSent: 55 * time.Second, LastReceived: heard, LastNOP: heard})
	action, _ := p.Next(keepalive.Activity{Now: 105 * time.Second, LastSent: 100 * time.Second, LastReceived: heard, LastNOP: heard})
	fmt.Println(action == keepalive.GiveUp)
	// Output:
	// none and ask again after 4s
	// probe and ask again after 10s
	// true
}

// Off does nothing, however long the peer is silent. It is for a transport that has a keep-alive of its own.
func ExampleOff() {
	var p keepalive.Policy = keepalive.Off{}
	action, again := p.Next(keepalive.Activity{Now: time.Hour})
	fmt.Println(action, again)
	// Output:
	// none 0s
}

// Validate says what is wrong with a policy. The functions that take a Config of package session call it.
func ExamplePeriodic_Validate() {
	fmt.Println(keepalive.Periodic{Interval: time.Minute}.Validate())
	// Output:
	// keepalive: Periodic.Timeout is 30s by default: it must exceed Periodic.Interval, which is 1m0s
}

// A peer that sends nothing on its own, over a transport that cannot tell whether anybody is there, is probed and
// never given up.
func ExampleProbeOnly() {
	k := start(keepalive.ProbeOnly{Interval: 30 * time.Second})
	k.run(100 * time.Second)
	// Output:
	// 30s send NOOP
	// 1m0s send NOOP
	// 1m30s send NOOP
}
