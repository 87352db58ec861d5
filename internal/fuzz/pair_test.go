package fuzz

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

var (
	sides  = words("client", "server") // of a session, and the links from it
	ends   = words("opener", "acceptor")
	pauses = durations(0, time.Millisecond, 100*time.Millisecond, time.Second, 6*time.Second, 40*time.Second, 5*time.Minute)
	links  = []kind{
		durations(0, time.Millisecond, 50*time.Millisecond), // delay
		numbers(0, 1000, 20_000),                            // the sender's buffer
		numbers(0, 10*simnet.Mbit, 100*simnet.Mbit),         // bytes a second
	}
)

// A schedule is what happens to two sessions and the link between them.
var schedules = &language{
	header: operation{"sessions", append([]kind{
		numbers(1, 2),                // version
		words("off", "nop"),          // keep-alive
		numbers(1<<20, 65_536, 1000), // receive budget
		numbers(0, 1000),             // send budget
		numbers(0, 1, 3),             // MaxStreams
		numbers(0, 100, 1000),        // MaxFrameSize
		words("no", "linger", "write", "stall", "rates", "nohalfclose", "small"), // may end something, or slow it down
	}, links...)},
	repertory: []operation{
		{"open", []kind{sides}},
		{"read", []kind{slots, ends, sizes}},
		{"also", []kind{slots, ends, words("read", "write"), sizes}}, // at the same time as the others
		{"writeto", []kind{slots, ends}},
		{"write", []kind{slots, ends, sizes}},
		{"readfrom", []kind{slots, ends, sizes}},
		{"closewrite", []kind{slots, ends}}, // after the writes before it
		{"cutwrite", []kind{slots, ends}},   // or at once
		{"closeread", []kind{slots, ends}},
		{"close", []kind{slots, ends}},
		{"readdeadline", []kind{slots, ends, times}},
		{"writedeadline", []kind{slots, ends, times}},
		{"sleep", []kind{pauses}},
		{"stall", []kind{sides}},
		{"unstall", []kind{sides}},
		{"cut", []kind{sides, numbers(0, 1, 9, 100, 1000, 100_000), words("end", "reset"), words("both", "oneway")}},
		{"hold", []kind{sides}}, // accepts no streams
		{"accept", []kind{sides}},
		{"refuse", []kind{sides}},   // closes its Listener
		{"shut", []kind{sides}},     // Session.Close
		{"shutdown", []kind{sides}}, // Session.Shutdown
		{"closenow", []kind{sides}},
		{"ping", []kind{sides, pauses}}, // for at most this time
		{"flush", []kind{slots, ends, pauses}},
		{"rate", []kind{sides, words("send", "receive"), numbers(0, 1_000_000, 300_000)}},
	},
	first: []string{"open"},
	rare:  []string{"cut", "shut", "shutdown", "closenow", "refuse", "close", "stall"},
}

// FuzzPair disturbs two sessions and the link between them, and then stops. Everything must arrive, or an error
// must say so, and everything must end.
func FuzzPair(f *testing.F) {
	for _, text := range scheduleSeeds {
		f.Add(schedules.encode(text))
	}
	f.Fuzz(func(t *testing.T, input []byte) { runSchedule(t, schedules.decode(input)) })
}

// TestPairDeliversUnderRandomSchedules does what FuzzPair does with schedules drawn at random.
func TestPairDeliversUnderRandomSchedules(t *testing.T) {
	eachProgram(t, schedules, runSchedule)
}

func runSchedule(t *testing.T, program program) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, program.header)
		p.program = program
		for _, s := range program.steps {
			p.act(s)
		}
		p.finish()
	})
}

// A pair is two sessions and what the test knows of them.
type pair struct {
	t                     *testing.T
	program               program
	sides                 [2]*side
	left                  int           // bytes that may still be moved
	delay                 time.Duration // of the link
	nop                   bool
	slept                 time.Duration
	lingers, writeTimeout bool
	noHalfClose           bool

	mu      sync.Mutex
	changed sync.Cond // conclude
	flows   []*conduit
	calming bool // the program is over
	// pingErrs are the errors of Ping that only the end of a session may cause.
	pingErrs   []error
	introduced bool // see introduce
	record
}

// A side is one of the sessions.
type side struct {
	*session.Session
	p       *pair
	number  int
	receive *flow.Budget
	send    *flow.Budget // or nil
	conn    *simnet.Conn
	hold    bool // AcceptStream is not called
	calls   sync.WaitGroup
	stalled time.Time // since when its link is stalled; zero if it is not
	drains  drained   // what it has told its peer

	answered bool // its peer has answered a ping, before any Flush
}

// A conduit is a stream and its two ends.
type conduit struct {
	id   uint32
	mu   sync.Mutex
	ends [2]*end // who opened it, who accepted it or nil
}

// An end is one end of a stream. It reads and writes in the background.
type end struct {
	conduit       *conduit
	which         int // in conduit.ends
	side          *side
	st            *stream.Stream
	reads, writes worker
	work          sync.WaitGroup

	mu          sync.Mutex
	readsMixed  bool // by several goroutines
	writesMixed bool
	outcome
}

