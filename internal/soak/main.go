// Soak runs random sessions for a given time and checks everything that they do.
//
//	go run ./internal/soak -minutes 60 -seed 7
//	go run ./internal/soak -seed 7 -round 1234 -times 100
//	go run ./internal/soak -storm all -times 20 -busy 2
//
// A round draws everything from the seed and its own number: the Config of both ends, the transport, the number of
// sessions and streams, what each end of each stream writes, reads and closes, and what disturbs them. plan has what
// is drawn, check what must hold.
//
// Some rounds run a Dialer against servers that restart, are killed or stall: see poolRound.
//
// A storm is a named scenario in which streams come as fast as possible.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// totals are the sums of the whole run.
var totals struct {
	rounds, streams, bytes atomic.Int64
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == spinCommand {
		spinUntilClosed(os.Stdin)
		return
	}
	var (
		minutes = flag.Float64("minutes", 1, "run rounds for this many minutes")
		seed    = flag.Uint64("seed", 0, "draw the rounds from this seed; 0 draws a seed")
		only    = flag.Int64("round", -1, "run this round alone")
		times   = flag.Int("times", 1, "how often to run the round of -round, or the storms of -storm")
		name    = flag.String("storm", "", "run this storm instead of rounds, or all: "+strings.Join(stormNames(), ", "))
		procs   = flag.String("procs", "1,2,8", "GOMAXPROCS of storms, one after the other")
		busy    = flag.Int("busy", 0, "how many other processes keep the processors busy meanwhile")
		verbose = flag.Bool("v", false, "print each round before it runs")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "soak: unexpected argument:", flag.Arg(0))
		os.Exit(2)
	}
	stop := startSpinning(*busy)
	err := func() error {
		if *name != "" {
			return runStorms(os.Stdout, *name, *procs, *times)
		}
		if *seed == 0 {
			*seed = rand.Uint64() >> 32
		}
		s := soak{out: os.Stdout, seed: *seed, verbose: *verbose, every: 10 * time.Second, begun: time.Now()}
		if *only >= 0 {
			for range *times {
				if err := s.round(uint64(*only)); err != nil {
					return err
				}
			}
			s.report()
			return nil
		}
		return s.runFor(time.Duration(*minutes * float64(time.Minute)))
	}()
	stop()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A soak is a sequence of rounds from one seed.
type soak struct {
	out     io.Writer
	seed    uint64
	verbose bool
	small   bool          // rounds are small, for tests
	every   time.Duration // between two lines

	begun    time.Time
	baseHeap uint64 // after the first rounds
}

// runFor runs rounds until the time is up.
func (s *soak) runFor(d time.Duration) error {
	fmt.Fprintf(s.out, "soak: seed %d, for %v\n", s.seed, d)
	next := s.begun.Add(s.every)
	for k := uint64(0); time.Since(s.begun) < d; k++ {
		if err := s.round(k); err != nil {
			return err
		}
		if time.Now().After(next) {
			next = time.Now().Add(s.every)
			s.report()
			if err := s.heapIsBack(); err != nil {
				return err
			}
		}
	}
	s.report()
	return nil
}

// round runs one round. Its error has everything needed to run it again.
func (s *soak) round(k uint64) error {
	p := drawPlan(s.seed, k, s.small)
	if s.verbose {
		fmt.Fprintf(s.out, "round %d: %s\n", k, p)
	}
	begun := time.Now()
	failures := newRound(p).run()
	if s.verbose {
		fmt.Fprintf(s.out, "round %d took %v\n", k, time.Since(begun).Round(time.Millisecond))
	}
	totals.rounds.Add(1)
	if len(failures) == 0 {
		return nil
	}
	const most = 30
	left := ""
	if len(failures) > most {
		left = fmt.Sprintf("\n  and %d more", len(failures)-most)
		failures = failures[:most]
	}
	return fmt.Errorf("soak: round %d FAILED\n  %s%s\n%s", k, strings.Join(failures, "\n  "), left, p.reproduce())
}

// report prints a line.
func (s *soak) report() {
	fmt.Fprintf(s.out, "soak: %8v  %d rounds  %d streams  %s  heap %s  %d goroutines\n",
		time.Since(s.begun).Round(time.Second), totals.rounds.Load(), totals.streams.Load(),
		inBytes(totals.bytes.Load()), inBytes(int64(heap())), runtime.NumGoroutine())
}

// heapIsBack reports whether the memory of all rounds so far is free.
func (s *soak) heapIsBack() error {
	const growth = 16 << 20
	h := heap()
	if s.baseHeap == 0 {
		s.baseHeap = h
	}
	if h > s.baseHeap+growth {
		return fmt.Errorf("soak: FAILED: between rounds the heap is %s, and was %s after the first ones (seed %d, %d rounds)",
			inBytes(int64(h)), inBytes(int64(s.baseHeap)), s.seed, totals.rounds.Load())
	}
	return nil
}

// heap returns the bytes of live objects. It runs the garbage collector twice, as a sync.Pool keeps its objects
// for one collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func inBytes(n int64) string {
	switch {
	case n >= 10<<30:
		return strconv.FormatInt(n>>30, 10) + " GiB"
	case n >= 10<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 10<<10:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " B"
}

// hung ends the program after d, in which the program has run: a machine that gives it no processor does not count. The
// function that it returns cancels that. It starts no goroutine, because a round counts them.
func hung(d time.Duration, what fmt.Stringer) (cancel func()) {
	h := &hang{limit: d, left: d, what: what}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(hangStep, h.step)
	return h.cancel
}

// A hang is the time that is left until the program counts as hung.
type hang struct {
	limit time.Duration
	what  fmt.Stringer

	mu        sync.Mutex // guards the fields below
	timer     *time.Timer
	left      time.Duration
	cancelled bool
}

// hangStep is a part of the time of hung. A program that has stood still notices one step at most.
const hangStep = time.Second

// step is what the timer calls.
func (h *hang) step() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left -= hangStep
	switch {
	case h.cancelled:
		return
	case h.left > 0:
		h.timer.Reset(hangStep)
		return
	}
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(os.Stderr, "%s\n\nsoak: FAILED: not done after %v, see the goroutines above\n%v\n", stacks, h.limit, h.what)
	os.Exit(1)
}

func (h *hang) cancel() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancelled = true
	h.timer.Stop()
}
