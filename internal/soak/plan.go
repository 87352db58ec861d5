package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// A plan is everything that is drawn for a round except what its streams do: see behaviour.
type plan struct {
	Seed, Round uint64

	Procs     int // GOMAXPROCS
	Spinners  int // goroutines that keep processors busy
	Transport string
	Proxy     bool // sockets go through a proxy, which splits and delays data

	Version      int
	ServerLearns bool    // the server's Version is 0
	Ends         [2]ends // of the client and the server

	Sessions int
	AtOnce   int   // streams of an opener that are open at once
	Total    int64 // about the most bytes that all streams carry together
	MaxSize  int64 // of one direction of a stream
	MaxChunk int   // of one Write or Read

	NoHalfClose bool // of both ends
	Pings       bool // both ends measure the round trip, again and again, and run a heartbeat
	Traced      [2]tracing

	Disturbance disturbance
	By          int           // the end that acts: 0 is the client
	After       time.Duration // when
	Hold        time.Duration // how long nothing passes at After, if not 0
	Freeze      time.Duration // when reading stops for a while and memory is measured, if not 0
	Rates       time.Duration // the rates change so often, if not 0
	Storm       string        // a small storm instead of everything else
	Services    int           // the number of streams for services and relays, which then replace everything else; 0 is none
	Pool        string        // a Dialer and a Listener instead of everything else: see poolRound
	Small       bool          // fewer events with Pool
}

// ends is what is drawn for one end of all sessions.
type ends struct {
	Streams  int           // that it opens in each session
	Openers  int           // goroutines that open them
	NapAfter time.Duration // after each Accept

	MaxFrameSize     int
	MaxWriteSize     int // 0 is no limit
	MaxReceiveBuffer int
	MaxSendBuffer    int
	StreamSend       int  // MaxStreamSendBuffer
	WriteThrough     bool // then the two values above have no effect
	SharedBudget     bool // both are those of all sessions together
	MaxStreamWindow  int
	AcceptBacklog    int // 0 is no limit
	MaxStreams       int // 0 is no limit that is reached
	CloseTimeout     time.Duration
	WriteTimeout     time.Duration // 0 is none
	Stall            time.Duration // StallTimeout; 0 is never
	Idle             time.Duration // StreamIdleTimeout; 0 is never
	SessionIdle      time.Duration // IdleTimeout; 0 is never
	Probe, GiveUp    time.Duration // of keep-alive; 0 is off
	SendRate         flow.Rate
	ReceiveRate      flow.Rate
	Scheduler        string // fair, small (fair with a small quantum), fifo or random
}

// tracing says whether a watcher follows the sessions of an end.
type tracing uint8

const (
	untraced tracing = iota
	traced
	tracedFrames // also each frame
)

// refuses reports whether an end may refuse streams.
func (e *ends) refuses() bool { return e.AcceptBacklog > 0 || e.MaxStreams > 0 }

// disturbance ends the sessions before their streams have ended.
type disturbance string

const (
	calm     disturbance = "none"
	draining disturbance = "draining" // Close of a Listener, which ends nothing
	shutdown disturbance = "Shutdown"
	idles    disturbance = "idle" // IdleTimeout of one end or both, which may pass at any time
	closing  disturbance = "Close"
	closeNow disturbance = "CloseNow" // also while Shutdown waits
	cut      disturbance = "cut"      // the transport breaks
	vanish   disturbance = "vanish"   // the transport passes nothing, without an error
)

// undisturbed reports whether nothing ends the sessions before their streams.
func (p *plan) undisturbed() bool { return p.Disturbance == calm || p.Disturbance == draining }

// losesNoStream reports whether each stream that is opened is accepted, or refused at a limit.
func (p *plan) losesNoStream() bool { return p.undisturbed() || p.Disturbance == idles }

// stormShare is the part of the rounds that are storms, servicesShare the part with services and relays.
const (
	stormShare    = 0.05
	servicesShare = 0.1
)

var transports = []string{"tcp", "tls", "unix", "portable", "pipe", "sim", "bare", "forgetful", "messages", "forgetful messages"}

