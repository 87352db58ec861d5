package stream

// effects is what came due while a stream's lock was held. unlock settles it, in one place.
type effects struct {
	returned int     // bytes to give back to the receive budget
	control  Urgency // how soon the session is to send control frames; 0: not at all
	data     Urgency // how soon it is to send data; 0: not at all
	opened   bool    // SYN was handed to the session
}

// unlock releases s.mu and settles what came due while it was held.
func (s *Stream) unlock() {
	s.startLinger()
	finished := !s.finished && s.isFinished()
	s.finished = s.finished || finished
	due := s.due
	s.due = effects{}
	s.mu.Unlock()
	if due == (effects{}) && !finished {
		return
	}
	if due.returned > 0 {
		s.shared.Budget.Return(due.returned)
	}
	if due.opened {
		s.notifier.Opened()
	}
	if finished {
		s.notifier.Finished()
	}
	if due.data > 0 {
		s.notifier.SendData(due.data)
	}
	if due.control > 0 {
		s.notifier.SendControl(due.control)
	}
}

// settle settles what came due, without the lock, and takes it again: also if a call of the session's
// panics, as its scheduler may, so that who holds the lock may release it.
func (s *Stream) settle() {
	defer s.mu.Lock()
	s.unlock()
}

// isFinished reports whether the session is needed no more: this side has sent all it will, and has
// read all it ever will; or it has closed the stream, and the session sends nothing any more.
func (s *Stream) isFinished() bool {
	if s.closed != notClosed && !s.session.sends() {
		return true
	}
	if !s.send.isOver() {
		return false
	}
	return s.closed != notClosed || s.recv.hasFIN() && s.recv.unread == 0
}

// queueControl puts the stream in the session's line for control frames, if it does not stand there.
func (s *Stream) queueControl(u Urgency) {
	if s.inLine&controlLine == 0 {
		s.inLine |= controlLine
		s.due.control = u
	}
}

// queueData puts the stream in the session's line for data, if there is any that may be sent. With
// SendNow the session is told also if the stream stands there already.
func (s *Stream) queueData(u Urgency) {
	if s.inLine&dataLine != 0 && u != SendNow || !s.canSend() {
		return
	}
	s.inLine |= dataLine
	s.due.data = max(s.due.data, u)
}
