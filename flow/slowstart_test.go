package flow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
)

// A slowStart is a link that carries segments as TCP does at the start of a connection: the sender has a congestion
// window in flight, which grows by what is acknowledged. No segment is lost, and the window ends at twice what the path
// holds.
type slowStart struct {
	link
	cwnd, flight int
	waiting      []segment // handed over and not sent yet
	unsent       int       // bytes of waiting
	onRoom       func()    // called when there is room again; nil: nobody waits
}

type segment struct {
	n       int
	arrived func()
}

const (
	segmentSize   = 1448
	initialCwnd   = 10 * segmentSize
	maxSlowUnsent = 128 << 10 // TCP_NOTSENT_LOWAT of package session
)

func newSlowStart(sim *simulation, rate float64, rtt time.Duration) *slowStart {
	return &slowStart{link: link{sim: sim, rate: rate, delay: rtt / 2}, cwnd: initialCwnd}
}

func (l *slowStart) full() bool { return l.unsent >= maxSlowUnsent }

func (l *slowStart) send(n int, arrived func(n int)) {
	for n > 0 {
		k := min(n, segmentSize)
		n -= k
		l.waiting = append(l.waiting, segment{k, func() { arrived(k) }})
		l.unsent += k
	}
	l.pump()
}

func (l *slowStart) pump() {
	most := 2 * int(l.rate*2*l.delay.Seconds())
	for len(l.waiting) > 0 && l.flight < min(l.cwnd, most) {
		s := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.unsent -= s.n
		l.flight += s.n
		l.link.send(s.n, func() {
			s.arrived()
			l.sim.after(l.delay, func() {
				l.flight -= s.n
				l.cwnd += s.n * 189 / 100
				l.pump()
			})
		})
	}
	if f := l.onRoom; f != nil && !l.full() {
		l.onRoom = nil
		f()
	}
}

// startTransfer returns how long a transfer of size bytes takes from the start of the connection on.
func startTransfer(t *testing.T, alloc flow.Allocator, rate float64, rtt time.Duration, size int) (time.Duration, *transfer) {
	sim := &simulation{}
	x := newTransfer(t, sim, rate, rtt, alloc)
	x.slow = newSlowStart(sim, rate, rtt)
	x.write(size)
	sim.run(time.Hour)
	if x.read != size {
		t.Fatalf("%d bytes of %d were read", x.read, size)
	}
	return x.times[len(x.times)-1], x
}

// startWithoutWindows returns how long the connection takes for the same without windows.
func startWithoutWindows(rate float64, rtt time.Duration, size int) (took time.Duration) {
	sim := &simulation{}
	l := newSlowStart(sim, rate, rtt)
	var send func()
	send = func() {
		for ; size > 0 && !l.full(); size -= framePayload {
			l.send(min(size, framePayload), func(int) { took = sim.now })
		}
		l.onRoom = send
	}
	send()
	sim.run(time.Hour)
	return took
}

// A knownPath is an Allocator that knows the round trip of the transport.
type knownPath struct {
	*flow.Account
	rtt time.Duration
}

func (p knownPath) PathRTT() time.Duration { return p.rtt }

// The windows hold up the start of a connection only little: TCP's own slow start takes most of the time. If the transport
// knows its round trip, they do not hold it up at all, and end at four times what the path holds at most.
func TestReceiveWindowGrowsAsFastAsTCP(t *testing.T) {
	for _, tt := range []struct {
		rate float64
		rtt  time.Duration
		size int
		want float64 // of the rate without windows
	}{
		{1 * simnet.Gbit, 100 * time.Millisecond, 64 << 20, 0.85},
		{1 * simnet.Gbit, 100 * time.Millisecond, 16 << 20, 0.85},
		{1 * simnet.Gbit, 30 * time.Millisecond, 64 << 20, 0.90},
		{100 * simnet.Mbit, 100 * time.Millisecond, 16 << 20, 0.90},
	} {
		t.Run(fmt.Sprintf("%gMbit,%v,%dMiB", tt.rate/simnet.Mbit, tt.rtt, tt.size>>20), func(t *testing.T) {
			without := startWithoutWindows(tt.rate, tt.rtt, tt.size)
			for _, known := range []bool{false, true} {
				want, alloc := tt.want, flow.Allocator(flow.NewAccount(32<<20))
				if known {
					want, alloc = 0.96, knownPath{flow.NewAccount(32 << 20), tt.rtt}
				}
				with, x := startTransfer(t, alloc, tt.rate, tt.rtt, tt.size)
				got := without.Seconds() / with.Seconds()
				t.Logf("known %v: %v, %v without windows: %.3f; window %d, rtt %v", known, with, without, got, x.maxWindow, x.in.RTT())
				if got < want {
					t.Errorf("known %v: %.3f of the rate without windows, want %.2f", known, got, want)
				}
				if most := 4 * int(tt.rate*tt.rtt.Seconds()); known && x.maxWindow > most+most/64 {
					t.Errorf("a window of %d bytes where four times what the path holds is %d", x.maxWindow, most)
				}
			}
		})
	}
}

