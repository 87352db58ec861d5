package session

// SetNextID sets the id of the next stream that is opened.
func SetNextID(s *Session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = uint64(id)
}

// Portable reports whether s uses its conn by the conn's own methods alone.
func Portable(s *Session) bool {
	_, ok := s.transport.(*portable)
	return ok
}

// AskPolicy asks the keep-alive policy, as the timer does.
func AskPolicy(s *Session) { s.keepalive.ask() }

// Flush has sent what is in line, as a Read does that is about to wait.
func Flush(s *Session) { s.out.flush() }

// AwaitSent waits until nothing is in line and nobody sends.
func AwaitSent(s *Session) {
	for {
		freed, idle := s.out.idle()
		if idle {
			return
		}
		<-freed
	}
}
