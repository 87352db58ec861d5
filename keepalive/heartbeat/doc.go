// Package heartbeat measures round trips over a connection, at intervals and on demand, and says when an answer is
// missing. It works over any net.Conn, a stream of a session for instance:
//
//	// One side:
//	h, err := heartbeat.Start(conn, heartbeat.Config{OnBeat: func(rtt time.Duration, err error) { … }})
//
//	// The other side:
//	err := heartbeat.Serve(conn)
//
// The other side is an echo: a beat is a number of 8 bytes, big-endian and counted from 1, and the answer is the same 8
// bytes. So any server that writes back what it reads will do.
//
// A beat shows that the program at the other end reads and writes. A session's keep-alive does not need one: see package
// keepalive. Between two sessions of smuxkit, [StartPinger] needs no stream and no server: *session.Session is a [Pinger].
// Its answers come from the peer's session, and say nothing about the peer's program.
//
// # What is measured
//
// The round trip is the time from handing the beat to the connection until its answer was read. It includes what both
// wait for on the way. Over a stream of a session, a beat does not wait for the data of other streams that the session
// has queued: a quiet stream goes before busy ones. It does wait for data that the transport has taken already. So under
// bulk load, the round trip is that of any other short message.
//
// One beat at a time is on its way. Calls of [Heartbeat.Beat] that begin meanwhile share the next one. So nothing piles
// up, however slow the peer is.
package heartbeat
