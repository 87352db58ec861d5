package fuzz

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

var (
	slots = numbers(0, 1, 2, 3, 4, 5)
	sizes = numbers(0, 1, 2, 8, 9, 100, 500, 1000, 4095, 4096, 8192, 9000, 20_000, 32_768, 40_000, 150_000)
	times = durations(0, time.Millisecond, 100*time.Millisecond, time.Second, 10*time.Second)
)

// A play is what a peer and an application do to a session.
var plays = &language{
	header: operation{"session", []kind{
		words("client", "server"),
		numbers(1, 2),                 // version
		numbers(0, 1, 3, 8, 100),      // bytes a Read of the transport; 0 is all there are
		numbers(0, 1, 2),              // AcceptBacklog
		numbers(0, 1, 3),              // MaxStreams
		numbers(0, 100, 1000, 65_535), // MaxFrameSize
	}},
	repertory: []operation{
		// The peer and its transport.
		{"syn", nil},
		{"psh", []kind{slots, numbers(0, 1, 2, 8, 100, 1000, 4096, 8191, 8192, 9000, 20_000, 65_535)}},
		{"part", []kind{slots, numbers(8, 100, 9000, 20_000, 65_535)}}, // the first half of a PSH frame
		{"fin", []kind{slots}},
		{"upd", []kind{slots, words("all", "none"), numbers(0, 1, 100, 1000, 5000, 65_536, 1<<20)}},
		{"nop", nil},
		{"bad", []kind{words("version", "command", "data", "nop", "zero", "parity", "inuse", "update", "consumed")}},
		{"end", []kind{words("clean", "header", "payload", "error")}},
		{"stall", nil},
		{"unstall", nil},
		// The application.
		{"open", nil},
		{"accept", nil},
		{"read", []kind{slots, sizes}},
		{"writeto", []kind{slots}},
		{"write", []kind{slots, sizes}},
		{"readfrom", []kind{slots, sizes}},
		{"closewrite", []kind{slots}},
		{"closeread", []kind{slots}},
		{"close", []kind{slots}},
		{"readdeadline", []kind{slots, times}}, // from now; 0 is none
		{"writedeadline", []kind{slots, times}},
		{"sleep", []kind{times}},
		{"shut", nil}, // Session.Close
	},
	first: []string{"open", "syn", "accept"},
	rare:  []string{"bad", "end", "shut"},
}

// What a play may move: enough to use up a window, and the session's own buffers.
const mostBytes = 400_000

const closeTimeout = time.Second

// neverLingers is longer than any program: a session that gives up the data of closed streams ends when its transport
// takes data again, which the model does not follow. FuzzPair has sessions that give up.
const neverLingers = 1000 * time.Hour

// FuzzStreams compares what a session does, step by step, with a model.
func FuzzStreams(f *testing.F) {
	for _, text := range playSeeds {
		f.Add(plays.encode(text))
	}
	f.Fuzz(func(t *testing.T, input []byte) { runPlay(t, plays.decode(input)) })
}

// TestStreamsFollowTheModel does what FuzzStreams does with programs drawn at random.
func TestStreamsFollowTheModel(t *testing.T) {
	eachProgram(t, plays, runPlay)
}

func runPlay(t *testing.T, program program) {
	bubble(t, func(t *testing.T) {
		p := newPlay(t, program.header)
		p.program = program
		for _, s := range program.steps {
			p.act(s)
			p.check()
		}
		p.finish()
	})
}

type play struct {
	t       *testing.T
	program program // for messages
	model   *model
	version wire.Version
	client  bool
	s       *session.Session
	cable   *cable
	wire    []byte // the beginning of a frame of the session's
	rest    []byte // of a frame of the peer's
	restOf  *played
	left    int            // bytes that may still be moved
	nextID  uint32         // of the peer
	refused map[uint32]int // FINs that a stream that was refused has got

	streams   []*played
	accepting *call
	closing   *call
	flushes   bool // what was written before Session.Close must arrive
	cut       bool // the peer has ended the session meanwhile
}

// A played stream is a stream of the model and of the session.
type played struct {
	*modelStream
	st      *stream.Stream // nil until it is accepted
	reading *call
	writing *call
}