// socket reports whether the transport consists of sockets, which can have a proxy between them.
func socket(transport string) bool {
	return transport == "tcp" || transport == "tls" || transport == "unix" || transport == "portable"
}

// drawPlan returns the plan of a round.
func drawPlan(seed, number uint64, small bool) *plan {
	d := draw{rand.New(rand.NewPCG(seed, number))}
	p := &plan{Seed: seed, Round: number}
	p.Procs = pick(d, 1, 2, 2, 8)
	p.Transport = transports[d.IntN(len(transports))]
	p.Version = pick(d, 1, 2, 2)
	p.ServerLearns = d.chance(0.3)
	if d.chance(stormShare) {
		p.Storm = stormNames()[d.IntN(len(stormNames()))]
		return p
	}
	if d.chance(servicesShare) {
		p.drawServices(d, small)
		return p
	}
	if d.chance(poolShare) {
		p.Pool, p.Small = poolKinds[d.IntN(len(poolKinds))], small
		p.Transport = pick(d, "tcp", "tls", "unix", "portable")
		return p
	}
	p.Proxy = socket(p.Transport) && d.chance(0.3)
	p.Sessions = pick(d, 1, 1, 1, 2, 3, 8)

	p.Disturbance = pick(d, calm, calm, calm, draining, shutdown, idles, closing, closeNow, cut, vanish)
	p.By = d.IntN(2)
	p.NoHalfClose, p.Pings = d.chance(0.15), d.chance(0.3)
	p.Traced = [2]tracing{pick(d, untraced, traced, tracedFrames), pick(d, untraced, traced, tracedFrames)}
	p.After = time.Duration(d.upTo(300_000)) * time.Microsecond
	if p.Disturbance == vanish && socket(p.Transport) {
		p.Proxy = true
	}
	if p.Transport == "pipe" && p.Disturbance == vanish {
		p.Disturbance = cut // a pipe cannot be held
	}
	if d.chance(0.2) && (p.Proxy || simulations[p.Transport] != nil) {
		p.Hold = time.Duration(1+d.upTo(400)) * time.Millisecond
	}

	streams := 1 + int(d.upTo(1500))
	p.Total = 1 + d.upTo(32<<20)
	if d.chance(0.4) {
		p.Total = d.Int64N(128 << 20)
	}
	if testutil.Race {
		streams, p.Total = 1+streams/4, p.Total/8
	}
	if d.chance(0.1) {
		p.Spinners = 1 + d.IntN(3)
		streams, p.Total = 1+streams/32, p.Total/32
	}
	if small {
		streams, p.Total = 1+streams/16, p.Total/16
	}
	per := max(1, streams/p.Sessions)
	switch d.IntN(3) {
	case 0:
		p.Ends[0].Streams = per
	case 1:
		p.Ends[1].Streams = per
	default:
		p.Ends[0].Streams, p.Ends[1].Streams = per, per
	}
	p.AtOnce = 1 + int(d.upTo(int64(per)))
	for i := range p.Ends {
		p.Ends[i].draw(d, p, per)
	}
	if d.chance(0.3) {
		p.Ends[1] = ends{Streams: p.Ends[1].Streams, Openers: p.Ends[1].Openers}.with(p.Ends[0])
	}

	// Tiny frames cost a header and a turn each.
	frame := int64(min(p.Ends[0].MaxFrameSize, p.Ends[1].MaxFrameSize))
	p.Total = min(p.Total, 100_000*frame)
	p.MaxSize = max(1, min(8*p.Total/int64(streams), 8<<20))
	p.MaxChunk = max(1, min(256<<10, 64<<20/(p.AtOnce*p.Sessions*4)))
	payload := max(p.Total/int64(p.Sessions), p.MaxSize)
	wired := float64(payload)*(1+float64(wire.HeaderSize)/float64(frame)) + 200*float64(per)
	for i := range p.Ends {
		p.Ends[i].drawRates(d, wired)
	}
	if d.chance(0.3) {
		p.Freeze = time.Duration(1+d.upTo(100)) * time.Millisecond
	}
	if d.chance(0.15) {
		p.Rates = time.Duration(1+d.upTo(100)) * time.Millisecond
	}
	p.drawIdle(d)
	if forgets(p.Transport) && (p.Disturbance == closing || p.Disturbance == closeNow) {
		for i := range p.Ends { // nothing else may tell the other end
			p.Ends[i].Probe, p.Ends[i].GiveUp = 100*time.Millisecond, 3*time.Second
		}
	}
	if p.Disturbance == vanish {
		for i := range p.Ends {
			p.Ends[i].Probe, p.Ends[i].GiveUp = 100*time.Millisecond, time.Second
			if d.chance(0.3) {
				p.Ends[i].WriteTimeout = 500 * time.Millisecond
			}
		}
	}
	return p
}

