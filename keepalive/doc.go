// Package keepalive decides when a session probes its peer and when it gives the peer
// up.
//
// A session calls [Policy.Next] with its [Activity]. The answer is an [Action] and the
// time until the next call. The session keeps one timer for this, so an idle session
// costs one timer and nothing else. A policy holds no timer, starts no goroutine and
// reads no clock, so tests call it with plain numbers.
//
// [Periodic] is the default policy. It probes when nothing was sent for an interval, and
// gives up when nothing was received for a timeout, unless the peer may be one that sends
// nothing on its own. [ProbeOnly] probes and never gives up. [Off] does neither.
//
// # What can be known of a silent peer
//
// The protocol's probe, NOP, has no answer. What silence says depends on the peer:
//
//   - smuxkit sends NOPs and answers pings. If it is silent, it is dead or hangs.
//   - xtaci/smux sends NOPs, unless KeepAliveDisabled is set. From its first NOP on, the
//     same holds.
//   - sing-mux, async_smux and xtaci/smux with KeepAliveDisabled send nothing when idle,
//     and do not answer pings. Their silence says nothing. Over TCP, the kernel knows
//     whether the other end acknowledges the probes (Activity.LastAcked), so a host that
//     has died is found. A process that hangs is not.
//
// A session knows LastAcked over a TCP connection on Linux, also below a conn whose method
// NetConn or SyscallConn leads to it, such as a *tls.Conn; over a Unix socket on Linux;
// and over a conn that tells it (see Client in package session). Elsewhere, Periodic gives
// up each silent peer, and ProbeOnly is the policy for a peer that may be silent.
package keepalive
