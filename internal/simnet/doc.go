// Package simnet is a network in memory, for tests: a pair of connections whose
// rate, delay, buffers and failures are chosen by the test.
//
// Each direction of a pair is a sender's buffer, a serialiser of so many bytes a
// second, a wire of a fixed delay, and a receiver's buffer. Write copies into the
// first and blocks while it is full; bytes leave it in segments, in order, each at
// the moment the link has sent its last byte, and can be read one delay later. A
// receiver that does not read stops the serialiser, as a TCP window does.
//
// The state is worked out from the clock when somebody asks for it, and one timer
// is set while somebody waits. There are no goroutines and there is no polling, so
// in a testing/synctest bubble every arrival is exact to the nanosecond and a path
// of 300 ms takes no time. A pair belongs to the bubble that made it. Outside a
// bubble it works in real time, as exactly as timers do.
//
// Nothing is lost, duplicated or reordered: this is a TCP connection as its users
// see it. It can be stalled, cut after any byte, and closed; see [Direction].
package simnet
