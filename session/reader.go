package session

import (
	"net"
	"sync"

	"github.com/smuxkit/smuxkit/wire"
)

// A reader is the way in of a session. It reads bytes, here, decodes frames and hands their payloads to the
// streams (frames.go).
//
// Bytes are read into a staging buffer, which is decoded in place; its state is either
// "at a header" (left is 0) or "in the payload of a PSH frame" (left bytes of it are to
// come, for stream st). In a payload that is large, what is left is read straight into
// memory that its stream lends, and behind it little more than the next header, so that the
// payload after it can be read straight, too.
//
// The transport reads the bytes. One goroutine at a time uses the reader: the session's, which runs it, or
// one that sends, see readInline. The first of them alone waits, and for anything but bytes it waits where
// the transport is not held up.
type reader struct {
	s *Session

	staging *[stagingSize]byte // nil while there is nothing in it
	r, w    int                // it holds staging[r:w]

	left   uint32         // of the payload
	st     *sessionStream // whose it is; nil if it is thrown away
	large  bool           // the payload had minDirect bytes or more from the beginning
	direct bool           // it is read straight: it is large, or a short one behind a large one
	lent   bool           // targets returned memory that st lent

	// A Read whose buffer is being filled waits for more as long as there is more
	// to read at once; then, or when it has enough, it runs.
	filling *sessionStream // whose Read waits like this

	throttle *throttle // limits the rate, if not nil

	admitted bool // the next payload was waited for, and may come whether there is room or not
}

// A wait is what has to happen, apart from more bytes coming, before a reader can go on.
type wait uint8

const (
	waitNothing wait = iota
	waitBudget       // there is room for unread data
	waitRate         // Config.ReceiveRate lets more bytes in
	waitAnswers      // answers to what was read have left
)

const (
	stagingSize = 64 << 10
	// minDirect is the length from which what is left of a payload is read
	// straight to its stream.
	minDirect = 8 << 10
	// ahead is how much is read together with, and behind, such a payload: the next
	// header, a short payload that ends a Write, and one more header.
	ahead = 64
)

var stagings = sync.Pool{New: func() any { return new([stagingSize]byte) }}

// run reads until the transport ends, and returns why. It is the session's one goroutine.
func (r *reader) run() error {
	for {
		why, err := r.s.transport.read()
		if err == nil {
			err = r.await(why)
		}
		if err != nil {
			return err
		}
	}
}

// await waits for what the reader needs. It is not the peer's fault that nothing is received meanwhile.
func (r *reader) await(why wait) error {
	s := r.s
	s.clock.pauseReading()
	defer s.clock.resumeReading()
	switch why {
	case waitNothing:
	case waitBudget:
		defer s.transport.watch()()
		s.stalls.pause()
		defer s.stalls.resume()
		r.admitted = s.budget.Wait(s.closing)
	case waitRate:
		r.throttle.wait()
	case waitAnswers:
		defer s.transport.watch()()
		if !s.awaitAnswers() {
			return ErrAnswerTimeout
		}
	}
	if s.ended() {
		return net.ErrClosed
	}
	return nil
}

// mustWait returns what has to happen before h is acted on.
func (r *reader) mustWait(h wire.Header) wait {
	s := r.s
	switch {
	case h.Command == wire.PSH && h.Length > 0 && !r.admitted && s.budget.Full() && s.keeps(h.StreamID):
		return waitBudget
	case h.Command == wire.SYN && s.out.answersFull():
		return waitAnswers
	}
	return waitNothing
}

// beforeWait gives the staging buffer back if it is empty: the reader is about to wait.
func (r *reader) beforeWait() {
	r.wake()
	r.s.latency.beforeWait()
	if r.left == 0 {
		r.st = nil // an idle session must not hold a stream that is closed
	}
	if r.staging != nil && r.r == r.w {
		stagings.Put(r.staging)
		r.staging = nil
	}
}

// targets returns where the next bytes are to be read: the payload into direct, if that
// is not nil, and what follows into staged. If brief, the memory is used only until the
// next call of noteRead, without waiting.
func (r *reader) targets(brief bool) (direct, staged []byte) {
	if r.throttle != nil {
		direct, staged = r.memory(brief)
		direct = direct[:min(len(direct), r.throttle.piece)]
		return direct, staged[:min(len(staged), r.throttle.piece-len(direct))]
	}
	return r.memory(brief)
}

// memory returns the targets with no regard to the rate.
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
		// Likely, another large payload comes behind this header.
		return nil, staged[:max(1, ahead-r.w)]
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
	return direct, staged[:ahead]
}

// noteRead says that n bytes were read to the last targets.
func (r *reader) noteRead(n int) {
	if r.throttle != nil {
		r.throttle.consume(n)
	}
	if !r.lent {
		r.w += n
		return
	}
	r.lent = false
	// Reserve promised the payload's rest, or less and nothing behind it.
	payload := min(n, int(r.left))
	r.w += n - payload
	r.left -= uint32(payload)
	r.noteDelivery(r.st.core.Commit(payload))
}

// wake has a Read go on whose buffer is partly filled.
func (r *reader) wake() {
	if r.filling != nil {
		r.filling.core.Wake()
		r.filling = nil
	}
}

// close ends the reader.
func (r *reader) close() {
	r.wake()
	if r.staging != nil {
		stagings.Put(r.staging)
		r.staging = nil
	}
}