// A call is a call of the application's. What it returns can be looked at when it is done.
type call struct {
	name string
	size int    // of what is to be read or written
	buf  []byte // of a Read
	sink *sink  // of WriteTo
	done atomic.Bool

	st  *stream.Stream // of AcceptStream
	n   int
	err error
}

func newPlay(t *testing.T, header step) *play {
	cfg := &session.Config{
		Version:       header.arg(1),
		KeepAlive:     keepalive.Off{},
		AcceptBacklog: header.arg(3),
		MaxStreams:    header.arg(4),
		MaxFrameSize:  header.arg(5),
		CloseTimeout:  closeTimeout,
		LingerTimeout: neverLingers,
	}
	p := &play{
		t:       t,
		version: wire.Version(cfg.Version),
		client:  header.arg(0) == 0,
		cable:   newCable(header.arg(2)),
		left:    mostBytes,
		refused: map[uint32]int{},
		model:   &model{windows: cfg.Version == 2, backlog: cfg.AcceptBacklog, maxStreams: cfg.MaxStreams},
	}
	if cfg.MaxStreams == 0 {
		p.model.maxStreams = session.DefaultMaxStreams
	}
	start := session.Server
	p.nextID = 1
	if p.client {
		start = session.Client
		p.nextID = 2
	}
	var err error
	if p.s, err = start(p.cable, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after a failure; everything that is blocked ends
		_ = p.cable.Close()
		_ = p.s.Close()
	})
	return p
}

// failf reports what is wrong, and the program.
func (p *play) failf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf(format, args...)
	p.t.Fatalf("the program:\n%v", p.program)
}

// spend takes n bytes, or what is left, off what may be moved.
func (p *play) spend(n int) int {
	n = min(n, p.left)
	p.left -= n
	return n
}

// start makes a call in the background. check looks for its result.
func (p *play) start(name string, size int, do func(c *call) (int, error)) *call {
	c := &call{name: name, size: size}
	go func() {
		c.n, c.err = do(c)
		c.done.Store(true)
	}()
	return c
}

func (p *play) act(s step) {
	m := p.model
	switch s.name {
	case "stall":
		if !m.stalled {
			m.stalledAt = time.Now()
		}
		m.stalled = true
		p.cable.stall(true)
	case "unstall":
		m.stalled = false
		p.cable.stall(false)
	case "sleep":
		p.sleep(s.duration(0))
	case "open":
		p.open()
	case "accept":
		if p.accepting == nil {
			p.accepting = p.start("AcceptStream", 0, func(c *call) (_ int, err error) {
				c.st, err = p.s.AcceptStream(context.Background())
				return 0, err
			})
		}
	case "shut":
		p.shut()
	case "syn", "nop", "bad", "end":
		p.peerActs(s, nil)
	default:
		if i := s.arg(0); i < len(p.streams) {
			if st := p.streams[i]; slices.Contains([]string{"psh", "part", "fin", "upd"}, s.name) {
				p.peerActs(s, st)
			} else if st.st != nil {
				p.streamActs(s, st)
			}
		}
	}
}

// send has the peer send a frame.
func (p *play) send(h wire.Header, data []byte) { p.sendPart(h, data, len(data)) }

// sendPart has the peer send a frame, of whose data only n bytes go out before its next frame.
func (p *play) sendPart(h wire.Header, data []byte, n int) {
	p.sendRest()
	p.model.heard = true
	h.Version = p.version
	h.Length = uint16(len(data))
	p.cable.send(append(h.Append(nil), data[:n]...))
	p.rest = data[n:]
}

// sendRest has the peer send what is left of its last frame.
func (p *play) sendRest() {
	if n := len(p.rest); n > 0 {
		p.cable.send(p.rest)
		p.rest = nil
		p.restOf.data(n)
	}
}

