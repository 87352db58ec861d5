package fuzz

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A model says what a session must do for its application and its peer, if each event is over before the next one
// begins. It does not say how.
//
// Its methods record what the peer sends, what the application calls, what calls return, and what the session sends.
type model struct {
	windows     bool // version 2
	noHalfClose bool // the peer's FIN ends both directions
	backlog     int  // 0 is no limit
	maxStreams  int  // of the peer's, open at once

	streams []*modelStream
	waiting []*modelStream // for AcceptStream

	heard     bool // a frame of the peer has come
	draining  bool // the peer takes no more streams
	asked     bool // the application has opened a stream
	stalled   bool // the transport takes nothing
	stalledAt time.Time
	closed    bool  // Session.Close was called before the session had ended
	end       error // what ended the session before that, or nil
}

// A modelStream is one stream. Positions count bytes from its beginning.
type modelStream struct {
	m      *model
	id     uint32
	opened bool // by this side

	// Bytes from the peer to the application.
	came         int       // the peer has sent up to here, before its FIN and while this side reads
	late         int       // and this many bytes after that
	limit        int       // up to here the peer may send, or might once
	read         int       // the application has taken up to here
	fins         int       // of the peer
	empties      int       // empty PSHs of the peer
	marked       bool      // the first FIN ended what only a refusal has
	markedAt     time.Time // when it came
	unclear      bool      // the session ended before a second FIN
	refused      bool      // the peer has refused the stream
	readClosed   bool
	readDeadline time.Time

	// Bytes from the application to the peer.
	written       int // end of the Writes that have returned
	writeClosed   bool
	writeDeadline time.Time
	consumed      int       // of the peer's last update
	edge          int       // the peer lets us send up to here
	maxEdge       int       // or did once
	dropped       bool      // data need not arrive: the peer has closed the stream
	updated       bool      // an update has come after the peer's FIN
	stuck         time.Time // since when the stream is closed and the peer makes no room; zero if that is not so
	givenUp       bool      // the stream may have been stuck for too long

	closed   bool // Close was called
	finsDue  int  // the fewest FINs that CloseWrite and Close must send
	finsMost int  // and the most

	// What was sent.
	synSent    bool
	sent       int
	finsSent   int
	updateSent bool // after FIN
}

// A result is what a call may return.
type result struct {
	least, most int // bytes
	errs        []error
	waits       bool // the call need not return yet
}

func (r result) String() string {
	if len(r.errs) > 0 {
		return fmt.Sprint(r.errs)
	}
	return fmt.Sprintf("%d to %d bytes, waiting allowed: %v", r.least, r.most, r.waits)
}

func (r result) allows(n int, err error) bool {
	if err == nil {
		return len(r.errs) == 0 && r.least <= n && n <= r.most
	}
	return slices.ContainsFunc(r.errs, func(want error) bool { return same(err, want) })
}

// open records that the application has opened a stream.
func (m *model) open(id uint32) *modelStream {
	m.asked = true
	return m.add(id, true)
}

// over records that the peer has ended the session.
func (m *model) over(reason error) {
	if m.asked && !m.heard {
		reason = silence{reason}
	}
	m.end = reason
	for _, st := range m.streams {
		st.unclear = st.awaitsFIN()
	}
}

// A silence is the end of a session whose peer has never sent anything, although it was probed.
type silence struct{ error }

func (s silence) Unwrap() error { return s.error }

func (m *model) add(id uint32, opened bool) *modelStream {
	st := &modelStream{m: m, id: id, opened: opened, limit: flow.InitialWindow, edge: flow.InitialWindow, maxEdge: flow.InitialWindow}
	m.streams = append(m.streams, st)
	return st
}

// syn records that the peer has opened a stream. A refused stream is unknown.
func (m *model) syn(id uint32) (refused bool) {
	theirs := 0
	for _, st := range m.streams {
		if !st.opened && !st.finished() {
			theirs++
		}
	}
	if theirs >= m.maxStreams || m.backlog > 0 && len(m.waiting) >= m.backlog {
		return true
	}
	m.waiting = append(m.waiting, m.add(id, false))
	return false
}

