package conversation

import "time"

// A Stall is how often and how long something was blocked.
type Stall struct {
	Count      int64
	Total, Max time.Duration
}

func (s *Stall) add(d time.Duration) {
	s.Count++
	s.Total += d
	s.Max = max(s.Max, d)
}

const inFrame = "it stopped within a frame"

// noteArrival counts the time since the last bytes, if these end within a frame: the sender had more to send, so the
// transport did not let it.
func (d *direction) noteArrival(t time.Time) {
	if d.midFrame() {
		d.blocked(d.lastArrival, t, inFrame)
	}
}

// blocked counts a time in which the transport took no data. It counts no time twice, and for the stream whose data
// is on its way or was sent last.
func (d *direction) blocked(from, to time.Time, why string) {
	if from.IsZero() {
		return
	}
	if from.Before(d.countedUntil) {
		from = d.countedUntil
	}
	took := to.Sub(from)
	if took < MinStall {
		return
	}
	d.countedUntil = to
	d.Transport.add(took)
	id := d.lastStream
	if d.inFrame {
		id = d.header.StreamID
	}
	s := d.conn.streams[id]
	if s == nil {
		return
	}
	s.Half[d.dir].Transport.add(took)
	d.conn.tellStall(s, d.dir, to, "blocked for %v by the transport: %s", took, why)
}