// peerActs has the peer do what s says, to stream st if there is one.
func (p *play) peerActs(s step, st *played) {
	m := p.model
	if m.end != nil || p.cut || p.s.Err() != nil {
		return
	}
	switch s.name {
	case "syn":
		if m.maxStreams < session.DefaultMaxStreams {
			for _, st := range p.streams {
				if m.stalled || st.givenUp || st.finsSent >= st.finsDue && st.finsSent < st.finsMost {
					return // what is finished cannot be seen
				}
			}
		}
		id := p.nextID
		p.nextID += 2
		p.send(wire.Header{Command: wire.SYN, StreamID: id}, nil)
		switch {
		case m.closed:
		case m.syn(id):
			p.refused[id] = 0
		default:
			p.streams = append(p.streams, &played{modelStream: m.streams[len(m.streams)-1]})
		}
	case "psh", "part":
		p.sendRest()
		n := min(p.spend(s.arg(1)), st.room())
		if st.fins > 0 || n <= 0 && s.arg(1) > 0 {
			return
		}
		now := n
		if s.name == "part" {
			now = n / 2
		}
		p.sendPart(wire.Header{Command: wire.PSH, StreamID: st.id}, pattern(st.id).bytes(st.came, n), now)
		p.restOf = st
		st.data(now)
	case "fin":
		p.send(wire.Header{Command: wire.FIN, StreamID: st.id}, nil)
		st.fin()
	case "upd":
		if p.version == wire.V1 {
			return
		}
		consumed := st.sent
		if s.arg(1) == 1 {
			consumed = st.consumed
		}
		u := wire.WindowUpdate{Consumed: uint32(consumed), Window: uint32(s.arg(2))}
		p.send(wire.Header{Command: wire.UPD, StreamID: st.id}, u.Append(nil))
		st.update(consumed, s.arg(2))
	case "nop":
		p.send(wire.Header{Command: wire.NOP}, nil)
	case "bad":
		p.violate(s.args[0].text)
	case "end":
		p.end(s.args[0].text)
	}
}

// violate has the peer break the protocol.
func (p *play) violate(how string) {
	h := wire.Header{Version: p.version, Command: wire.NOP}
	var data []byte
	ours, theirs := uint32(2), uint32(1)
	if p.client {
		ours, theirs = 1, 2
	}
	// open is a stream that the session knows for sure.
	open := func(wanted func(st *played) bool) *played {
		for _, st := range p.streams {
			if st.certain() && wanted(st) {
				return st
			}
		}
		return nil
	}
	switch how {
	case "version":
		h.Version = 3 - p.version
	case "command":
		h.Command, h.StreamID = 9, theirs
	case "data":
		h.Command, h.StreamID, data = wire.SYN, theirs, []byte("x")
	case "nop":
		h.StreamID = theirs
	case "zero":
		h.Command, data = wire.PSH, []byte("x")
	case "parity":
		h.Command, h.StreamID = wire.SYN, ours+100
	case "inuse":
		st := open(func(st *played) bool { return !st.opened })
		if st == nil {
			return
		}
		h.Command, h.StreamID = wire.SYN, st.id
	case "update":
		h.Command, h.StreamID, data = wire.UPD, theirs, make([]byte, 8*(2-p.version)+4*(p.version-1))
	case "consumed":
		st := open(func(st *played) bool { return p.version == wire.V2 })
		if st == nil {
			return
		}
		beyond := st.written + 1
		if st.writing != nil {
			beyond += st.writing.size
		}
		h.Command, h.StreamID = wire.UPD, st.id
		data = wire.WindowUpdate{Consumed: uint32(beyond), Window: 1000}.Append(nil)
	}
	h.Length = uint16(len(data))
	p.sendRest()
	p.cable.send(append(h.Append(nil), data...))
	p.ended(&session.ProtocolError{Header: h})
}

// errCable is what a cable that is broken says.
var errCable = errors.New("cable is broken")

