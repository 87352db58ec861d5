package flow_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
)

// A moody Allocator decides by a byte string. It grants little, nothing, or less than the
// stream has.
type moody struct{ moods []byte }

func (m *moody) Resize(have, want int) int {
	if len(m.moods) == 0 {
		return want
	}
	mood := m.moods[0]
	m.moods = m.moods[1:]
	return want * int(mood) / 255
}

func (m *moody) UnderPressure() bool { return len(m.moods)%3 == 1 }

func (m *moody) WindowCap(time.Duration) int {
	if len(m.moods)%2 == 0 {
		return 0
	}
	return int(m.moods[0]) << 10
}

// A roomyPath is an Allocator that grants everything, and whose transport knows its round trip.
type roomyPath struct {
	flow.MaxWindow
	rtt time.Duration
}

func (p roomyPath) PathRTT() time.Duration { return p.rtt }

// converse runs a stream between a sender and a receiver. Frames and updates take any time,
// as script says with two bytes a step. converse fails if the receiver sees more than it
// granted plus overrun bytes, or if the stream is stuck in the end.
func converse(t *testing.T, g flow.Allocator, script []byte, overrun int) {
	var (
		in      flow.ReceiveWindow
		out     flow.SendWindow
		now     time.Duration
		frames  []int
		updates [][2]uint32
		sent    int
		read    int
		granted = flow.InitialWindow // the highest limit that has reached the sender
	)
	update := func() {
		size, growing := in.Window(), in.Growing()
		consumed, window := in.Update(g, now)
		if far, ok := g.(roomyPath); ok && growing {
			if got := in.Window(); got < size {
				t.Fatalf("a window that is to grow goes from %d to %d", size, got)
			} else if most := flow.MaxUseful(max(far.rtt, in.RTT())); got > max(size, most) {
				t.Fatalf("a window of %d grows to %d, and 32 Gbit/s fill %d", size, got, most)
			}
		}
		if consumed != uint32(read) {
			t.Fatalf("the update says %d, %d were read", consumed, read)
		}
		if window > 1<<30 {
			t.Fatalf("a window of %d", window)
		}
		updates = append(updates, [2]uint32{consumed, window})
	}
	send := func(n int) {
		if n = min(n, out.Available(), 65535); n > 0 {
			out.AddSent(n)
			sent += n
			frames = append(frames, n)
		}
	}
	sendBeyond := func(n int) {
		if n = min(n, granted+overrun-sent, 65535); n > 0 {
			out.AddSent(n)
			sent += n
			frames = append(frames, n)
		}
	}
	arrive := func() {
		if len(frames) > 0 {
			must(t, in.AddReceived(frames[0], now, overrun))
			frames = frames[1:]
		}
	}
	take := func(n int) {
		n = min(n, in.Unread())
		read += n
		if in.AddRead(n, now) != in.UpdateDue() {
			t.Fatal("Read and Due disagree")
		}
	}
	hear := func() {
		if len(updates) > 0 {
			must(t, out.Update(updates[0][0], updates[0][1]))
			// The end of the window is known modulo 2^32.
			granted += max(0, int(int32(updates[0][0]+updates[0][1]-uint32(granted))))
			updates = updates[1:]
		}
	}
	for ; len(script) >= 2; script = script[2:] {
		n := int(script[1])
		switch script[0] % 12 {
		case 0:
			now += time.Duration(n*n) * 10 * time.Microsecond
		case 1:
			now += time.Duration(n) * time.Second
		case 2:
			send(n)
		case 3:
			for range n {
				send(65535)
			}
		case 4:
			for range n {
				if send(65535); n%4 == 0 {
					sendBeyond(65535)
				}
			}
		case 5, 6:
			for range n {
				arrive()
			}
		case 7:
			take(n * 100)
		case 8:
			take(1 << 30)
		case 9:
			if in.UpdateDue() || n == 0 {
				update()
			}
		case 10:
			for range n {
				hear()
			}
		case 11:
			if n%8 == 0 {
				in.Reclaim(g)
			} else if read == 0 && sent == 0 {
				in.Open(g)
			}
		}
		if got := in.Unread(); got < 0 || got > sent-read {
			t.Fatalf("%d unread, %d sent, %d read", got, sent, read)
		}
		must(t, in.Check())
	}
	// From here on all updates that are due are sent: a megabyte must get through.
	goal := sent + 1<<20
	for stuck := 0; sent < goal; stuck++ {
		before := sent
		now += 10 * time.Millisecond
		send(min(65535, goal-sent))
		for len(frames) > 0 {
			arrive()
		}
		take(1 << 30)
		if in.UpdateDue() {
			update()
		}
		for len(updates) > 0 {
			hear()
		}
		must(t, in.Check())
		if sent > before {
			stuck = 0
		}
		if stuck > 2 {
			t.Fatalf("stuck: %d sent, %d read, %d available: %+v", sent, read, out.Available(), in)
		}
	}
	in.Finish(g)
}

