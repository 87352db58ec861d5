package fuzz

import (
	"context"
	"slices"
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

// A play is what a peer and an application do with a session.
var plays = &language{
	header: operation{"session", []kind{
		words("client", "server", "client-nohalfclose", "server-nohalfclose"),
		numbers(1, 2),                 // version
		numbers(0, 1, 3, 8, 100),      // bytes a Read of the transport; 0 means all
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
		{"signal", []kind{words("drain", "ping", "drain-echo", "ping-echo", "unknown")}},
		{"stall", nil},
		{"unstall", nil},
		// The application.
		{"open", nil},
		{"accept", nil},
		{"read", []kind{slots, sizes}},
		{"writeto", []kind{slots}},
		{"write", []kind{slots, sizes}},
		{"readfrom", []kind{slots, sizes}},
		{"flush", []kind{slots, times[1:]}},
		{"closewrite", []kind{slots}},
		{"closeread", []kind{slots}},
		{"close", []kind{slots}},
		{"readdeadline", []kind{slots, times}}, // from now; 0 is none
		{"writedeadline", []kind{slots, times}},
		{"sleep", []kind{times}},
		{"shut", nil}, // Session.Close
		{"closenow", nil},
		{"ping", nil},
	},
	first: []string{"open", "syn", "accept"},
	rare:  []string{"bad", "end", "shut", "closenow"},
}

// mostBytes is the most bytes that a play moves: enough to use up a window, and the session's buffers.
const mostBytes = 400_000

const closeTimeout = time.Second

// neverLingers is longer than any program. A session that gives up data of closed streams ends when its transport
// takes data again, which the model does not cover. FuzzPair has sessions that give up.
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
	wire    []byte // the beginning of a frame of the session
	rest    []byte // of a frame of the peer
	restOf  *played
	left    int            // bytes that may still be moved
	nextID  uint32         // of the peer
	refused map[uint32]int // how many frames of its refusal a stream that was refused has got

	streams   []*played
	accepting *call
	closing   *call
	signals   signals
	flushing  []*flushing
	flushes   bool // data written before Session.Close must arrive
	cut       bool // the peer has ended the session meanwhile
}

// A played is a stream of the model and of the session.
type played struct {
	*modelStream
	st      *stream.Stream // nil until it is accepted
	reading *call
	writing *call
}

// A call is a call of the application. Its results are valid when it is done.
type call struct {
	name string
	size int    // of the data to be read or written
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
		NoHalfClose:   header.arg(0) >= 2,
	}
	p := &play{
		t:       t,
		version: wire.Version(cfg.Version),
		client:  header.arg(0)%2 == 0,
		cable:   newCable(header.arg(2)),
		left:    mostBytes,
		refused: map[uint32]int{},
		model:   &model{windows: cfg.Version == 2, noHalfClose: cfg.NoHalfClose, backlog: cfg.AcceptBacklog, maxStreams: cfg.MaxStreams},
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
	t.Cleanup(func() { // after a failure; all blocked calls end
		_ = p.cable.Close()
		_ = p.s.Close()
	})
	return p
}

// failf reports an error, and the program.
func (p *play) failf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf(format, args...)
	p.t.Fatalf("the program:\n%v", p.program)
}

// spend takes up to n bytes from those that may still be moved.
func (p *play) spend(n int) int {
	n = min(n, p.left)
	p.left -= n
	return n
}

// start makes a call in the background. check checks its result.
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
	case "closenow":
		p.closeNow()
	case "ping":
		p.ping()
	case "syn", "nop", "bad", "end", "signal":
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

func (p *play) ended(reason error) {
	if p.model.closed {
		p.cut, p.flushes = true, false
	} else {
		p.model.over(reason)
	}
}

// sleep lets time pass, and checks what must have been done by then.
func (p *play) sleep(d time.Duration) {
	for _, st := range p.streams {
		st.wait(d, neverLingers)
	}
	time.Sleep(d)
	for _, st := range p.streams {
		st.noteDropped()
	}
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
	p.mustHaveRefused()
	p.mustHaveEchoed()
	if n := p.s.NumStreams(); n < least || n > most {
		p.failf("NumStreams is %d, want %d to %d", n, least, most)
	}
}
