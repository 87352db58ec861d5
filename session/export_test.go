package session

// Forgotten returns how many streams are remembered that were closed here and may still be
// used by the peer.
func Forgotten(s *Session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forgotten)
}

// SetNextID sets the id of the next stream that is opened.
func SetNextID(s *Session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = uint64(id)
}