// If something behind the transport relays the stream, its window grows as if the transport knew nothing.
func TestReceiveWindowOutgrowsTheTransportsRoundTrip(t *testing.T) {
	for _, transport := range []time.Duration{time.Millisecond, 12 * time.Millisecond, 40 * time.Millisecond} {
		const rate, rtt, size = simnet.Gbit, 100 * time.Millisecond, 64 << 20
		unknown, _ := startTransfer(t, flow.NewAccount(32<<20), rate, rtt, size)
		known, x := startTransfer(t, knownPath{flow.NewAccount(32 << 20), transport}, rate, rtt, size)
		if known > unknown+unknown/20 {
			t.Errorf("the transport's round trip is %v: %v, and %v if it is unknown", transport, known, unknown)
		}
		if got := x.in.RTT(); got < rtt || got > rtt+rtt/8 {
			t.Errorf("the transport's round trip is %v: the stream's is %v, want %v", transport, got, rtt)
		}
	}
}

// The pauses of TCP at the start of a connection do not put the growth of the window off: it grows as soon as the sender
// has stopped at its end. These are the times of a real connection with a round trip of 100 ms.
func TestPausesOfSlowStartDoNotStopTheWindow(t *testing.T) {
	const firstLimit = flow.InitialWindow // the peer stopped there until the first update arrived
	var w flow.ReceiveWindow
	alloc := flow.NewAccount(32 << 20)
	w.Open(alloc)
	for _, arrival := range []struct {
		ms       time.Duration
		received uint32 // until then
	}{
		{202, 80_572}, {222, 134_236}, {320, 202_340}, {410, firstLimit}, {415, 278_092}, {433, 331_764}, {457, 403_324},
		{481, 464_483}, // and here, at the limit of the third update
	} {
		now := arrival.ms * time.Millisecond
		n := int(arrival.received - w.Received())
		if err := w.AddReceived(n, now, 0); err != nil {
			t.Fatal(err)
		}
		if arrival.received == firstLimit {
			continue // the application reads it with what follows
		}
		if w.AddRead(w.Unread(), now) {
			w.Update(alloc, now)
		}
	}
	if got := w.Window(); got < 512<<10-1 {
		t.Errorf("a window of %d bytes, want 512 KiB", got)
	}
}

// A stream of many GiB over a far path, with pauses of hours, never gets a window of more than four times what is read in a
// round trip, and an update for each 512 KiB, or less often, once the window has grown. Offsets wrap around meanwhile.
func TestFarWindowHoldsForHoursAndGiBs(t *testing.T) {
	const rtt, frame, every = 100 * time.Millisecond, 32 << 10, 500 * time.Microsecond
	for _, transport := range []time.Duration{rtt, rtt - time.Millisecond, 2 * rtt, 1 << 32 * time.Microsecond} {
		var w flow.ReceiveWindow
		alloc := knownPath{flow.NewAccount(64 << 20), transport}
		alloc.SetMaxWindow(64 << 20)
		w.Open(alloc)
		updates, read, now := int64(0), int64(0), time.Duration(0)
		for read < 5<<30 {
			if read%(1<<30) == 0 {
				now += 80 * time.Minute
			}
			now += every
			read += frame
			must(t, w.AddReceived(frame, now, 0))
			if w.AddRead(frame, now) {
				w.Update(alloc, now)
				updates++
			}
			must(t, w.Check())
		}
		if most := 4 * frame * int64(transport/every+1); int64(w.Window()) > most {
			t.Errorf("transport %v: a window of %d, want %d at most", transport, w.Window(), most)
		}
		if most := read/(512<<10) + 32; updates > most {
			t.Errorf("transport %v: %d updates for %d bytes, want %d at most", transport, updates, read, most)
		}
		t.Logf("transport %v: window %d, RTT %v, %d updates", transport, w.Window(), w.RTT(), updates)
	}
}