// end ends the transport.
func (p *play) end(how string) {
	var rest []byte
	err := io.EOF
	reason := io.EOF
	if how != "clean" {
		p.sendRest()
	} else if len(p.rest) > 0 {
		reason = io.ErrUnexpectedEOF
	}
	switch how {
	case "header":
		rest = []byte{byte(p.version), byte(wire.NOP), 0}
		reason = io.ErrUnexpectedEOF
	case "payload":
		reason = io.ErrUnexpectedEOF
		h := wire.Header{Version: p.version, Command: wire.PSH, Length: 100, StreamID: p.nextID + 1000}
		n := p.spend(10)
		for _, st := range p.streams {
			if st.fins == 0 && n <= st.room() {
				h.StreamID = st.id
				rest = pattern(st.id).bytes(st.came, n)
				st.data(n)
				break
			}
		}
		rest = append(h.Append(nil), rest...)
		p.model.heard = true
	case "error":
		err, reason = errCable, errCable
	}
	p.cable.send(rest)
	p.cable.end(err)
	p.ended(reason)
}

func (p *play) ended(reason error) {
	if p.model.closed {
		p.cut, p.flushes = true, false
	} else {
		p.model.over(reason)
	}
}

func (p *play) open() {
	if p.model.stalled && len(p.streams) > 100 {
		return
	}
	want := p.model.opening()
	st, err := p.s.OpenStream(context.Background())
	if !want.allows(0, err) {
		p.failf("OpenStream: %v, want %v", err, want)
	}
	if err == nil {
		p.streams = append(p.streams, &played{modelStream: p.model.open(st.ID()), st: st})
	}
}

func (p *play) shut() {
	m := p.model
	if p.closing != nil {
		return
	}
	p.flushes = !m.stalled && m.end == nil
	for _, st := range p.streams {
		if st.writing != nil || st.givenUp || m.windows && st.written > st.edge && !st.dropped {
			p.flushes = false
		}
	}
	m.close()
	p.closing = p.start("Session.Close", 0, func(*call) (int, error) { return 0, p.s.Close() })
}

// streamActs has the application do what s says to stream st.
func (p *play) streamActs(s step, st *played) {
	switch s.name {
	case "read":
		if st.reading == nil {
			size := s.arg(1)
			if p.model.closed {
				size = max(size, 1) // a stream that was finished before may still read nothing
			}
			st.reading = p.start("Read", size, func(c *call) (int, error) {
				c.buf = make([]byte, c.size)
				return st.st.Read(c.buf)
			})
		}
	case "writeto":
		if st.reading == nil {
			to := &sink{t: p.t, id: st.id, off: st.read}
			st.reading = p.start("WriteTo", 1, func(*call) (int, error) {
				n, err := st.st.WriteTo(to)
				return int(n), err
			})
			st.reading.sink = to
		}
	case "write":
		if st.writing == nil {
			data := pattern(st.id).bytes(st.written, p.spend(s.arg(1)))
			st.writing = p.start("Write", len(data), func(*call) (int, error) { return st.st.Write(data) })
		}
	case "readfrom":
		if n := p.spend(s.arg(1)); st.writing == nil && n > 0 {
			src := &source{pattern(st.id), st.written, n}
			st.writing = p.start("ReadFrom", src.left, func(*call) (int, error) {
				n, err := st.st.ReadFrom(src)
				return int(n), err
			})
		}
	case "closewrite":
		if err := st.st.CloseWrite(); err != nil {
			p.failf("CloseWrite: %v", err)
		}
		st.closeWrite()
	case "closeread":
		if err := st.st.CloseRead(); err != nil {
			p.failf("CloseRead: %v", err)
		}
		st.closeRead()
	case "close":
		lossless := !st.dropped && p.model.end == nil && !p.model.closed
		if err := st.st.Close(); err != nil && lossless {
			p.failf("Close: %v", err)
		}
		st.close()
	case "readdeadline", "writedeadline":
		at := time.Time{}
		if d := s.duration(1); d > 0 {
			at = time.Now().Add(d)
		}
		set, deadline := st.st.SetReadDeadline, &st.readDeadline
		if s.name == "writedeadline" {
			set, deadline = st.st.SetWriteDeadline, &st.writeDeadline
		}
		err := set(at)
		if (err != nil) != st.closed || err != nil && !errors.Is(err, net.ErrClosed) {
			p.failf("Set%s: %v", s.name, err)
		}
		if err == nil {
			*deadline = at
		}
	}
}

