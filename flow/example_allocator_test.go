package flow_test

import (
	"fmt"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A MaxWindow is an Allocator for streams that share no budget.
func ExampleMaxWindow() {
	var small flow.MaxWindow = 64 << 10
	var w flow.ReceiveWindow
	due := w.Open(small)
	fmt.Println("the peer must be told at once:", due)
	fmt.Println(w.Window())
	// Output:
	// the peer must be told at once: true
	// 65535
}

// A pool is an Allocator: the windows of its streams have left+size bytes together.
type pool struct {
	mu         sync.Mutex // guards left: streams may ask at the same time
	size, left int
}

// Resize grants what is left. It also takes back what a stream gives up: then want is less than have.
func (p *pool) Resize(have, want int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	granted := min(want, have+p.left)
	p.left -= granted - have
	return granted
}

// UnderPressure makes the pool a PressureReporter: windows that are larger than their streams need shrink.
func (p *pool) UnderPressure() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left < p.size/4
}

// An Allocator decides how large windows may be. This one grants windows until a pool is empty.
func ExampleAllocator() {
	p := &pool{size: 400_000, left: 400_000}
	var a, b flow.ReceiveWindow
	a.Open(p)
	b.Open(p)
	fmt.Println(a.Window(), b.Window(), "left:", p.left)
	a.Finish(p) // the stream has ended
	fmt.Println("left:", p.left)
	// Output:
	// 262144 137855 left: 1
	// left: 262145
}

// While an Allocator reports pressure, windows shrink to what their streams need.
func ExamplePressureReporter() {
	p := &pool{size: 400_000, left: 400_000}
	var reporter flow.PressureReporter = p
	fmt.Println(reporter.UnderPressure())
	var a, b flow.ReceiveWindow
	a.Open(p)
	b.Open(p)
	fmt.Println(reporter.UnderPressure())
	// Output:
	// false
	// true
}

// A farPath knows how long the round trip of its transport takes, for example from a ping.
type farPath struct{ flow.MaxWindow }

func (farPath) PathRTT() time.Duration { return 80 * time.Millisecond }

// With a PathReporter, a window grows before the peer has to wait for it.
func ExamplePathReporter() {
	var w flow.ReceiveWindow
	path := farPath{16 << 20}
	for range 2 { // 200,000 bytes come within a moment, and are read at once
		_ = w.AddReceived(100_000, time.Second, 0)
		if w.AddRead(100_000, time.Second) {
			w.Update(path, time.Second)
		}
	}
	fmt.Println(w.Window())
	// Output:
	// 399999
}

// A quiet path has no bulk data while somebody types: its windows are small for a second after each message.
type quietPath struct {
	flow.MaxWindow
	typed time.Duration // when the last message came
}

func (q *quietPath) WindowCap(now time.Duration) int {
	if now-q.typed < time.Second {
		return 64 << 10
	}
	return 0 // no limit
}

// A WindowCapper lowers the windows of bulk data while short messages share a path within one machine.
func ExampleWindowCapper() {
	var path flow.WindowCapper = &quietPath{MaxWindow: 1 << 20, typed: 5 * time.Second}
	fmt.Println(path.WindowCap(5500 * time.Millisecond))
	fmt.Println(path.WindowCap(7 * time.Second))
	// Output:
	// 65536
	// 0
}