// draw draws the values that do not depend on the round's bytes.
func (e *ends) draw(d draw, p *plan, streams int) {
	e.Openers = 1 + int(d.upTo(min(32, int64(max(e.Streams, 1)))))
	if d.chance(0.2) {
		e.NapAfter = time.Duration(d.upTo(int64(2*time.Second) / int64(streams)))
	}
	switch {
	case d.chance(0.5):
		e.MaxFrameSize = session.DefaultMaxFrameSize
	case d.chance(0.2):
		e.MaxFrameSize = 1 + int(d.upTo(64))
	case d.chance(0.2):
		e.MaxFrameSize = wire.MaxPayload
	default:
		e.MaxFrameSize = 1 + int(d.upTo(wire.MaxPayload))
	}
	if d.chance(0.2) || p.Transport == "messages" || p.Transport == "forgetful messages" {
		e.MaxWriteSize = max(wire.MinBatchLimit, e.MaxFrameSize+wire.HeaderSize) + int(d.upTo(64<<10))
	}
	e.MaxReceiveBuffer = session.DefaultMaxReceiveBuffer
	if d.chance(0.6) {
		e.MaxReceiveBuffer = 64<<10 + int(d.upTo(32<<20))
	}
	e.MaxSendBuffer = session.DefaultMaxSendBuffer
	if d.chance(0.5) {
		e.MaxSendBuffer = 1<<10 + int(d.upTo(4<<20))
	}
	if d.chance(0.5) {
		e.StreamSend = 1<<10 + int(d.upTo(4<<20))
	}
	e.WriteThrough = d.chance(0.15)
	e.SharedBudget = d.chance(0.3)
	if d.chance(0.1) {
		e.AcceptBacklog = 1 + int(d.upTo(int64(streams)))
	}
	if d.chance(0.1) {
		e.MaxStreams = 1 + int(d.upTo(int64(streams)))
	}
	e.MaxStreamWindow = session.DefaultMaxStreamWindow
	if d.chance(0.5) {
		e.MaxStreamWindow = flow.MinWindow + 1 + int(d.upTo(32<<20))
	}
	e.CloseTimeout = time.Minute
	waits := p.Transport == "portable" && p.Disturbance == closing // until the peer has read everything
	if !p.undisturbed() && p.Disturbance != shutdown && p.Disturbance != idles && !waits {
		e.CloseTimeout = time.Duration(50+d.upTo(5000)) * time.Millisecond
	}
	if d.chance(0.1) {
		e.Stall = time.Duration(1+d.upTo(500)) * time.Millisecond
	}
	if d.chance(0.1) {
		e.Idle = time.Duration(1+d.upTo(500)) * time.Millisecond
	}
	// Probes are rare: each would wake a session that is stuck.
	e.Probe, e.GiveUp = 10*time.Minute, time.Hour
	if d.chance(0.4) {
		e.Probe = time.Duration(1+d.upTo(100)) * time.Millisecond
	}
	if d.chance(0.1) {
		e.Probe, e.GiveUp = 0, 0
	}
	e.Scheduler = pick(d, "fair", "fair", "fair", "small", "fifo", "random")
}

