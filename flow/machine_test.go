package flow_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A machine runs tasks on a few cores as an operating system does: a task runs
// until it blocks or its slice is over and another one waits; a task that was
// woken starts after a while; and now and then a core is taken away.
type machine struct {
	sim     *simulation
	rng     *rand.Rand
	idle    int // cores
	queue   []*task
	wake    time.Duration // longest time from waking to running
	outages float64       // a second and core
	outage  time.Duration // mean length
}

// A task is a loop whose step takes some time, or says that it must wait.
type task struct {
	m       *machine
	step    func() (cost time.Duration, ok bool)
	state   taskState
	again   bool // woken while running
	started time.Duration
}

type taskState int

const (
	blocked taskState = iota
	waking
	ready
	running
)

const (
	slice        = 3 * time.Millisecond
	switchTime   = 2 * time.Microsecond
	updateCost   = 3 * time.Microsecond
	socketBuffer = 2 << 20
)

func (k *task) unblock() {
	switch k.state {
	case running:
		k.again = true
	case blocked:
		k.state = waking
		k.m.sim.after(time.Duration(k.m.rng.Int64N(int64(k.m.wake)+1)), func() {
			k.state = ready
			k.m.queue = append(k.m.queue, k)
			k.m.dispatch()
		})
	}
}

func (m *machine) dispatch() {
	for m.idle > 0 && len(m.queue) > 0 {
		k := m.queue[0]
		m.queue = m.queue[1:]
		m.idle--
		k.state = running
		k.started = m.sim.now
		m.sim.after(switchTime, k.run)
	}
}

func (k *task) run() {
	m := k.m
	k.again = false
	cost, ok := k.step()
	if !ok && !k.again {
		k.state = blocked
		m.idle++
		m.dispatch()
		return
	}
	if m.rng.Float64() < m.outages*cost.Seconds() {
		cost += time.Duration(m.rng.ExpFloat64() * float64(m.outage))
	}
	m.sim.after(cost, func() {
		if len(m.queue) > 0 && m.sim.now-k.started > slice {
			k.state = ready
			m.queue = append(m.queue, k)
			m.idle++
			m.dispatch()
			return
		}
		k.run()
	})
}

// A loopback is a transfer between two processes of one machine.
type loopback struct {
	m         *machine
	size      int
	sendRate  float64 // bytes a second that the sender's core makes
	recvRate  float64 // bytes a second that the receiver's core takes in
	appRate   float64 // the same for the reading application; 0: the receiver reads itself
	g         flow.Allocator
	maxWindow int
	updates   int
	window    flow.ReceiveWindow
	read      int
	elapsed   time.Duration
}

func (l *loopback) run(t testing.TB) {
	m := l.m
	cost := func(n int, rate float64) time.Duration { return time.Duration(float64(n) / rate * 1e9) }
	var (
		out              flow.SendWindow
		socket           []int
		queued           int
		updates          [][2]uint32
		sender, receiver task
		app              task
		left             = l.size
	)
	take := func(n int) time.Duration {
		l.read += n
		l.elapsed = m.sim.now
		if !l.window.AddRead(n, m.sim.now) {
			return 0
		}
		consumed, size := l.window.Update(l.g, m.sim.now)
		must(t, l.window.Check())
		l.maxWindow = max(l.maxWindow, int(size))
		l.updates++
		updates = append(updates, [2]uint32{consumed, size})
		sender.unblock()
		return updateCost
	}
	sender = task{m: m, step: func() (time.Duration, bool) {
		if len(updates) > 0 {
			if err := out.Update(updates[0][0], updates[0][1]); err != nil {
				t.Fatal(err)
			}
			updates = updates[1:]
			return updateCost, true
		}
		n := min(left, out.Available(), framePayload)
		if n == 0 || queued+n > socketBuffer {
			return 0, false
		}
		out.AddSent(n)
		left -= n
		queued += n
		socket = append(socket, n)
		receiver.unblock()
		return cost(n, l.sendRate), true
	}}
	receiver = task{m: m, step: func() (time.Duration, bool) {
		if len(socket) == 0 {
			return 0, false
		}
		n := socket[0]
		socket = socket[1:]
		queued -= n
		if queued < socketBuffer/2 {
			sender.unblock()
		}
		if err := l.window.AddReceived(n, m.sim.now, 0); err != nil {
			t.Fatal(err)
		}
		spent := cost(n, l.recvRate)
		if l.appRate > 0 {
			app.unblock()
			return spent, true
		}
		return spent + take(n), true
	}}
	app = task{m: m, step: func() (time.Duration, bool) {
		n := min(l.window.Unread(), 32<<10)
		if n == 0 {
			return 0, false
		}
		return cost(n, l.appRate) + take(n), true
	}}
	for _, k := range []*task{&sender, &receiver, &app} {
		k.m = m
	}
	sender.unblock()
	m.sim.run(time.Hour)
	if l.read != l.size {
		t.Fatalf("%d bytes of %d were read", l.read, l.size)
	}
}

// Within one machine the window stays below 1 MiB, and costs at most 5 % of the rate of a fixed
// window. The machines have one or two cores, slow or fast ones, a task of its own for the
// reading application or none, and cores that are taken away at times.
func TestReceiveWindowStaysSmallInOneMachine(t *testing.T) {
	machines := uint64(200)
	if testutil.Race {
		machines = 10
	}
	largest, slowest, sum, quiet := 0, 1.0, 0.0, 0
	for seed := range machines {
		rng := rand.New(rand.NewPCG(seed, 1))
		pick := func(v ...float64) float64 { return v[rng.IntN(len(v))] }
		cores := 1 + rng.IntN(2)
		speed := pick(0.5e9, 1e9, 3e9, 6e9)
		model := loopback{
			size:     32 << 20,
			sendRate: speed * pick(0.5, 1, 2),
			recvRate: speed * pick(0.5, 1, 2),
			appRate:  speed * pick(0, 1, 4),
			g:        flow.NewAccount(32 << 20),
		}
		wake := time.Duration(pick(5, 20, 60)) * time.Microsecond
		outages := pick(0, 10, 100)
		run := func(g flow.Allocator) *loopback {
			l := model
			l.g = g
			l.m = &machine{
				sim: &simulation{}, rng: rand.New(rand.NewPCG(seed, 2)), idle: cores,
				wake: wake, outages: outages, outage: 2 * time.Millisecond,
			}
			l.run(t)
			return &l
		}
		tuned := run(flow.NewAccount(32 << 20))
		largest = max(largest, tuned.maxWindow)
		if tuned.maxWindow >= 1<<20 {
			t.Errorf("machine %d: the window grew to %d (round trip %v)", seed, tuned.maxWindow, tuned.window.RTT())
		}
		if outages > 0 {
			continue // two runs cannot be compared
		}
		fixed := run(nil)
		ratio := fixed.elapsed.Seconds() / tuned.elapsed.Seconds()
		if ratio < 0.95 {
			t.Errorf("machine %d: %.2f of the rate of a fixed window", seed, ratio)
		}
		slowest = min(slowest, ratio)
		sum += ratio
		quiet++
	}
	t.Logf("largest window %d; %.3f of the rate of a fixed window of 256 KiB, at least %.3f", largest, sum/float64(quiet), slowest)
}
