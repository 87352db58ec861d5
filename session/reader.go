package session

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/smuxkit/smuxkit/wire"
)

// A reader is the receiving side of a session: it decodes the bytes that the transport reads (frames.go) and hands the
// payloads to the streams.
//
// The transport reads into a staging buffer, in which the reader decodes. The reader is either at a header (left is
// 0), or in the payload of a PSH frame (left bytes of it, for stream st, are still to come). The rest of a large
// payload is read directly into memory of its stream. Only little more than the next header is read behind it, so
// that the payload after it can be read directly, too.
//
// One goroutine at a time uses the reader: the session's own, which runs it, or one that sends (see readInline). Only
// the session's own waits.
type reader struct {
	s *Session

	staging *[stagingSize]byte // nil while it holds nothing
	r, w    int                // staging[r:w] is not decoded yet

	st       *sessionStream // the payload's stream; nil if the payload is thrown away. Between frames, the last frame's
	left     uint32         // bytes of the payload that are still to come
	large    bool           // the whole payload has minDirect bytes or more
	direct   bool           // the payload is read directly: it is large, or it follows a large one
	lent     bool           // the last targets were memory of st
	admitted bool           // the next payload may exceed the budget: the reader has waited for it

	// filling is the stream of a Read that waits although its buffer is partly filled. It waits while more
	// data can be read at once, until it has enough.
	filling *sessionStream

	throttle rateLimit                    // Config.ReceiveRate, or that of SetReceiveRate
	refusals atomic.Pointer[peerRefusals] // nil until a frame may belong to a refusal
}

// A wait is what a reader waits for, other than data.
type wait uint8

const (
	waitNothing wait = iota
	waitBudget       // room for unread data
	waitRate         // Config.ReceiveRate
	waitAnswers      // room in the queue of answers
	waitTrace        // room for the events of Config.Trace
	waitRenewal      // a new goroutine
)

const (
	stagingSize = 64 << 10
	// minDirect is the least payload that is read directly into memory of its stream.
	minDirect = 8 << 10
	// maxAhead is how much may be read behind such a payload: the next header, a short payload that ends a Write,
	// and one more header.
	maxAhead = 64
)

var stagings = sync.Pool{New: func() any { return new([stagingSize]byte) }}

// errRenewal says that another goroutine goes on reading.
var errRenewal = errors.New("session: the reader's goroutine is renewed")

// run reads until the transport ends, and returns the reason. It is what the session's goroutine does. It returns
// errRenewal if a new goroutine has to go on.
func (r *reader) run() error {
	for {
		why, err := r.s.transport.read()
		if err == nil && why == waitRenewal {
			return errRenewal
		}
		if err == nil {
			err = r.await(why)
		}
		if err != nil {
			return err
		}
	}
}

// await waits for what the reader needs. It pauses the clock, because silence meanwhile is not the peer's fault.
func (r *reader) await(why wait) error {
	s := r.s
	s.clock.pauseReading()
	defer s.clock.resumeReading()
	switch why {
	case waitNothing, waitRenewal:
	case waitBudget:
		defer s.tracer.readPaused(PauseBuffer)()
		s.pauseForBuffer()
		defer s.resumeFromBuffer()
		defer s.transport.watch()()
		s.stalls.pause()
		defer s.stalls.resume()
		r.admitted = s.budget.Wait(s.done) // Close makes room, too: it throws the unread data away
	case waitRate:
		r.throttle.wait()
	case waitAnswers:
		defer s.tracer.readPaused(PauseRefusals)()
		defer s.transport.watch()()
		if !s.awaitAnswers() {
			return ErrAnswerTimeout
		}
	case waitTrace:
		defer s.transport.watch()()
		s.tracer.awaitRoom(s.done)
	}
	if s.ended() {
		return net.ErrClosed
	}
	return nil
}

// mustWait returns what the reader has to wait for before it handles the frame with header h.
func (r *reader) mustWait(h wire.Header) wait {
	s := r.s
	switch {
	case s.tracer != nil && s.tracer.full():
		return waitTrace
	case h.Command == wire.PSH && h.Length > 0 && !r.admitted && s.budget.Full() && s.acceptsData(h.StreamID):
		return waitBudget
	case h.Command == wire.SYN && s.out.answersFull():
		return waitAnswers
	}
	return waitNothing
}

// beforeWait is called before the reader waits. It releases what an idle session does not need.
func (r *reader) beforeWait() {
	r.wakeFilling()
	r.s.latency.beforeWait()
	if r.left == 0 {
		r.st = nil // so that a closed stream can be freed
	}
	if r.staging != nil && r.r == r.w {
		stagings.Put(r.staging)
		r.staging = nil
	}
}

// targets returns where to read the next bytes: the payload into direct, if that is not nil, and the rest into staged.
// brief says that the caller does not wait before it calls noteRead.
func (r *reader) targets(brief bool) (direct, staged []byte) {
	if t := r.throttle.current(); t != nil {
		direct, staged = r.memory(brief)
		direct = direct[:min(len(direct), t.piece)]
		return direct, staged[:min(len(staged), t.piece-len(direct))]
	}
	return r.memory(brief)
}

// memory returns the targets without regard to the rate.
func (r *reader) memory(brief bool) (direct, staged []byte) {
	if r.staging == nil {
		r.staging = stagings.Get().(*[stagingSize]byte)
		r.r, r.w = 0, 0
	}
	switch {
	case r.r == r.w:
		r.r, r.w = 0, 0
	case r.r > 0:
		r.w = copy(r.staging[:], r.staging[r.r:r.w])
		r.r = 0
	}
	staged = r.staging[r.w:]
	if r.left == 0 && r.direct {
		// Another large payload is likely to follow this header.
		return nil, staged[:max(1, maxAhead-r.w)]
	}
	if r.left == 0 || !r.direct {
		return nil, staged
	}
	r.s.latency.beforeRead(&r.st.traffic)
	direct = r.st.core.Reserve(int(r.left), brief)
	if direct == nil {
		return nil, staged
	}
	r.lent = true
	if len(direct) < int(r.left) {
		return direct, nil
	}
	return direct, staged[:maxAhead]
}

// noteRead notes that n bytes were read into the last targets.
func (r *reader) noteRead(n int) {
	r.throttle.current().consume(n)
	if !r.lent {
		r.w += n
		return
	}
	r.lent = false
	// There is no staged part unless direct had room for the rest of the payload.
	payload := min(n, int(r.left))
	r.w += n - payload
	r.left -= uint32(payload)
	r.noteDelivery(r.st.core.Commit(payload))
}

// wakeFilling wakes the Read whose buffer is partly filled, if there is one.
func (r *reader) wakeFilling() {
	if r.filling != nil {
		r.filling.core.Wake()
		r.filling = nil
	}
}

// close releases what the reader holds.
func (r *reader) close() {
	r.wakeFilling()
	if r.staging != nil {
		stagings.Put(r.staging)
		r.staging = nil
	}
}