func newPair(t *testing.T, header step) *pair {
	link := simnet.Link{Delay: header.duration(7), Buffer: header.arg(8), Rate: int64(header.arg(9))}
	receive, send := header.arg(2), header.arg(3)
	cfg := &session.Config{
		Version:       header.arg(0),
		MaxStreams:    header.arg(4),
		MaxFrameSize:  header.arg(5),
		KeepAlive:     keepalive.Off{},
		LingerTimeout: 1000 * time.Hour,
	}
	p := &pair{t: t, left: mostBytes, nop: header.arg(1) == 1, delay: link.Delay}
	p.changed.L = &p.mu
	p.refuses = cfg.MaxStreams > 0
	p.narrow = receive < mostBytes
	switch header.args[6].text {
	case "linger":
		cfg.LingerTimeout = lingerTimeout
		p.lingers = true
	case "write":
		cfg.WriteTimeout = writeTimeout
		p.writeTimeout = true
	case "stall":
		cfg.StallTimeout = time.Second
		p.stalls = p.narrow
	case "nohalfclose":
		cfg.NoHalfClose = true
		p.noHalfClose = true
	case "rates":
		cfg.SendRate.BytesPerSecond = 1e6
		cfg.ReceiveRate = flow.Rate{BytesPerSecond: 500_000, Burst: 1000}
	case "small":
		cfg.MaxStreamSendBuffer = 1024
		cfg.MaxStreamWindow = 20_000
		cfg.MaxWriteSize = max(300, cfg.MaxFrameSize+8)
	}
	if p.nop {
		cfg.KeepAlive = keepalive.Periodic{}
	}
	a, b := simnet.Pair(link)
	for i, conn := range []*simnet.Conn{a, b} {
		start := session.Client
		if i == 1 {
			start = session.Server
		}
		cfg := *cfg
		cfg.Budget = flow.NewBudget(receive)
		if send > 0 {
			cfg.SendBudget = flow.NewBudget(send)
		}
		s, err := start(conn, &cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.sides[i] = &side{Session: s, p: p, number: i, receive: cfg.Budget, send: cfg.SendBudget, conn: conn}
	}
	for _, s := range p.sides {
		s.calls.Go(s.acceptAll)
		t.Cleanup(func() { // after a failure; all blocked calls end
			p.free(s)
			_ = s.conn.Close()
			_ = s.Close()
		})
	}
	return p
}

func (p *pair) failf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf(format, args...)
	p.t.Fatalf("the schedule:\n%v", p.program)
}

// spend takes up to n bytes from those that may still be moved.
func (p *pair) spend(n int) int {
	n = min(n, p.left)
	p.left -= n
	return n
}

// acceptAll accepts streams until the session ends.
func (s *side) acceptAll() {
	for {
		s.p.mu.Lock()
		for s.hold {
			s.p.changed.Wait()
		}
		s.p.mu.Unlock()
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		s.p.adopt(s, st)
	}
}

// free makes a side accept streams.
func (p *pair) free(s *side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.hold = false
	p.changed.Broadcast()
}

// adopt adds st, which s has opened or accepted.
func (p *pair) adopt(s *side, st *stream.Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &end{side: s, st: st}
	for _, known := range p.flows {
		if known.id == st.ID() {
			e.conduit = known
			e.which = 1
		}
	}
	if e.conduit == nil {
		e.conduit = &conduit{id: st.ID()}
		p.flows = append(p.flows, e.conduit)
	}
	if e.conduit.ends[e.which] != nil {
		p.t.Errorf("stream %d was opened or accepted twice", st.ID())
	}
	e.conduit.mu.Lock()
	e.conduit.ends[e.which] = e
	e.conduit.mu.Unlock()
	if p.calming {
		e.conclude()
	}
}

// A worker does one thing after the other, in a goroutine that exists while there is something to do.
type worker struct {
	mu      sync.Mutex
	tasks   []func()
	running bool
}

func (w *worker) do(group *sync.WaitGroup, task func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = append(w.tasks, task)
	if !w.running {
		w.running = true
		group.Go(w.run)
	}
}

func (w *worker) run() {
	for {
		w.mu.Lock()
		if len(w.tasks) == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		task := w.tasks[0]
		w.tasks = w.tasks[1:]
		w.mu.Unlock()
		task()
	}
}

// end returns an end that the program names, or nil.
func (p *pair) end(s step) *end {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := s.arg(0); i < len(p.flows) {
		return p.flows[i].ends[s.arg(1)]
	}
	return nil
}

func (p *pair) act(s step) {
	switch s.name {
	case "sleep":
		p.sleep(s.duration(0))
	case "open":
		p.open(p.sides[s.arg(0)])
	case "stall", "unstall", "hold", "accept", "refuse", "shut", "shutdown", "closenow", "ping", "cut":
		p.disturb(s, p.sides[s.arg(0)])
	case "rate":
		p.setRate(p.sides[s.arg(0)], s.args[1].text, flow.Rate{BytesPerSecond: float64(s.arg(2))})
	default:
		if e := p.end(s); e != nil {
			e.act(s)
		}
	}
	synctest.Wait()
}