// data, fin and update record the peer's other frames.
func (st *modelStream) data(n int) {
	switch {
	case st.fins > 0 || st.m.closed:
	case st.closed:
		st.late += n
	case st.readClosed:
		st.came += n
		st.read = st.came
	default:
		st.came += n
	}
}

func (st *modelStream) fin() {
	mayRefuse := st.awaitsFIN()
	st.fins++
	if st.fins == 1 {
		st.marked = st.opened && st.empties == 2 && st.came+st.late == 0
		st.markedAt = time.Now()
	}
	st.refused = st.refused || mayRefuse
	st.noteDropped()
	// A peer that has closed its direction need not be told that this side reads no more.
	st.finsDue = min(st.finsDue, max(1, st.finsSent))
}

// peerClosed reports whether the peer has closed both directions.
func (st *modelStream) peerClosed() bool {
	return st.fins >= 2 || st.fins == 1 && st.m.noHalfClose && !st.awaitsFIN()
}

// noteDropped is called after each change that may make peerClosed true.
func (st *modelStream) noteDropped() { st.dropped = st.dropped || st.peerClosed() }

// awaitsFIN reports whether the next FIN completes a refusal: it has to come within secondFINTimeout after the first.
func (st *modelStream) awaitsFIN() bool {
	return st.marked && st.fins == 1 && !st.updated && (st.unclear || time.Now().Before(st.markedAt.Add(secondFINTimeout)))
}

const secondFINTimeout = 5 * time.Second

func (st *modelStream) update(consumed, window int) {
	st.updated = st.fins > 0
	st.noteDropped()
	if consumed >= st.consumed {
		st.consumed, st.edge = consumed, consumed+window
		st.maxEdge = max(st.maxEdge, st.edge)
	}
}

// finished reports whether the session has nothing more to do with the stream.
func (st *modelStream) finished() bool {
	return st.writeClosed && st.finsSent >= st.finsDue && (st.closed || st.fins > 0 && st.read == st.came && !st.awaitsFIN())
}

// wait records that time will pass. A closed stream may give up data that it cannot send, because the transport
// has taken nothing for long, or because its peer makes no room and may have forgotten the stream.
func (st *modelStream) wait(d, lingerTimeout time.Duration) {
	until := time.Now().Add(d)
	noRoom := st.m.windows && st.edge <= st.sent && st.fins > 0 && !st.updated
	switch {
	case !st.closed || st.sent == st.written:
		st.stuck = time.Time{}
	case st.m.stalled && until.Sub(st.m.stalledAt) >= lingerTimeout:
		st.givenUp = true
	case !noRoom:
		st.stuck = time.Time{}
	case st.stuck.IsZero():
		st.stuck = time.Now()
	}
	if !st.stuck.IsZero() && until.Sub(st.stuck) >= lingerTimeout {
		st.givenUp = true
	}
}

// told records an update that the session has sent.
func (st *modelStream) told(consumed, window int) { st.limit = max(st.limit, consumed+window) }

// room returns how many bytes the peer may send.
func (st *modelStream) room() int {
	if !st.m.windows {
		return math.MaxInt
	}
	return st.limit - st.came - st.late
}

// certain reports whether the session certainly still knows the stream, whatever is under way.
func (st *modelStream) certain() bool { return !st.writeClosed }

// unread returns the number of bytes that the session holds for the application.
func (m *model) unread() (n int) {
	for _, st := range m.streams {
		n += st.came - st.read
	}
	return n
}

// accepting returns what AcceptStream may return now.
func (m *model) accepting() result {
	switch {
	case m.closed:
		return result{errs: []error{net.ErrClosed}}
	case len(m.waiting) > 0:
		return result{}
	case errors.Is(m.end, io.EOF):
		return result{errs: []error{io.EOF}}
	case m.end != nil:
		return result{errs: []error{m.end}}
	}
	return result{waits: true}
}