// A sink takes what WriteTo writes.
type sink struct {
	t  *testing.T
	id uint32

	mu  sync.Mutex
	off int
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !pattern(s.id).matches(b, s.off) {
		s.t.Errorf("WriteTo gives wrong data of stream %d at %d", s.id, s.off)
	}
	s.off += len(b)
	return len(b), nil
}

func (s *sink) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off
}

// A source is what ReadFrom reads.
type source struct {
	pattern pattern
	off     int
	left    int
}

func (s *source) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.pattern.bytes(s.off, min(len(b), s.left)))
	s.off += n
	s.left -= n
	return n, nil
}

// sleep lets time pass, and checks what then must have been done.
func (p *play) sleep(d time.Duration) {
	for _, st := range p.streams {
		st.wait(d, neverLingers)
	}
	time.Sleep(d)
	if d < 10*time.Millisecond {
		return
	}
	synctest.Wait()
	p.check()
	if p.model.stalled || p.model.closed || p.model.end != nil {
		return
	}
	least, most := 0, 0 // streams that are open
	for _, st := range p.streams {
		switch {
		case st.givenUp:
			most++
		case !st.finished():
			least, most = least+1, most+1
		}
		p.mustHaveSent(st)
	}
	for id, fins := range p.refused {
		if fins != 2 {
			p.failf("stream %d was refused, and its peer has got %d FINs", id, fins)
		}
	}
	if n := p.s.NumStreams(); n < least || n > most {
		p.failf("NumStreams is %d, want %d to %d", n, least, most)
	}
}

// mustHaveSent wants everything on the wire that may go there.
func (p *play) mustHaveSent(st *played) {
	if st.opened && !st.synSent {
		p.failf("stream %d was opened, and no SYN went out", st.id)
	}
	if st.dropped || st.givenUp {
		return
	}
	may := st.written
	if p.model.windows {
		may = min(may, st.edge)
	}
	if st.sent < may {
		p.failf("stream %d: %d bytes went out of %d that were written, %d of which may", st.id, st.sent, st.written, may)
	}
	if st.room() <= 0 && (st.readClosed && !st.closed || !st.readClosed && st.came == st.read) && st.fins == 0 {
		p.failf("stream %d: the peer has no window, and all %d bytes were taken", st.id, st.came)
	}
	if p.model.windows && st.finsSent == 1 && st.finsDue == 1 && st.fins == 0 && !st.updateSent {
		p.failf("stream %d: no update went out behind FIN, which could be the last word", st.id)
	}
	if st.writing == nil && st.sent == st.written && st.finsSent < st.finsDue {
		p.failf("stream %d: %d FINs went out, want %d", st.id, st.finsSent, st.finsDue)
	}
}

// check lets everything come to rest, and compares it with the model.
func (p *play) check() {
	synctest.Wait()
	p.observe()
	if c := p.accepting; c != nil {
		want, done := p.model.accepting(), c.done.Load()
		switch {
		case !done && !want.waits:
			p.failf("AcceptStream does not return, want %v", want)
		case !done:
		case !want.allows(0, c.err):
			p.failf("AcceptStream: %v, want %v", c.err, want)
		case c.err == nil:
			p.accepted(c.st)
		}
		if done {
			p.accepting = nil
		}
	}
	for _, st := range p.streams {
		if st.reading != nil {
			p.checkRead(st)
		}
		if st.writing != nil {
			p.checkWrite(st)
		}
	}
	if n := p.s.Stats().Unread; n != p.model.unread() && p.s.Err() == nil {
		p.failf("%d bytes are unread, want %d", n, p.model.unread())
	}
	p.checkEnd()
}

func (p *play) accepted(st *stream.Stream) {
	want := p.model.accept()
	if st.ID() != want.id {
		p.failf("accepted stream %d, want %d", st.ID(), want.id)
	}
	for _, known := range p.streams {
		if known.modelStream == want {
			known.st = st
		}
	}
}

