package session

// SetNextID sets the id of the next stream that is opened.
func SetNextID(s *Session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID = uint64(id)
}
