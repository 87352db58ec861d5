package stream_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A randomWriter is a stream, the goroutine that writes to it, and what its peer has got. Its session calls AppendData only
// if the stream has told it to.
type randomWriter struct {
	*fake
	told    bool
	writes  chan []byte
	end     func() // closes writes
	written []byte // what Writes have accepted; it belongs to the goroutine until that has ended
	failed  error  // of a Write, other than a deadline
	got     []byte
	fins    int
}

func (w *randomWriter) run() {
	for p := range w.writes {
		n, err := w.stream().Write(p)
		w.written = append(w.written, p[:n]...)
		if err != nil && !os.IsTimeout(err) {
			w.failed = err
		}
	}
}

// send adds what the stream has to send to batches, if the stream has told the session of it.
func (w *randomWriter) send(turns, n int) {
	w.told = w.told || slices.ContainsFunc(w.called(), func(call string) bool { return call[0] == 'd' || call[0] == 'f' })
	for b := wire.NewBatch(false); w.told && turns > 0; turns-- {
		w.told = w.core.AppendData(b, n)
		for _, f := range frames(w.t, b.Bytes()) {
			w.got = append(w.got, f.Data...)
			if f.Command == wire.FIN {
				w.fins++
			}
		}
		b.Release()
	}
}

func (w *randomWriter) update(window int) {
	w.t.Helper()
	if err := w.core.HandleUpdate(wire.WindowUpdate{Consumed: uint32(len(w.got)), Window: uint32(window)}); err != nil {
		w.t.Fatal(err)
	}
}

// Two milliseconds after the last Write or update, the session knows of all data that the window has room for, whatever
// Writes were left to the next one. When it is sent, Writes return, and no stream counts as one with bulk data.
func TestBulkWritesAreNeverForgotten(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			both(t, func(t *testing.T, v wire.Version) { writeAtRandom(t, v, rand.New(rand.NewPCG(seed, uint64(v)))) })
		})
	}
}

func writeAtRandom(t *testing.T, v wire.Version, rnd *rand.Rand) {
	var cfg *stream.Shared
	all := make([]*randomWriter, 1+rnd.IntN(6))
	for i := range all {
		w := &randomWriter{fake: newFake(t, v, false), writes: make(chan []byte, 100)}
		if cfg == nil {
			cfg = &w.cfg
			cfg.MaxFrameSize = []int{100, 1400, 21_790, 32_760, 33_400, 65_535}[rnd.IntN(6)]
			cfg.MaxSendBuffer = []int{0, 0, 1, 70_000, 1 << 20}[rnd.IntN(5)]
			if rnd.IntN(3) == 0 {
				cfg.SendBudget = flow.NewAccount(256 << 10)
			}
		} else {
			w.core = stream.Core{}
			w.core.Init(cfg, w.fake, uint32(2*i+1), false)
			w.core.Start()
		}
		w.called()
		all[i] = w
		go w.run()
		w.end = sync.OnceFunc(func() { close(w.writes) })
		defer w.end()
		defer w.core.Abort(net.ErrClosed, stream.AbortBoth)
	}
	quiet := func(what string) {
		t.Helper()
		time.Sleep(2100 * time.Microsecond)
		synctest.Wait()
		for i, w := range all {
			w.told = w.told || slices.ContainsFunc(w.called(), func(call string) bool { return call[0] == 'd' || call[0] == 'f' })
			if n := w.core.Sendable(); n > 0 && !w.told {
				t.Fatalf("%s: stream %d could send %d bytes, and has not told its session", what, i, n)
			}
		}
	}
	events := []int{18, 24, 30}[rnd.IntN(3)] // those that are no Writes are few, or many
	sizes := []int{1, 1000, 8 << 10, 8 << 10, 16 << 10, 32 << 10, 32 << 10, 32 << 10, 40_000, 65_368, 100_000, 300_000}
	size := sizes[rnd.IntN(len(sizes))]
	for range 400 {
		w := all[rnd.IntN(len(all))]
		switch rnd.IntN(events) {
		default:
			if len(w.writes) < cap(w.writes) {
				p := make([]byte, size)
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				w.writes <- p
				synctest.Wait()
			}
		case 0:
			size = sizes[rnd.IntN(len(sizes))]
		case 1, 2, 3, 4:
			w.send(1+rnd.IntN(6), 1+rnd.IntN(70_000))
		case 5, 6:
			w.send(100, 1<<20)
		case 7, 8:
			time.Sleep([]time.Duration{10, 90, 150, 900, 1100, 3000}[rnd.IntN(6)] * time.Microsecond)
		case 9, 10, 11:
			w.update([]int{0, 1000, 60_000, 262_144, 1 << 30}[rnd.IntN(5)])
		case 12:
			cfg.SetSending(rnd.IntN(2) == 0)
		case 13:
			_ = w.stream().SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(2000)) * time.Microsecond))
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			_ = w.stream().SetWriteDeadline(time.Time{})
		case 14:
			w.stream().SetSendRate([]flow.Rate{{}, {BytesPerSecond: 100 << 20, Burst: 1 << 10}, {BytesPerSecond: 1 << 30, Burst: 20 << 10}}[rnd.IntN(3)])
		case 15:
			w.deliver([]byte{1})
			if _, err := w.stream().Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		case 16, 17:
			quiet("between")
		}
	}
	for _, w := range all {
		w.end()
		w.stream().SetSendRate(flow.Rate{})
		w.update(1 << 30)
	}
	for busy := true; busy; {
		quiet("at the end")
		busy = false
		for _, w := range all {
			if w.told {
				busy = true
				w.send(100, 1<<20)
			}
		}
	}
	for i, w := range all {
		if w.failed != nil || !bytes.Equal(w.got, w.written) {
			t.Errorf("stream %d: %d bytes were written, %d were sent, the same: %v. Write fails with %v", i, len(w.written), len(w.got), bytes.Equal(w.got, w.written), w.failed)
		}
	}
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
	if n := cfg.BulkStreams(); n != 0 {
		t.Errorf("%d idle streams count as streams with bulk data", n)
	}
}
