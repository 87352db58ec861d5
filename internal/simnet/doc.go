// Package simnet is a network in memory, for tests. A test chooses the rate, delay, buffers and failures of a pair
// of connections.
//
// Each direction of a pair is a sender's buffer, a serialiser with a rate, a wire with a delay, and a receiver's
// buffer. Write copies bytes into the sender's buffer and blocks while that is full. Bytes leave it in segments, in
// order, each when the link has sent its last byte, and can be read one delay later. A receiver that does not read
// stops the serialiser, as a TCP window does.
//
// Each call computes the state from the clock, and one timer is set while a call waits. There are no goroutines and
// no polling. In a testing/synctest bubble every arrival is therefore exact to the nanosecond, and a path of 300 ms
// takes no real time. A pair belongs to the bubble that made it. Outside a bubble it works in real time, as exactly
// as timers do.
//
// Nothing is lost, duplicated or reordered: a pair is a TCP connection as its users see it. It can be stalled, cut
// after any byte, and closed; see [Direction].
package simnet
