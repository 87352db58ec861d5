package session

import "reflect"

// DialerStats are the counters of a [Dialer] since it was used first, and its state now.
type DialerStats struct {
	Sessions int // that take new streams
	Retired  int // sessions that take no new streams and have not ended
	Streams  int // open streams of all sessions
	Waiting  int // calls that wait for a session

	Dials           uint64 // that were begun
	DialErrors      uint64 // dials that have failed, OnSession included
	SessionsRetired uint64 // also those that have ended since

	// LastError is why the last dial has failed. It is nil after a dial that succeeded.
	LastError error

	// Total is the sum of the Stats of all sessions, those that have ended included. Unread and Unsent are those of
	// the sessions that have not ended. RTT and Version are 0.
	Total Stats
}

// dialerCounts are the counters of DialerStats.
type dialerCounts struct {
	dials, dialErrors, retired uint64
	ended                      Stats // of the sessions that have ended
}

// Stats returns the counters. It reads the sessions one after the other, and not at one instant.
func (d *Dialer) Stats() DialerStats {
	d.mu.Lock()
	x := DialerStats{
		Sessions:        len(d.sessions),
		Retired:         len(d.retired),
		Waiting:         d.waiting,
		Dials:           d.counts.dials,
		DialErrors:      d.counts.dialErrors,
		SessionsRetired: d.counts.retired,
		LastError:       d.dialing.err,
		Total:           d.counts.ended,
	}
	all := d.listLocked() // now: the counters of a session that ends after this are not in ended
	d.mu.Unlock()
	for _, s := range all {
		x.Streams += s.NumStreams()
		x.Total.addAll(s.Stats())
	}
	return x
}

// addCounters adds the counters of one session: numbers of type uint64, and times.
func (t *Stats) addCounters(s Stats) { addFields(reflect.ValueOf(t).Elem(), reflect.ValueOf(s), false) }

// addAll adds the counters of one session and its state, which has type int.
func (t *Stats) addAll(s Stats) { addFields(reflect.ValueOf(t).Elem(), reflect.ValueOf(s), true) }

// addFields adds the fields of from to those of to, except RTT and Version. It looks at their types,
// so that no field is forgotten.
func addFields(to, from reflect.Value, state bool) {
	for i := range to.NumField() {
		switch t, f, name := to.Field(i), from.Field(i), to.Type().Field(i).Name; {
		case name == "RTT" || name == "Version":
		case t.Kind() == reflect.Int64:
			t.SetInt(t.Int() + f.Int())
		case t.Kind() == reflect.Struct:
			addFields(t, f, state)
		case t.Kind() == reflect.Uint64:
			t.SetUint(t.Uint() + f.Uint())
		case t.Kind() == reflect.Int && state:
			t.SetInt(t.Int() + f.Int())
		}
	}
}

// ListenerStats are the counters of a [Listener] since it was used first, and its state now.
type ListenerStats struct {
	Sessions   int // that have not ended and whose OnSession has returned
	Handshakes int // transports whose handshake or OnSession is under way
	Streams    int // open streams of all sessions, those that wait to be accepted included
	Waiting    int // streams that wait to be accepted, those of sessions that have ended included

	Accepted uint64 // transports
	Failed   uint64 // transports whose handshake or OnSession has failed

	// Total is the sum of the Stats of all sessions, those that have ended included. Unread and Unsent are those of
	// the sessions that have not ended. RTT and Version are 0.
	Total Stats
}

// listenerCounts are the counters of ListenerStats.
type listenerCounts struct {
	accepted, failed uint64
	ended            Stats // of the sessions that have ended
}

// Stats returns the counters. It reads the sessions one after the other, and not at one instant.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	x := ListenerStats{
		Handshakes: l.handshakes,
		Accepted:   l.counts.accepted,
		Failed:     l.counts.failed,
		Total:      l.counts.ended,
	}
	var all []*Session
	for p := range l.places {
		if p.s != nil {
			all = append(all, p.s)
		}
	}
	l.mu.Unlock()
	for _, s := range all {
		open, waiting, ended := s.streamCounts()
		x.Streams += open
		x.Waiting += waiting
		if ended {
			x.Total.addCounters(s.Stats())
			continue
		}
		x.Sessions++
		x.Total.addAll(s.Stats())
	}
	return x
}

// streamCounts returns how many streams are open and how many wait to be accepted, and whether the session has ended.
func (s *Session) streamCounts() (open, waiting int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), s.backlog.n, s.phase == phaseEnded
}
