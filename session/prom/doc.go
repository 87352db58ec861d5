// Package prom exports the Stats of sessions to Prometheus. It is a module of its own, so that a program without it does
// not download the Prometheus client.
//
// A [Collector] sums the Stats of many sessions. It has no labels for sessions or peers, so that the number of its
// metrics is constant, and its counters never fall when a session ends:
//
//	metric                        type     meaning
//	smux_sessions                 gauge    sessions that have not ended
//	smux_version_sessions         gauge    the same by version of the protocol: 1, 2, or unknown, while a server has
//	                                       received no frame
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
// [NewDialerCollector] and [NewListenerCollector] export what a Dialer and a Listener do beside that:
//
//	smux_dialer_sessions                    gauge    sessions that take new streams
//	smux_dialer_retired_sessions            gauge    sessions that take no new streams and have not ended
//	smux_dialer_waiting_calls               gauge    calls that wait for a session
//	smux_dialer_dials_total                 counter  dials
//	smux_dialer_dial_errors_total           counter  dials that have failed
//	smux_dialer_sessions_retired_total      counter  sessions that were retired
//	smux_listener_sessions                  gauge    sessions whose streams are accepted
//	smux_listener_handshakes                gauge    transports whose handshake is under way
//	smux_listener_waiting_streams           gauge    streams that wait to be accepted
//	smux_listener_transports_total          counter  transports that were accepted
//	smux_listener_failed_transports_total   counter  transports that became no session
//
// The fields of [session.Stats] and [session.ClosedStreams], and of [session.DialerStats] and [session.ListenerStats], explain the numbers.
package prom
