package session

// SetNextID sets the id of the next stream that s opens.
func SetNextID(s *Session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = uint64(id)
}

// Portable reports whether s uses only the methods of its conn.
func Portable(s *Session) bool {
	_, ok := s.transport.(*portable)
	return ok
}

// AskPolicy calls the keep-alive policy, as the timer does.
func AskPolicy(s *Session) { s.keepalive.ask() }

// Flush sends what is queued, as a Read does before it waits.
func Flush(s *Session) { s.out.flush() }

// AwaitSent waits until nothing is queued and no goroutine sends.
func AwaitSent(s *Session) {
	for {
		freed, idle := s.out.idle()
		if idle {
			return
		}
		<-freed
	}
}

// AwaitTrace waits until the functions of the Trace were called for all events so far.
func AwaitTrace(s *Session) {
	over := make(chan struct{})
	s.tracer.push(traced{call: func() { close(over) }, late: true})
	s.tracer.kick()
	<-over
}
