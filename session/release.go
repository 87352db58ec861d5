package session

// In this file, a session that was used and is quiet gives back what only a session with streams needs: the stack of its
// reader's goroutine, which has grown and never becomes as small as that of a new one, the table of its streams, and the
// timer of frames that may wait. It does so when its keep-alive policy is asked, so that it needs no timer of its own.

// A usage says whether the session has something to give back:
//
//	unused --(asked: frames of streams have arrived since it was last asked)--> used
//	used --(asked: the same)--> used
//	used --(asked: none have)--> unused, and the session gives it back
//
// NOPs and signals do not count: a new goroutine handles them with the stack that it begins with.
type usage uint8

const (
	unused usage = iota
	used
)

// releaseQuiet gives back what only a session with streams needs, if the session has become quiet.
func (t *keepaliveTimer) releaseQuiet() {
	if t.becameQuiet() {
		t.s.releaseStreams()
		t.s.out.releaseLazy()
		t.s.transport.renew()
	}
}

// becameQuiet notes that the policy was asked, and reports whether the session was used before and is quiet now.
func (t *keepaliveTimer) becameQuiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == keepaliveStopped {
		return false
	}
	frames := t.s.stats.framesReceived.Load() - t.overhead.Load()
	came := frames != t.frames
	t.frames = frames
	became := t.usage == used && !came
	t.usage = unused
	if came {
		t.usage = used
	}
	return became
}

// releaseStreams gives back the table of streams, if there are none.
func (s *Session) releaseStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == 0 {
		s.streams = make(map[uint32]*sessionStream)
	}
}

// releaseLazy gives back the timer of SendLazily, unless it is running.
func (w *writer) releaseLazy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.lazySet {
		w.lazy = nil
	}
}
