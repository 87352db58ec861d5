package stream

import "io"

// WriteLazily is [Stream.Write] for data that more follows soon, such as a header that an application puts before its
// data. The session sends it together with the data of the next Write, before a Read waits, at Close or CloseWrite, and
// after a millisecond at most.
//
// WriteLazily copies p and never blocks. It fails as Write does. If there is no room for all of p, or if another Write is
// in progress, or with a rate limit, it copies what it can, also nothing, and returns io.ErrShortWrite: then Write the
// rest. A new stream has room for [Shared].MaxSendBuffer bytes (Config.MaxStreamSendBuffer of package session), 130,736
// by default, unless the session's buffer for unsent data is full.
func (s *Stream) WriteLazily(p []byte) (n int, err error) {
	n, err = s.writeLazily(p)
	if err != io.ErrShortWrite {
		err = s.opError("write", err)
	}
	return n, err
}

func (s *Stream) writeLazily(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.unlock()
	h := &s.send
	if err := s.writeErr(); err != nil {
		return 0, err
	}
	if room := s.shared.maxPending() - int(h.unsent); !s.shared.WriteThrough && !h.writing && room > 0 && s.limiter() == nil {
		n = s.copyIn(p[:min(room, len(p))])
		urgency := SendLazily
		if h.wroteSinceRead {
			urgency = SendSoon // the next Write would not hurry it
		}
		s.queueData(urgency)
	}
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