// drawRates draws rates at which the bytes pass in a second or two.
func (e *ends) drawRates(d draw, bytes float64) {
	rate := func() flow.Rate {
		if !d.chance(0.1) {
			return flow.Rate{}
		}
		r := flow.Rate{BytesPerSecond: 2000 + bytes/(0.3+1.5*d.Float64())}
		if d.chance(0.3) {
			// With a smaller burst timers cannot reach the rate: a round would take minutes.
			r.Burst = 1 + int(r.BytesPerSecond*(0.01+d.Float64()/2))
		}
		return r
	}
	e.SendRate, e.ReceiveRate = rate(), rate()
}

// with returns o with the streams of e.
func (e ends) with(o ends) ends {
	o.Streams, o.Openers = e.Streams, e.Openers
	return o
}

// config returns the configuration of an end. shared are the budgets of all sessions, if they are
// shared: for unread data, and for unsent data.
func (p *plan) config(end int, shared []*flow.Budget) *session.Config {
	e := &p.Ends[end]
	c := &session.Config{
		Version:          p.Version,
		MaxFrameSize:     e.MaxFrameSize,
		MaxWriteSize:     e.MaxWriteSize,
		MaxReceiveBuffer: e.MaxReceiveBuffer,
		MaxSendBuffer:    e.MaxSendBuffer,
		MaxStreamWindow:  e.MaxStreamWindow,
		AcceptBacklog:    e.AcceptBacklog,
		MaxStreams:       e.MaxStreams,
		WriteTimeout:     e.WriteTimeout,
		CloseTimeout:     e.CloseTimeout,
		NoHalfClose:      p.NoHalfClose,
		SendRate:         e.SendRate,
		ReceiveRate:      e.ReceiveRate,
		KeepAlive:        keepalive.Off{},
		WriteThrough:     e.WriteThrough,

		MaxStreamSendBuffer: e.StreamSend,
	}
	if end == 1 && p.ServerLearns {
		c.Version = 0
	}
	if shared != nil {
		c.MaxReceiveBuffer, c.Budget = 0, shared[0]
		c.MaxSendBuffer, c.SendBudget = 0, shared[1]
	}
	c.StallTimeout, c.StreamIdleTimeout, c.IdleTimeout = e.Stall, e.Idle, e.SessionIdle
	if e.Probe > 0 {
		// Strict: the other end may vanish before it has sent a NOP or answered a ping.
		c.KeepAlive = keepalive.Periodic{Interval: e.Probe, Timeout: e.GiveUp, Strict: true}
	}
	switch e.Scheduler {
	case "small":
		c.NewScheduler = func() shaper.Scheduler { return shaper.NewFair(shaper.WithQuantum(shaper.MinQuantum)) }
	case "fifo":
		c.NewScheduler = func() shaper.Scheduler { return newLine(false) }
	case "random":
		c.NewScheduler = func() shaper.Scheduler { return newLine(true) }
	}
	return c
}

func (p *plan) String() string {
	if p.Pool != "" {
		return fmt.Sprintf("pool with %s, transport %s, version %d, GOMAXPROCS %d", p.Pool, p.Transport, p.Version, p.Procs)
	}
	if p.Storm != "" {
		return fmt.Sprintf("storm %s, transport %s, version %d, GOMAXPROCS %d", p.Storm, p.Transport, p.Version, p.Procs)
	}
	if p.Services > 0 {
		return fmt.Sprintf("%d services, %d at once, %s, transport %s, version %d, GOMAXPROCS %d",
			p.Services, p.AtOnce, p.Disturbance, p.Transport, p.Version, p.Procs)
	}
	return fmt.Sprintf("%+v", *p)
}

// reproduce returns the command that runs the round again.
func (p *plan) reproduce() string {
	return fmt.Sprintf("plan: %s\nreproduce: go run ./internal/soak -seed %d -round %d -times 100", p, p.Seed, p.Round)
}

// draw draws at random.
type draw struct{ *rand.Rand }

func pick[T any](d draw, of ...T) T { return of[d.IntN(len(of))] }

func (d draw) chance(p float64) bool { return d.Float64() < p }

// upTo returns a number from 0 to n, each order of magnitude as likely as the other.
func (d draw) upTo(n int64) int64 {
	return min(n, int64(math.Exp(d.Float64()*math.Log(float64(n)+1)))-1+int64(d.IntN(2)))
}
