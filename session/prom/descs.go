package prom

import "github.com/prometheus/client_golang/prometheus"

// descs are the descriptions of the metrics.
type descs struct {
	sessions, versions, begun, ended                     *prometheus.Desc
	sentBytes, receivedBytes, sentFrames, receivedFrames *prometheus.Desc
	streams, opened, accepted, refused, closed           *prometheus.Desc
	unread, unsent, receiveWindow                        *prometheus.Desc
	blocked, rtt                                         *prometheus.Desc
}

func newDescs(constant prometheus.Labels) descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("smux_"+name, help, labels, constant)
	}
	return descs{
		sessions: desc("sessions", "Sessions that have not ended."),
		versions: desc("version_sessions", "Sessions that have not ended, by version of the protocol.", "version"),
		begun:    desc("sessions_begun_total", "Sessions that have begun."),
		ended:    desc("sessions_ended_total", "Sessions that have ended, by reason.", "reason"),

		sentBytes:      desc("sent_bytes_total", "Bytes sent over the transports, headers included."),
		receivedBytes:  desc("received_bytes_total", "Bytes received over the transports, headers included."),
		sentFrames:     desc("sent_frames_total", "Frames sent, of all kinds."),
		receivedFrames: desc("received_frames_total", "Frames received, of all kinds."),

		streams:  desc("streams", "Open streams."),
		opened:   desc("streams_opened_total", "Streams that this side has opened."),
		accepted: desc("streams_accepted_total", "Streams of the peers that were not refused at once."),
		refused:  desc("streams_refused_total", "Streams that were refused, by the side that refused them.", "by"),
		closed:   desc("streams_closed_total", "Streams that have ended, by reason.", "reason"),

		unread:        desc("unread_bytes", "Data that waits for the application."),
		unsent:        desc("unsent_bytes", "Memory for data of Writes that was not sent yet."),
		receiveWindow: desc("receive_window_bytes", "How much data the peers may send before the application reads."),

		blocked: desc("blocked_seconds_total", "How long Writes have waited for the peer's window, the transport or a rate, and reading for the receive buffer.", "on"),
		rtt:     desc("rtt_max_seconds", "The longest round trip of the sessions that know theirs."),
	}
}

func (d *descs) describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		d.sessions, d.versions, d.begun, d.ended, d.sentBytes, d.receivedBytes, d.sentFrames, d.receivedFrames,
		d.streams, d.opened, d.accepted, d.refused, d.closed, d.unread, d.unsent, d.receiveWindow, d.blocked, d.rtt,
	} {
		ch <- desc
	}
}