func (p *play) checkRead(st *played) {
	c, done := st.reading, st.reading.done.Load()
	if c.sink != nil {
		// A sink takes everything, until there is an error instead.
		if st.read = max(st.read, c.sink.taken()); done && c.err == nil {
			c.err = io.EOF
		}
	}
	want := st.modelStream.reading(c.size)
	switch {
	case c.sink != nil && done:
		if !want.allows(0, c.err) {
			p.failf("WriteTo of stream %d: %v, want %v", st.id, c.err, want)
		}
	case !done:
		if !want.waits {
			p.failf("%s of stream %d does not return, want %v", c.name, st.id, want)
		}
	case !want.allows(c.n, c.err):
		p.failf("Read of %d bytes of stream %d: %d, %v, want %v", c.size, st.id, c.n, c.err, want)
	case !pattern(st.id).matches(c.buf[:c.n], st.read):
		p.failf("Read gives wrong data of stream %d at %d", st.id, st.read)
	default:
		st.read += c.n
	}
	if done {
		st.reading = nil
	}
}

func (p *play) checkWrite(st *played) {
	c := st.writing
	want := st.modelStream.writing(c.size)
	switch {
	case !c.done.Load():
		if !want.waits {
			p.failf("%s of %d bytes to stream %d does not return, want %v", c.name, c.size, st.id, want)
		}
		return
	case !want.allows(c.n, c.err):
		p.failf("%s of %d bytes to stream %d: %d, %v, want %v", c.name, c.size, st.id, c.n, c.err, want)
	case c.n < 0 || c.n > c.size:
		p.failf("%s of %d bytes to stream %d returns %d", c.name, c.size, st.id, c.n)
	}
	st.written += c.n
	st.writing = nil
	if st.sent > st.written {
		p.failf("stream %d: %d bytes went out, of which %d were written", st.id, st.sent, st.written)
	}
}

// checkEnd compares the end of the session with the model.
func (p *play) checkEnd() {
	m := p.model
	err := p.s.Err()
	switch {
	case m.closed:
		if p.closing.done.Load() {
			p.checkClose()
		} else if p.flushes {
			p.failf("Session.Close does not return")
		}
	case !same(err, m.end):
		p.failf("Err is %v, want %v", err, m.end)
	}
}

func (p *play) checkClose() {
	err := p.closing.err
	if p.flushes && err != nil {
		p.failf("Session.Close: %v", err)
	}
	if err == nil && !p.cut {
		for _, st := range p.streams {
			if !st.dropped && !st.givenUp && st.sent != st.written {
				p.failf("Session.Close has sent %d of %d bytes of stream %d, and returns nil", st.sent, st.written, st.id)
			}
		}
	}
	if !errors.Is(p.s.Err(), net.ErrClosed) {
		p.failf("Err is %v after Close", p.s.Err())
	}
}

// observe looks at what the session has sent.
func (p *play) observe() {
	p.wire = append(p.wire, p.cable.written()...)
	for len(p.wire) >= wire.HeaderSize {
		h, err := wire.ParseHeader(p.wire)
		if err != nil || h.Version != p.version {
			p.failf("the session sends %v: %v", h, err)
		}
		end := wire.HeaderSize + int(h.Length)
		if len(p.wire) < end {
			break
		}
		p.frame(h, p.wire[wire.HeaderSize:end])
		p.wire = p.wire[end:]
	}
}

