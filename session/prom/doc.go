// Package prom exports the Stats of sessions to Prometheus. It is a module of its own, so that a program without it does
// not download the Prometheus client.
//
// A [Collector] sums the Stats of many sessions. It has no labels for sessions or peers, so that the number of its
// metrics is constant, and its counters never fall when a session ends:
//
//	metric                        type     meaning
//	smux_sessions                 gauge    sessions that have not ended
//	smux_sessions_begun_total     counter  sessions
//	smux_sessions_ended_total     counter  sessions that have ended, by reason: closed (by this side), peer (it closed
//	                                       the transport), keepalive, timeout (idle, write, linger, answer),
//	                                       protocol, transport
//	smux_sent_bytes_total         counter  bytes over the transports, headers included
//	smux_received_bytes_total     counter
//	smux_sent_frames_total        counter  frames of all kinds
//	smux_received_frames_total    counter
//	smux_streams                  gauge    open streams
//	smux_streams_opened_total     counter  streams that this side has opened
//	smux_streams_accepted_total   counter  streams of the peers that were not refused at once
//	smux_streams_refused_total    counter  refused streams, by the side that refused: this, peer
//	smux_streams_closed_total     counter  streams that have ended, by reason: complete, refused, refused_by_peer,
//	                                       stalled, overrun, idle, dropped, session_ended
//	smux_unread_bytes             gauge    data that waits for the application
//	smux_unsent_bytes             gauge    memory for data of Writes that was not sent yet
//	smux_receive_window_bytes     gauge    what the peers may send
//	smux_blocked_seconds_total    counter  how long Writes have waited, on: window, transport, rate; and how long
//	                                       sessions did not read, on: buffer
//	smux_rtt_max_seconds          gauge    the longest round trip of the sessions that know theirs
//
// The fields of [session.Stats] and [session.ClosedStreams] explain the numbers.
package prom
