package stream

// effects is what falls due while a stream's lock is held: calls of the session and of the budget. unlock makes them
// after it has released the lock.
type effects struct {
	returned int     // bytes to return to the receive budget
	control  Urgency // how soon the session should send control frames; 0: not at all
	data     Urgency // how soon the session should send data; 0: not at all
	opened   bool    // the SYN was added to a batch
}

// unlock releases s.mu and settles what fell due while it was held.
func (s *Stream) unlock() {
	s.startLinger()
	finished := !s.finished && s.isFinished()
	if finished {
		s.finished, s.outcome = true, s.currentOutcome()
	}
	if s.finished {
		s.stopLinger()
	}
	due := s.due
	s.due = effects{}
	switch {
	case due.control > 0: // told after data
		s.unhurried = due.control != SendNow
	case due.data > 0:
		s.unhurried = due.data != SendNow
	}
	s.mu.Unlock()
	if due == (effects{}) && !finished {
		return
	}
	if due.returned > 0 {
		s.shared.Budget.Release(due.returned)
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

// settle releases s.mu, settles what fell due, and takes s.mu again. It takes s.mu again even if a method of the Notifier
// panics, because its callers release s.mu by defer.
func (s *Stream) settle() {
	defer s.mu.Lock()
	s.unlock()
}

// isFinished reports whether the stream needs the session no more. Either it has sent its FIN, which the transport has
// taken if WriteThrough is set, and will read no more data, and waits for no second FIN of a refusal; or it was closed and the session sends nothing any more.
func (s *Stream) isFinished() bool {
	if s.closed != notClosed && !s.session.sends() {
		return true
	}
	if !s.send.isOver() || s.isGiven() {
		return false
	}
	return s.closed != notClosed || s.recv.hasFIN() && s.recv.unread == 0 && s.recv.refusal != refusalLikely
}

// queueControl queues the stream for its control frames. A stream that is queued already keeps its urgency.
func (s *Stream) queueControl(u Urgency) {
	if s.queued&controlQueue == 0 {
		s.queued |= controlQueue
		s.due.control = u
	}
}

// queueData queues the stream for its data if it may send some. If the stream is queued already, only SendNow tells the
// session again: then the caller itself may send what is queued.
func (s *Stream) queueData(u Urgency) {
	if s.queued&dataQueue != 0 && u != SendNow || !s.canSend() {
		return
	}
	s.queued |= dataQueue
	s.due.data = max(s.due.data, u)
}