func randomScript(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 6))
	script := make([]byte, n)
	for i := range script {
		script[i] = byte(rng.Uint32())
	}
	return script
}

// However frames and updates interleave, the window holds and the stream never gets stuck. A growth never makes the window
// smaller, or larger than what 32 Gbit/s carry in a round trip.
func TestReceiveWindowNeverGetsStuck(t *testing.T) {
	scripts := uint64(2000)
	if testutil.Race {
		scripts = 100
	}
	for seed := range scripts {
		script := randomScript(seed, 600)
		converse(t, nil, script, 0)
		converse(t, nil, script, 1<<20)
		converse(t, flow.MaxWindow(int(1000+seed*seed)), script, 0)
		converse(t, &moody{script[:seed%100]}, script, 0)
		rtts := []time.Duration{-1, 10 * time.Millisecond, 100 * time.Millisecond, time.Minute, 1 << 32 * time.Microsecond}
		converse(t, roomyPath{1 << 30, rtts[seed%5]}, script, int(seed%2)<<20)
		account := flow.NewAccount(int(1 << (seed % 26)))
		converse(t, account, script, 0)
		converse(t, account, script, account.MaxOverrun())
		if got := account.Budget().Committed(); got != 0 {
			t.Fatalf("seed %d: %d committed after Finish", seed, got)
		}
	}
}

func FuzzConversation(f *testing.F) {
	f.Add(randomScript(1, 200), []byte(nil))
	f.Add(randomScript(2, 200), []byte{0, 255, 10, 0, 128})
	f.Add([]byte{3, 9, 5, 9, 8, 0, 9, 0, 10, 9, 3, 9, 5, 9, 8, 0, 9, 0, 11, 8, 11, 8, 9, 0, 10, 9}, []byte{255})
	f.Fuzz(func(t *testing.T, script, moods []byte) {
		if len(script) > 2000 {
			return
		}
		converse(t, &moody{moods}, script, 0)
		converse(t, flow.NewAccount(1<<20), script, 0)
		converse(t, flow.NewAccount(1<<20), script, 100_000)
	})
}

// FuzzSendWindow applies updates of a hostile peer.
func FuzzSendWindow(f *testing.F) {
	f.Add(uint32(0), uint32(1<<20), uint32(5), uint32(0xffffffff))
	f.Add(uint32(0xffffffff), uint32(0), uint32(0x80000000), uint32(0x7fffffff))
	f.Fuzz(func(t *testing.T, c1, w1, c2, w2 uint32) {
		var w flow.SendWindow
		sent := uint32(0)
		for _, u := range [][2]uint32{{c1, w1}, {c2, w2}, {c1, w2}, {c2, w1}} {
			before := w
			err := w.Update(u[0], u[1])
			if err != nil && (!errors.Is(err, flow.ErrConsumed) || w != before) {
				t.Fatalf("error %v changed the window", err)
			}
			if err == nil && int32(u[0]-sent) > 0 {
				t.Fatalf("consumed %d of %d was accepted", u[0], sent)
			}
			n := w.Available()
			if n < 0 {
				t.Fatalf("%d bytes available", n)
			}
			w.AddSent(n)
			sent += uint32(n)
		}
	})
}

// FuzzReceiveWindow receives bytes from a peer that ignores its window, at any times, also at
// times that go backwards.
func FuzzReceiveWindow(f *testing.F) {
	f.Add(randomScript(3, 300))
	f.Fuzz(func(t *testing.T, script []byte) {
		account := flow.NewAccount(1 << 20)
		failed := false
		var w flow.ReceiveWindow
		for ; len(script) >= 4; script = script[4:] {
			now := time.Duration(int16(uint16(script[1])<<8|uint16(script[2]))) * time.Hour / 1000
			n := int(script[3]) << (script[0] >> 4)
			switch script[0] % 5 {
			case 0, 1:
				if err := w.AddReceived(n, now, account.MaxOverrun()); err != nil {
					failed = true
					if err != flow.ErrWindow {
						t.Fatal(err)
					}
				}
			case 2, 3:
				w.AddRead(min(n, w.Unread()), now)
			case 4:
				w.Update(account, now)
			}
			if !failed {
				must(t, w.Check())
			}
		}
		w.Finish(account)
		if got := account.Budget().Committed(); got != 0 {
			t.Fatalf("%d committed after Finish", got)
		}
	})
}
