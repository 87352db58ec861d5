// Package testutil has helpers for the tests of several packages.
//
//   - [LeakCheck] fails a test that leaves goroutines behind.
//   - [Background] makes a call in a goroutine. [Clock], [WantTime] and [WantErr] check
//     when it returned, and with which error.
//   - [Pattern] is a stream of bytes that is known at every offset. Tests write, read and
//     verify it without storing it.
//   - [Transports] are the kinds of connection that everything must work over.
//     [TCPPair], [UnixPair], [PipePair], [SimPair] and [BarePair] make one of a kind.
//   - [Peer] sends raw smux frames from a script, valid or not, and checks the answers.
//   - [Race] reports whether the race detector is on. [IsReset] knows the errors of reset sockets on each system.
//
// Helpers that take a testing.TB clean up in its Cleanup, in reverse order of their calls.
// All but the TCP and Unix pairs work in a testing/synctest bubble.
package testutil
