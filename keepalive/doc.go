// Package keepalive decides when a session probes its peer and when it gives the peer
// up.
//
// A session calls [Policy.Next] with its [Activity]. The answer is an [Action] and the
// time until the next call. The session keeps one timer for this, so an idle session
// costs one timer and nothing else. A policy holds no timer, starts no goroutine and
// reads no clock, so tests call it with plain numbers.
//
// [Periodic] is the default policy: it probes when nothing was sent for an interval, and
// gives up when nothing was received for a timeout. [Off] does neither.
package keepalive
