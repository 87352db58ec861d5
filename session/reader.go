package session

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A reader is the way in of a session: it decodes frames and hands their payloads to the streams.
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

	left  uint32         // of the payload
	st    *sessionStream // whose it is; nil if it is thrown away
	large bool           // the payload was large from the beginning
	bulk  bool           // it was, or the one before it was
	lent  bool           // targets returned memory that st lent

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
	// directMin is the length from which what is left of a payload is read
	// straight to its stream.
	directMin = 8 << 10
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

// awaitAnswers waits until answers have left. It reports false if the transport took nothing for answerTimeout:
// two peers that both wait like this would wait for ever.
func (s *Session) awaitAnswers() bool {
	leave := s.out.answersLeave()
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case <-leave:
			return true
		case <-s.done:
			return true
		case <-timer.C:
			waited := s.out.watch.waited()
			if waited >= answerTimeout {
				return false
			}
			timer.Reset(answerTimeout - waited)
		}
	}
}

// clean reports whether the reader stands between two frames.
func (r *reader) clean() bool { return r.left == 0 && r.r == r.w }

// rest gives the staging buffer back if it is empty: the reader is about to wait.
func (r *reader) rest() {
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
// next call of filled, without waiting.
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
	if r.left == 0 && r.bulk {
		// Likely, another large payload comes behind this header.
		return nil, staged[:max(1, ahead-r.w)]
	}
	if r.left == 0 || !r.bulk {
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

// filled says that n bytes were read to the last targets.
func (r *reader) filled(n int) {
	if r.throttle != nil {
		r.throttle.consume(n)
	}
	if !r.lent {
		r.w += n
		return
	}
	r.lent = false
	// Lend promised the payload's rest, or less and nothing behind it.
	payload := min(n, int(r.left))
	r.w += n - payload
	r.left -= uint32(payload)
	r.delivered(r.st.core.Commit(payload))
}

// wake has a Read go on whose buffer is partly filled.
func (r *reader) wake() {
	if r.filling != nil {
		r.filling.core.Wake()
		r.filling = nil
	}
}

// parse decodes what is staged, until it has to wait.
func (r *reader) parse() (wait, error) {
	for r.r < r.w {
		if r.left > 0 {
			n := min(int(r.left), r.w-r.r)
			data := r.staging[r.r : r.r+n]
			r.r += n
			r.left -= uint32(n)
			if r.st != nil {
				r.delivered(r.st.core.Deliver(data, r.bulk && r.left > 0))
			}
			continue
		}
		if r.w-r.r < wire.HeaderSize {
			return waitNothing, nil
		}
		h, err := wire.ParseHeader(r.staging[r.r:r.w])
		if err != nil {
			return waitNothing, &ProtocolError{Header: h, Err: versionError(err, h.Version, r.s.version())}
		}
		if v := r.s.version(); h.Version != v && (v != 0 || !r.s.adopt(h.Version)) {
			return waitNothing, &ProtocolError{Header: h, Err: versionError(wire.ErrVersionMismatch, h.Version, v)}
		}
		size := wire.HeaderSize
		if h.Command == wire.UPD {
			if size += wire.UpdateSize; r.w-r.r < size {
				return waitNothing, nil
			}
		}
		if why := r.mustWait(h); why != waitNothing {
			return why, nil
		}
		body := r.staging[r.r+wire.HeaderSize : r.r+size]
		r.r += size
		if err := r.frame(h, body); err != nil {
			return waitNothing, err
		}
	}
	return waitNothing, nil
}

// delivered deals with what became of a piece of payload.
func (r *reader) delivered(became stream.Delivery) {
	switch became {
	case stream.Queued:
	case stream.Filling:
		r.filling = r.st
	case stream.Filled:
		r.filling = nil
		r.s.latency.onFilled(&r.st.traffic)
	}
}

// frame acts on one frame; of PSH, the payload is still to come.
func (r *reader) frame(h wire.Header, body []byte) error {
	s := r.s
	s.stats.framesReceived.Add(1)
	switch h.Command {
	case wire.NOP:
		return nil
	case wire.SYN:
		return s.opened(h)
	case wire.FIN, wire.PSH, wire.UPD: // of a stream that is open, or was
	}
	st := s.stream(h.StreamID)
	if h.Command == wire.PSH {
		if h.Length == 0 {
			return nil
		}
		if st != r.filling {
			r.wake()
		}
		r.left, r.st, r.admitted = uint32(h.Length), st, false
		large := r.left >= directMin
		r.bulk = st != nil && (large || r.bulk && r.large)
		r.large = large
		if st != nil {
			s.latency.onFrame(&st.traffic, int(h.Length))
		}
		return nil
	}
	if st == nil {
		return nil // late, or of a stream that was refused
	}
	if h.Command == wire.FIN {
		st.core.HandleFIN()
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

// cause makes err, with which reading ended, the reason for the session's end.
func (r *reader) cause(err error) error {
	if err == io.EOF && !r.clean() {
		return io.ErrUnexpectedEOF
	}
	return err
}

// close ends the reader.
func (r *reader) close() {
	r.wake()
	if r.staging != nil {
		stagings.Put(r.staging)
		r.staging = nil
	}
}
