package interop

import (
	"cmp"
	"sync"
	"testing"
)

// settings are the defaults of both, and other settings of users: each limit much smaller and much larger than its
// default, on either side.
var settings = []setting{
	defaults,
	{name: "their frames of 512 bytes", theirs: func(c *theirSettings) { c.MaxFrameSize = 512 }},
	{name: "their frames of 65535 bytes", theirs: func(c *theirSettings) { c.MaxFrameSize = 65535 }},
	{name: "their small buffers", theirs: func(c *theirSettings) { c.MaxReceiveBuffer, c.MaxStreamBuffer = 64<<10, 16<<10 }},
	{name: "their tiny window", theirs: func(c *theirSettings) { c.MaxStreamBuffer = 1000 }, largest: 256 << 10},
	{name: "their large buffers", theirs: func(c *theirSettings) { c.MaxReceiveBuffer, c.MaxStreamBuffer = 64<<20, 16<<20 }},
	{name: "our frames of 512 bytes", ours: ourConfig{MaxFrameSize: 512}},
	{name: "our frames of 65535 bytes", ours: ourConfig{MaxFrameSize: 65535}},
	{name: "our small buffers", ours: ourConfig{MaxReceiveBuffer: 512 << 10, MaxStreamWindow: 256 << 10}},
	{name: "our windows of 16 KiB", ours: ourConfig{MaxStreamWindow: 16 << 10}},
	{name: "our windows of 100,000 bytes", ours: ourConfig{MaxStreamWindow: 100_000}},
	{name: "our large buffers", ours: ourConfig{MaxReceiveBuffer: 256 << 20, MaxStreamWindow: 64 << 20}},
	{
		name:   "small buffers on both sides",
		ours:   ourConfig{MaxReceiveBuffer: 512 << 10, MaxStreamWindow: 256 << 10, MaxFrameSize: 4096},
		theirs: func(c *theirSettings) { c.MaxReceiveBuffer, c.MaxStreamBuffer, c.MaxFrameSize = 64<<10, 16<<10, 4096 },
	},
}

// Every byte arrives, in both directions at once. With the newest peer it does so with all settings, with the others by
// default.
func TestEveryByteArrivesBothWaysAtOnce(t *testing.T) {
	for _, c := range []struct {
		name         string
		ours, theirs int // streams opened by each side
	}{
		{"one stream of ours", 1, 0},
		{"one stream of theirs", 0, 1},
		{"64 streams of ours", 64, 0},
		{"64 streams of theirs", 0, 64},
		{"64 streams of each", 64, 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			some := settings
			if c.ours == 0 || c.theirs == 0 {
				some = settings[:1] // it matters little to the settings who opens a stream
			}
			test := func(t *testing.T, l *link) {
				seed := newSeed(t)
				largest := cmp.Or(l.setting.largest, 512<<10)
				if l.peer != newest {
					largest = 512 << 10
				}
				var wg sync.WaitGroup
				serve(t, l.their(), seed, largest, c.ours, wg.Go)
				serve(t, l.our(), seed, largest, c.theirs, wg.Go)
				exchange(t, l.our(), seed, largest, numbers(0, c.ours), wg.Go)
				exchange(t, l.their(), seed, largest, numbers(c.ours, c.theirs), wg.Go)
				wg.Wait()
				wantNoStreams(t, l)
			}
			if c.ours+c.theirs > 1 {
				others := somePeers(func(p *peer) bool { return p != newest })
				matrixOf(t, others, some[:1], test)
			}
			matrixOf(t, []*peer{newest}, some, test)
		})
	}
}

// numbers returns n consecutive numbers.
func numbers(first, n int) []uint32 {
	s := make([]uint32, n)
	for i := range s {
		s[i] = uint32(first + i)
	}
	return s
}
