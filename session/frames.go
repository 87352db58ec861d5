package session

import (
	"io"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// In this file, the reader handles the bytes that are staged.

// parse handles the staged frames until it needs more bytes. If the reader has to wait for something else before the
// next frame, parse returns what that is.
func (r *reader) parse() (wait, error) {
	for r.r < r.w {
		if r.left > 0 {
			r.deliverStaged()
			continue
		}
		h, size, err := r.nextHeader()
		if err != nil || size == 0 {
			return waitNothing, err
		}
		if why := r.mustWait(h); why != waitNothing {
			return why, nil
		}
		body := r.staging[r.r+wire.HeaderSize : r.r+size]
		r.r += size
		if err := r.handleFrame(h, body); err != nil {
			return waitNothing, err
		}
	}
	return waitNothing, nil
}

// nextHeader returns the header that is staged, and the size of the frame without the payload of a PSH. The size is 0 if
// not all of that is staged.
func (r *reader) nextHeader() (h wire.Header, size int, err error) {
	staged := r.staging[r.r:r.w]
	if len(staged) < wire.HeaderSize {
		return h, 0, nil
	}
	h, err = wire.ParseHeader(staged)
	v := r.s.version()
	if err == nil && v != 0 && h.Version != v {
		err = wire.ErrVersionMismatch
	}
	if err != nil {
		return h, 0, &ProtocolError{Header: h, Err: versionError(err, h.Version, v)}
	}
	if v == 0 {
		r.s.setVersion(h.Version)
	}
	size = wire.HeaderSize
	if h.Command == wire.UPD {
		size += wire.UpdateSize
	}
	if len(staged) < size {
		size = 0
	}
	return h, size, nil
}

// deliverStaged hands the staged part of the payload to its stream.
func (r *reader) deliverStaged() {
	n := min(int(r.left), r.w-r.r)
	data := r.staging[r.r : r.r+n]
	r.r += n
	r.left -= uint32(n)
	if r.st != nil {
		r.noteDelivery(r.st.core.Deliver(data, (r.direct || !r.readsDirectly()) && r.left > 0))
	}
}

// noteDelivery notes what the stream did with a piece of payload.
func (r *reader) noteDelivery(became stream.Delivery) {
	switch became {
	case stream.Queued:
	case stream.Filling:
		r.filling = r.st
	case stream.Filled:
		r.filling = nil
		r.s.latency.onFilled(&r.st.traffic)
	}
}

// handleFrame handles one frame. The payload of a PSH follows later.
func (r *reader) handleFrame(h wire.Header, body []byte) error {
	s := r.s
	s.stats.framesReceived.Add(1)
	if s.tracer != nil {
		s.tracer.frameReceived(h)
	}
	switch h.Command {
	case wire.NOP:
		s.keepalive.handleNOP()
	case wire.SYN:
		st, err := s.handleSYN(h)
		r.st = st
		return err
	case wire.PSH:
		r.handlePSH(h)
	case wire.FIN:
		r.handleFIN(h)
	case wire.UPD:
		return r.handleUPD(h, body)
	}
	return nil
}

// stream returns the open stream with the given id, or nil. The last frame was often one of the same stream.
func (r *reader) stream(id uint32) *sessionStream {
	if st := r.st; st != nil && st.core.Stream().ID() == id && !st.removed.Load() {
		return st
	}
	return r.s.stream(id)
}

// handlePSH begins a payload. If its stream is not open, the payload is thrown away: the stream has been closed, or
// was refused.
func (r *reader) handlePSH(h wire.Header) {
	if h.Length == 0 {
		r.handleEmpty(h)
		return
	}
	st := r.stream(h.StreamID)
	if st != r.filling {
		r.wakeFilling()
	}
	r.left, r.st, r.admitted = uint32(h.Length), st, false
	large := r.left >= minDirect
	r.direct = st != nil && r.readsDirectly() && (large || r.direct && r.large)
	r.large = large
	if st != nil {
		r.s.latency.onFrame(&st.traffic, int(h.Length))
		st.core.NoteActive(r.s.clock.lastReceived())
	}
}

// handleUPD gives a stream its new send window.
func (r *reader) handleUPD(h wire.Header, body []byte) error {
	st := r.stream(h.StreamID)
	if st == nil {
		return nil
	}
	u, err := wire.ParseWindowUpdate(body)
	if err == nil {
		err = st.core.HandleUpdate(u)
	}
	if err != nil {
		return &ProtocolError{Header: h, Err: err}
	}
	return nil
}

// readsDirectly reports whether large payloads are read directly into memory of their streams. A transport whose Read may
// wait cannot read into the buffer of a stream's Read. And it may have a cost for each Read: TLS returns a record at most,
// and a WebSocket sets timers.
func (r *reader) readsDirectly() bool { return r.s.out.inline }

// isClean reports whether the last byte that was read ends a frame.
func (r *reader) isClean() bool { return r.left == 0 && r.r == r.w }

// cause returns the reason for the session's end if reading ended with err.
func (r *reader) cause(err error) error {
	if err == io.EOF && !r.isClean() {
		return io.ErrUnexpectedEOF
	}
	return err
}
