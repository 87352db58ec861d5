// Package keepalive decides when a session probes a quiet peer and when it gives
// a silent one up.
//
// A [Policy] is asked what to do now, given an [Activity], and answers with an
// [Action] and when to ask again. The owner of the transport keeps one timer,
// carries the action out, and asks again; a session that is idle costs that timer
// and nothing else. Policies hold no timer, start no goroutine and read no clock,
// so they are tested with plain numbers.
//
// [Periodic] is the default: it has a probe sent when nothing was sent for an interval and
// gives up when nothing was received for a time-out. [Off] does neither.
package keepalive