// opening returns what OpenStream may return now.
func (m *model) opening() result {
	switch {
	case m.closed:
		return result{errs: []error{net.ErrClosed}}
	case m.draining:
		return result{errs: []error{session.ErrPeerShutdown}}
	case m.end != nil:
		return result{errs: []error{m.end}}
	}
	return result{}
}

// endErr is the error of a stream's calls after the end of the session.
func (m *model) endErr() error {
	switch m.end {
	case io.EOF:
		return io.ErrUnexpectedEOF
	case silence{io.EOF}:
		return silence{io.ErrUnexpectedEOF}
	}
	return m.end
}

// reading returns what a Read of up to n bytes may return now.
func (st *modelStream) reading(n int) result {
	unread := st.came - st.read
	var errs []error
	if st.readClosed || st.m.closed {
		errs = append(errs, net.ErrClosed)
	}
	fin := io.EOF
	if st.refused {
		fin = stream.ErrRefused
	}
	if st.m.closed && st.writeClosed && st.fins > 0 && !st.readClosed {
		errs = append(errs, fin) // the stream may have been finished before
	}
	if passed(st.readDeadline) {
		errs = append(errs, os.ErrDeadlineExceeded)
	}
	switch {
	case len(errs) > 0:
		return result{errs: errs}
	case n == 0 && unread > 0:
		return result{}
	case unread > 0:
		return result{least: 1, most: min(n, unread)}
	case st.fins > 0 && !st.awaitsFIN():
		return result{errs: []error{fin}}
	case st.m.end != nil:
		return result{errs: []error{st.m.endErr()}}
	}
	return result{waits: n > 0} // a Read of nothing is a probe
}

// writing returns what a Write of n bytes may return now. A Write that fails may have written some of them.
func (st *modelStream) writing(n int) result {
	var errs []error
	if st.writeClosed || st.m.closed {
		errs = append(errs, net.ErrClosed)
	}
	if st.peerClosed() {
		err := stream.ErrPeerClosed
		if st.refused {
			err = stream.ErrRefused
		}
		errs = append(errs, err)
	}
	if st.m.end != nil {
		errs = append(errs, st.m.endErr())
	}
	if passed(st.writeDeadline) {
		errs = append(errs, os.ErrDeadlineExceeded)
	}
	if len(errs) > 0 {
		return result{errs: errs}
	}
	blocked := st.m.stalled || st.m.windows && st.written+n > st.edge
	return result{least: n, most: n, waits: blocked && n > 0}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// accept records that AcceptStream has returned a stream.
func (m *model) accept() *modelStream {
	st := m.waiting[0]
	m.waiting = m.waiting[1:]
	return st
}

func (st *modelStream) closeWrite() {
	if !st.writeClosed {
		st.writeClosed = true
		st.finsDue, st.finsMost = 1, 1
	}
}

func (st *modelStream) closeRead() {
	st.readClosed = true
	st.read = st.came
}

func (st *modelStream) close() {
	if st.closed {
		return
	}
	st.closeWrite()
	st.closeRead()
	st.closed = true
	if st.fins == 0 {
		st.finsDue, st.finsMost = 2, 2
	}
}

// close records that Session.Close was called. A session that has ended cannot be closed.
func (m *model) close() {
	if m.end != nil {
		return
	}
	m.closed = true
	for _, st := range m.streams {
		st.read = st.came
	}
}

// same reports whether err is want, or has the same text.
func same(err, want error) bool {
	var got, protocol *session.ProtocolError
	if errors.As(want, &protocol) {
		return errors.As(err, &got) && got.Header == protocol.Header
	}
	if quiet := (silence{}); errors.As(want, &quiet) {
		return errors.Is(err, quiet.error) && err != quiet.error
	}
	if want == nil || want == io.EOF {
		return err == want
	}
	return errors.Is(err, want)
}
