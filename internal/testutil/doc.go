// Package testutil is what the tests of several packages share.
//
//   - [LeakCheck] fails a test that leaves goroutines behind.
//   - [Pattern] is a stream of bytes that is known at every offset, to be written,
//     read and verified without keeping it.
//   - [Transports] are the kinds of connection that everything must work over, and
//     [TCPPair], [UnixPair], [PipePair], [SimPair] and [BarePair] make one of a kind.
//   - [Peer] speaks raw smux frames from a script, right or wrong ones, and checks
//     what the other side answers.
//   - [Race] says whether the race detector watches.
//
// Helpers that take a testing.TB clean up by its Cleanup: what is called first is
// undone last. All but the TCP and Unix pairs work in a testing/synctest bubble.
package testutil