// setRate changes a rate while the session runs.
func (p *pair) setRate(s *side, direction string, r flow.Rate) {
	set := s.SetSendRate
	if direction == "receive" {
		set = s.SetReceiveRate
	}
	if err := set(r); err != nil {
		p.failf("setting the rate to %v: %v", r, err)
	}
}

// open opens a stream, for which a server may have to wait.
func (p *pair) open(s *side) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := s.OpenStream(ctx)
	switch {
	case err == nil:
		p.adopt(s, st)
	case p.mayEnd() || errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, session.ErrPeerShutdown) && (p.refuses || p.shutdown):
	default:
		p.failf("OpenStream: %v", err)
	}
}

// calm reports whether no direction is stalled.
func (p *pair) calm() bool { return p.sides[0].stalled.IsZero() && p.sides[1].stalled.IsZero() }

const (
	lingerTimeout = 30 * time.Second
	writeTimeout  = 20 * time.Second
)

// sleep lets time pass. A session that receives nothing for 30 s gives up its peer, and other time-outs may pass
// as well.
func (p *pair) sleep(d time.Duration) {
	time.Sleep(d)
	p.slept += d
	p.silent = p.silent || (p.lingers || p.writeTimeout) && p.slept >= 15*time.Second
	for _, s := range p.sides {
		if !s.stalled.IsZero() && p.nop && time.Since(s.stalled) >= 15*time.Second {
			p.silent = true
		}
	}
}

func (p *pair) unstall(s *side) {
	s.stalled = time.Time{}
	s.conn.Out().Unstall()
}

// mixed reports whether several goroutines write to an end.
func (c *conduit) mixed(which int) bool {
	c.mu.Lock()
	e := c.ends[which]
	c.mu.Unlock()
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writesMixed
}

// finish lets everything end, and judges the result.
func (p *pair) finish() {
	for _, s := range p.sides {
		p.unstall(s)
		p.free(s)
	}
	for _, flow := range p.snapshot() {
		if err := p.judgeDoneEarly(flow); err != nil {
			p.t.Error(err)
		}
	}
	p.mu.Lock()
	p.calming = true
	for _, flow := range p.flows {
		for _, e := range flow.ends {
			if e != nil {
				e.conclude()
			}
		}
	}
	p.mu.Unlock()

	if p.lingers && p.silent {
		// A stream that has given up leaves its peer waiting until the session ends.
		time.Sleep(time.Minute)
		for _, s := range p.sides {
			p.closed[s.number] = true
			_ = s.Close()
		}
	}
	p.within("the streams do not end", time.Hour, func() {
		p.eachEnd(func(e *end) { e.work.Wait() })
		time.Sleep(10 * time.Second) // the last ones may have been opened and not accepted yet
		p.eachEnd(func(e *end) { e.work.Wait() })
	})
	p.mu.Lock()
	for _, flow := range p.flows {
		if err := p.judge(flow); err != nil {
			p.t.Error(err)
		}
		if err := p.judgeDone(flow); err != nil {
			p.t.Error(err)
		}
	}
	p.mu.Unlock()
	p.judgeDrains()
	p.eachEnd(func(e *end) { e.close() })
	time.Sleep(10 * time.Second)
	for i, s := range p.sides {
		if err := s.Err(); err != nil && !p.mayEnd() {
			p.t.Errorf("side %d has ended: %v", i, err)
		}
		if n := s.NumStreams(); n != 0 {
			p.t.Errorf("side %d: %d streams are left", i, n)
		}
		if used, promised := s.receive.Used(), s.receive.Committed(); used != 0 || promised != 0 {
			p.t.Errorf("side %d: of its budget %d bytes are used and %d promised in the end", i, used, promised)
		}
		if s.send != nil && s.send.Used() != 0 {
			p.t.Errorf("side %d: of its send budget %d bytes are used in the end", i, s.send.Used())
		}
	}
	for i, s := range p.sides {
		if err := s.Close(); err != nil && !p.mayEnd() {
			p.t.Errorf("side %d: Close: %v", i, err)
		}
	}
	p.within("the sessions do not end", time.Hour, func() {
		for _, s := range p.sides {
			s.calls.Wait()
			<-s.Done()
		}
	})
	if p.t.Failed() {
		p.failf("this was")
	}
}

// snapshot returns the streams so far.
func (p *pair) snapshot() []*conduit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.flows)
}

// eachEnd calls do for each end, also for those to come, without a lock.
func (p *pair) eachEnd(do func(*end)) {
	for i := 0; ; i++ {
		p.mu.Lock()
		if i == 2*len(p.flows) {
			p.mu.Unlock()
			return
		}
		e := p.flows[i/2].ends[i%2]
		p.mu.Unlock()
		if e != nil {
			do(e)
		}
	}
}

// within waits for something that must end within some time.
func (p *pair) within(failure string, limit time.Duration, what func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		what()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		p.failf("%s:\n%v", failure, p.describe())
	}
}

// mayEnd reports whether a session may have ended.
func (p *pair) mayEnd() bool {
	return p.broken() || p.shutdown || errors.Is(p.sides[0].Err(), net.ErrClosed)
}