// frame looks at one frame that the session has sent.
func (p *play) frame(h wire.Header, data []byte) {
	if h.Command == wire.NOP {
		return
	}
	if fins, ok := p.refused[h.StreamID]; ok && h.Command == wire.FIN {
		p.refused[h.StreamID] = fins + 1
		return
	}
	var st *played
	for _, known := range p.streams {
		if known.id == h.StreamID {
			st = known
		}
	}
	if st == nil {
		p.failf("the session sends %v of a stream that does not exist", h)
	}
	if h.Command != wire.SYN && st.opened && !st.synSent {
		p.failf("the session sends %v before SYN", h)
	}
	switch h.Command {
	case wire.SYN:
		if st.synSent || !st.opened {
			p.failf("the session sends %v again", h)
		}
		st.synSent = true
	case wire.PSH:
		most := st.written
		if st.writing != nil {
			most += st.writing.size
		}
		switch {
		case !pattern(st.id).matches(data, st.sent):
			p.failf("the session sends %v at %d with wrong data", h, st.sent)
		case st.finsSent > 0:
			p.failf("the session sends %v after FIN", h)
		}
		if st.sent += len(data); st.sent > most {
			p.failf("the session sends %v to %d, and %d bytes were written", h, st.sent, most)
		}
		if p.model.windows && st.sent > st.maxEdge {
			p.failf("the session sends %v to %d, beyond the window's %d", h, st.sent, st.maxEdge)
		}
	case wire.FIN:
		st.finsSent++
		switch {
		case !st.writeClosed:
			p.failf("the session sends %v of a stream that is not closed", h)
		case st.finsSent > st.finsMost:
			p.failf("the session sends %v for the %d. time", h, st.finsSent)
		case st.writing == nil && st.sent < st.written && !st.dropped:
			p.failf("the session sends %v after %d of %d bytes", h, st.sent, st.written)
		}
	case wire.UPD:
		st.updateSent = st.updateSent || st.finsSent > 0
		u, err := wire.ParseWindowUpdate(data)
		st.told(int(u.Consumed), int(u.Window))
		if err != nil || p.version != wire.V2 || int(u.Consumed) > st.came+st.late || u.Window == 0 {
			p.failf("the session sends %v, %v, and %d bytes came: %v", h, u, st.came, err)
		}
	}
}

// finish has everything end well, if it still can.
func (p *play) finish() {
	p.act(step{operation: operation{name: "unstall"}})
	if p.model.end == nil && !p.cut {
		p.sendRest()
	}
	p.check()
	if p.model.end == nil && !p.model.closed {
		p.conclude()
	}
	// The rest has an end as well.
	time.Sleep(2 * closeTimeout)
	p.check()
	for _, st := range p.streams {
		if st.reading != nil && (p.model.end != nil || p.model.closed) {
			p.failf("a Read of stream %d does not end with the session", st.id)
		}
	}
	if p.closing == nil {
		p.shut()
		p.check()
	}
	time.Sleep(2 * closeTimeout)
	p.check()
	if !p.closing.done.Load() {
		p.failf("Session.Close does not return")
	}
	<-p.s.Done()
}

// conclude has both sides send, read and close everything.
func (p *play) conclude() {
	for _, st := range p.streams {
		if p.version == wire.V2 {
			u := wire.WindowUpdate{Consumed: uint32(st.sent), Window: 1 << 20}
			p.send(wire.Header{Command: wire.UPD, StreamID: st.id}, u.Append(nil))
			st.update(st.sent, 1<<20)
		}
	}
	p.check()
	for len(p.model.waiting) > 0 {
		p.act(step{operation: operation{name: "accept"}})
		p.check()
	}
	for _, st := range p.streams {
		if st.writing != nil {
			p.failf("stream %d: a %s still waits, with a window", st.id, st.writing.name)
		}
		if st.fins == 0 {
			p.send(wire.Header{Command: wire.FIN, StreamID: st.id}, nil)
			st.fin()
			p.check()
		}
		if st.reading != nil {
			p.failf("stream %d: a %s still waits, after FIN", st.id, st.reading.name)
		}
		if !st.closed {
			if err := st.st.SetDeadline(time.Time{}); err != nil {
				p.failf("SetDeadline: %v", err)
			}
			st.readDeadline, st.writeDeadline = time.Time{}, time.Time{}
		}
		if unread := st.came - st.read; unread > 0 {
			st.reading = p.start("Read", unread, func(c *call) (int, error) {
				c.buf = make([]byte, unread)
				return io.ReadFull(st.st, c.buf)
			})
			p.check()
		}
		if !st.readClosed {
			st.reading = p.start("Read", 1, func(c *call) (int, error) {
				c.buf = make([]byte, 1)
				return st.st.Read(c.buf)
			})
			p.check()
		}
		lossless := !st.dropped
		if err := st.st.Close(); err != nil && lossless {
			p.failf("Close: %v", err)
		}
		st.close()
	}
	p.sleep(10 * time.Millisecond)
	if n := p.s.NumStreams(); n != 0 {
		p.failf("%d streams are left", n)
	}
}
